//! The host side of a node, as root, in network namespaces of its own.
#![expect(clippy::unwrap_used, reason = "a panic is how a test reports")]

mod closed_pipe;
mod endpoints;
mod firewall;
mod iptables;
mod namespace;
mod network;
mod node;
