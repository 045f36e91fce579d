//! etcd and kube-apiserver as processes of the lab.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use weft_wait::patience::patient;

use super::credentials::{Files, PORT};
use super::{Api, programs};
use crate::lab::error::{Error, file};
use crate::lab::options::KubernetesMode;
use crate::lab::plan::underlay_addresses;
use crate::lab::process::{Process, spawn_daemon};
use crate::lab::state::State;
use crate::lab::{daemon, enter};

/// How long the API server may take from its start to its being ready: five seconds on an idle machine.
pub fn ready() -> Duration {
    patient(Duration::from_mins(1))
}
/// What its place is called.
pub const APISERVER: &str = "apiserver";
/// What etcd's place is called.
pub const ETCD: &str = "etcd";
/// On the loopback interface of the underlay's namespace, where only the API server is its neighbour.
const CLIENTS: &str = "http://127.0.0.1:2379";
const PEERS: &str = "http://127.0.0.1:2380";

/// Starts etcd.
pub fn etcd(state: &State) -> Result<Process, Error> {
    let data = state.lab.place(ETCD).state();
    let arguments = [
        // What a crash of the machine would take is gone with the machine anyway.
        "--unsafe-no-fsync".to_owned(),
        format!("--data-dir={}", data.display()),
        format!("--listen-client-urls={CLIENTS}"),
        format!("--advertise-client-urls={CLIENTS}"),
        format!("--listen-peer-urls={PEERS}"),
        format!("--initial-advertise-peer-urls={PEERS}"),
        format!("--initial-cluster=default={PEERS}"),
    ];
    start(state, ETCD, &programs::etcd()?, &arguments)
}

/// Starts the API server.
pub fn apiserver(state: &State) -> Result<Process, Error> {
    let Some(kubernetes) = &state.kubernetes else {
        return Err(Error::Invalid(format!(
            "lab {} has no API server",
            state.lab
        )));
    };
    let program = programs::program(&kubernetes.programs, "kube-apiserver")?;
    let files = Files::of(&state.lab);
    let services: Vec<String> = kubernetes
        .services
        .iter()
        .map(ToString::to_string)
        .collect();
    let place = state.lab.place(APISERVER);
    let arguments = [
        format!("--etcd-servers={CLIENTS}"),
        format!("--advertise-address={}", underlay_addresses(1)[0]),
        format!("--secure-port={PORT}"),
        format!("--cert-dir={}", place.state().display()),
        format!("--tls-cert-file={}", files.certificate().display()),
        format!("--tls-private-key-file={}", files.key().display()),
        format!("--client-ca-file={}", files.ca().display()),
        format!("--token-auth-file={}", files.users().display()),
        "--authorization-mode=Node,RBAC".to_owned(),
        "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
        format!(
            "--service-account-key-file={}",
            files.service_account_public().display()
        ),
        format!(
            "--service-account-signing-key-file={}",
            files.service_account_key().display()
        ),
        format!("--service-cluster-ip-range={}", services.join(",")),
        "--kubelet-preferred-address-types=InternalIP".to_owned(),
        // Else an end waits a minute for watches, which do not end by themselves.
        "--shutdown-send-retry-after=true".to_owned(),
    ];
    let more = match kubernetes.mode {
        // Nobody makes the account `default` of a new namespace, without which that plug-in admits no pod.
        KubernetesMode::Api => vec!["--disable-admission-plugins=ServiceAccount".to_owned()],
        KubernetesMode::Cluster | KubernetesMode::Bare => vec![
            format!(
                "--kubelet-client-certificate={}",
                files.kubelet_client().display()
            ),
            format!(
                "--kubelet-client-key={}",
                files.kubelet_client_key().display()
            ),
        ],
    };
    let arguments = [arguments.to_vec(), more].concat();
    start(state, APISERVER, &program, &arguments)
}

/// Starts a program in the underlay's namespace.
pub fn start(
    state: &State,
    name: &str,
    program: &Path,
    arguments: &[String],
) -> Result<Process, Error> {
    let place = state.lab.place(name);
    let data = place.state();
    fs::create_dir_all(&data).map_err(file("create", &data))?;
    let mut command = enter::command(&state.lab, &state.underlay, "setsid")?;
    command.arg(program).args(arguments);
    spawn_daemon(command, &place.log())
}

/// Waits until the API server says that it is ready.
pub fn wait_ready(state: &State, api: &Api, cancelled: &dyn Fn() -> bool) -> Result<(), Error> {
    let Some(kubernetes) = &state.kubernetes else {
        return Ok(());
    };
    let deadline = Instant::now() + ready();
    let failed = |name, why| Err(daemon::failure(&state.lab, name, why));
    let ended =
        |process: Option<Process>| process.is_none_or(|process| process.wait_end(Duration::ZERO));
    loop {
        let answer = api.ready();
        match answer {
            Ok(()) => return Ok(()),
            Err(_) if ended(kubernetes.etcd) => return failed(ETCD, "it ended".into()),
            Err(_) if ended(kubernetes.apiserver) => return failed(APISERVER, "it ended".into()),
            Err(_) if cancelled() => return Err(Error::Interrupted),
            Err(_) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(20)),
            Err(error) => return failed(APISERVER, format!("it is not ready: {error}")),
        }
    }
}
