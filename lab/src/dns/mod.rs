//! DNS for tests: real servers and a real cache inside a lab's namespaces, their records changed while they run, and a
//! relay that does to answers what no honest server does.
//!
//! # Layout
//! - [`server`]: an authoritative server (Knot DNS); [`change`]: what its records shall be
//! - [`cache`]: a caching resolver (dnsmasq)
//! - [`relay`]: between a client and a server; delays, drops and alters answers
//! - [`exchange`]: messages over UDP and TCP
//! - `daemon`: a server's process and files, gone when dropped

pub mod cache;
pub mod change;
mod daemon;
pub mod exchange;
pub mod relay;
pub mod server;

pub use cache::Cache;
pub use change::Change;
pub use relay::Relay;
pub use server::Server;

use std::io;

/// Where name servers listen.
pub const PORT: u16 = 53;

/// Says which call failed, on what.
fn at<E: std::fmt::Display>(what: impl std::fmt::Display) -> impl FnOnce(E) -> io::Error {
    move |error| io::Error::other(format!("{what}: {error}"))
}
