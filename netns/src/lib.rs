//! Network and mount namespaces: open, create, pin, enter, and sysctls inside.
//!
//! A thread that changed its namespace and did not come back is fatal in a daemon, so nothing here ever comes back:
//! a closure runs on a thread of its own that enters the namespace and ends there, a child process enters between
//! `fork` and `exec`. The caller's own thread is never moved.
//!
//! # Layout
//! - `namespace`: descriptors, checked to be a namespace of the right kind; `error`: one type
//! - `enter`: the only calls of `setns` and `unshare`
//! - `pin`: names for namespaces in the file system
//! - `network`, `mount`: [`NetNs`] and [`MountNs`]
//! - `mountinfo`: what is mounted in a process' mount namespace
//! - [`kubens`]: the mount namespace of kubelet and container runtime
//! - `command`: child processes inside namespaces
//! - [`sysctl`]: `/proc/sys/net` of the calling thread's network namespace

mod command;
mod enter;
mod error;
pub mod kubens;
mod mount;
mod mountinfo;
mod namespace;
mod network;
mod pin;
pub mod sysctl;

pub use command::CommandNs;
pub use error::Error;
pub use mount::MountNs;
pub use mountinfo::{Mounts, MountsError};
pub use namespace::{Kind, NsId};
pub use network::NetNs;
pub use pin::unpin;
