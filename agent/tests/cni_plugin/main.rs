//! The CNI side over real network namespaces, with a data path that only remembers what it was told. Needs root.
#![expect(clippy::unwrap_used, reason = "a test ends where an expectation fails")]

mod attach;
mod check;
mod clean_up;
mod failure;
mod fake;
mod hostile;
mod mount_namespaces;
mod node;
mod plugin_binary;
mod recovery;
mod results;
