//! Ctrl-C, turned into a question that long commands ask themselves, so that they end clean.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, Result};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

/// Whether the user wants the command to end.
#[derive(Clone, Debug)]
pub(crate) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// True from the first signal on.
    pub(crate) fn requested(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Catches the signals that ask for an end; the second one ends the process as if it was not caught.
pub(crate) fn catch() -> Result<Interrupt> {
    let requested = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        // The order counts: the default action applies only if the flag was set before.
        flag::register_conditional_default(signal, Arc::clone(&requested))
            .context("catch signals")?;
        flag::register(signal, Arc::clone(&requested)).context("catch signals")?;
    }
    Ok(Interrupt(requested))
}
