//! The host side of a node, as root, in network namespaces of its own.

mod endpoints;
mod firewall;
mod iptables;
mod namespace;
mod network;
mod node;
