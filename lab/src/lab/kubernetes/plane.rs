//! kube-controller-manager and kube-scheduler as processes of the lab.

use super::credentials::Files;
use super::{programs, servers};
use crate::lab::error::Error;
use crate::lab::state::State;

/// Starts both; they are in the state when this returns.
pub fn start(state: &mut State) -> Result<(), Error> {
    let Some(kubernetes) = &state.kubernetes else {
        return Ok(());
    };
    let directory = kubernetes.programs.clone();
    let files = Files::of(&state.lab);
    let kubeconfig = format!("--kubeconfig={}", files.kubeconfig().display());
    let alone = "--leader-elect=false".to_owned();
    let manager = [
        kubeconfig.clone(),
        alone.clone(),
        format!("--root-ca-file={}", files.ca().display()),
        format!(
            "--service-account-private-key-file={}",
            files.service_account_key().display()
        ),
        "--use-service-account-credentials=true".to_owned(),
    ];
    let all = [
        ("kube-controller-manager", manager.to_vec()),
        ("kube-scheduler", vec![kubeconfig, alone]),
    ];
    for (name, mut arguments) in all {
        let certificates = state.lab.place(name).state();
        arguments.push(format!("--cert-dir={}", certificates.display()));
        let program = programs::program(&directory, name)?;
        let process = servers::start(state, name, &program, &arguments)?;
        if let Some(kubernetes) = &mut state.kubernetes {
            kubernetes.plane.insert(name.to_owned(), process);
        }
        state.save()?;
    }
    Ok(())
}
