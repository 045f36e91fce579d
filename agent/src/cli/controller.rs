//! `weft controller`

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::Context;
use nix::libc::{SIGINT, SIGTERM};

use crate::controller::{self, ControllerArgs};

/// Runs the controller until a signal.
pub fn run(args: &ControllerArgs) -> anyhow::Result<ExitCode> {
    let config = args.store.load()?;
    super::log::init();
    let shutdown = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT] {
        signal_hook::flag::register(signal, Arc::clone(&shutdown)).context("listen for signals")?;
    }
    controller::run(&config, &shutdown)?;
    Ok(ExitCode::SUCCESS)
}
