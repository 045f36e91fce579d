//! weft: the node agent, the controller and the admin command line.
//!
//! # Layout
//! One line: ingest -> model -> compile -> diff -> apply. Model, compile and diff are the crate `weft-core`.
//! - [`config`]: the configuration file
//! - [`store`]: API objects, listed, watched and updated
//! - [`ingest`]: API objects -> model, validated; API types end here
//! - [`dns`]: the addresses of the names that policies use
//! - [`sync`]: the loop that owns the world and the tables
//! - [`apply`]: the only code that changes the kernel's network
//! - [`observe`]: reads the actual content back
//! - [`netlink`], [`bpf`], [`host`], [`iptables`]: below `apply` and `observe`: rtnetlink requests, handles on maps and hooks, the host's
//!   network and rules as they are
//! - [`cni`]: the CNI protocol, server, address management and attachment
//! - [`controller`]: allocates what is cluster-wide
//! - [`api`]: the admin socket
//! - [`not_in_force`]: what the node says of itself on an API server
//! - [`figures`]: metrics for Prometheus, and probes
//! - [`preflight`]: what a node needs, looked at before the agent starts
//! - [`install`]: the CNI plugin and its configuration, put where the container runtime looks
//! - [`kubens`]: the mount namespace of kubelet and runtime, put on a node and judged
//! - [`cli`]: the commands of `weft`
//! - `memory`: what was freed goes back to the system

pub mod api;
pub mod apply;
pub mod bpf;
pub mod cli;
pub mod cni;
pub mod config;
pub mod controller;
pub mod dns;
pub mod figures;
pub mod host;
pub mod ingest;
pub mod install;
pub mod iptables;
pub mod kubens;
mod memory;
pub mod netlink;
pub mod not_in_force;
pub mod observe;
pub mod preflight;
pub mod store;
pub mod sync;
