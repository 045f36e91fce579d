//! The resolver against scripted servers on loopback addresses of their own.
#![expect(clippy::unwrap_used, reason = "a panic is how a test reports")]

mod answers;
mod file;
mod independence;
mod outages;
mod rig;
mod server;
mod size;
