//! `weft controller`

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::Context;
use nix::libc::{SIGINT, SIGTERM};

use crate::controller::figures::Figures;
use crate::controller::{self, ControllerArgs};
use crate::figures::serve::serve;

/// Runs the controller until a signal.
pub fn run(args: &ControllerArgs) -> anyhow::Result<ExitCode> {
    let config = args.store.load()?;
    super::log::init();
    let shutdown = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT] {
        signal_hook::flag::register(signal, Arc::clone(&shutdown)).context("listen for signals")?;
    }
    let figures = Arc::new(Figures::default());
    if let Some(address) = args.metrics_address.or(config.metrics_address) {
        serve(address, Arc::<Figures>::clone(&figures))?;
    }
    controller::run(&config, &shutdown, &figures)?;
    Ok(ExitCode::SUCCESS)
}
