//! weft on kernels that users have: a virtual machine for each run, by qemu alone, with kernels and a root file system made
//! of Debian packages.
//!
//! # Layout
//! - [`kernel`]: the lines of kernels, out of their packages; `apt`: from which suites; `modules`, `initramfs`
//! - [`root`]: the root file system; `disk`: images
//! - [`cache`]: where these are kept
//! - [`payload`]: what goes into a machine; `guest/`: the scripts that run in it
//! - [`run`]: a machine's life; `qemu`: its command line; `channel`: what it says
//! - `tool`: programs of the host

mod apt;
pub mod cache;
mod channel;
mod disk;
mod error;
mod initramfs;
pub mod kernel;
mod modules;
pub mod payload;
mod qemu;
pub mod root;
pub mod run;
mod tool;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

pub use cache::Cache;
pub use error::Error;
pub use kernel::{Kernel, LINES, Line};
pub use payload::Add;
pub use run::{Outcome, Output, run, shell};

/// Tells progress, a line at a time.
pub type Say<'a> = &'a dyn Fn(&str);

/// What process 1 is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Init {
    /// A script that mounts what is needed and runs the command.
    Simple,
    /// systemd, which runs the command as a unit when it has come up.
    Systemd,
}

/// A machine and what it runs.
#[derive(Clone, Debug)]
pub struct Spec<'a> {
    /// Which kernel.
    pub kernel: &'a Line,
    /// MiB
    pub memory: u32,
    /// Virtual processors; qemu takes turns between them.
    pub cpus: u32,
    /// More kernel parameters.
    pub append: Vec<String>,
    /// Process 1.
    pub init: Init,
    /// Folder of `weft`, `weft-cni`, `weft-lab` and `kubensenter`.
    pub binaries: PathBuf,
    /// Files beside these.
    pub add: Vec<Add>,
    /// Variables of the command.
    pub environment: Vec<(OsString, OsString)>,
    /// Program and arguments.
    pub command: Vec<OsString>,
    /// From the start of the machine to the end of the command.
    pub deadline: Duration,
    /// Show the console on standard error.
    pub console: bool,
}
