//! End to end: real agents, controller and plugin on the nodes of a lab, real traffic between its namespaces.
//!
//! # Layout
//! - [`cluster`]: a lab under a random name and questions to its agents
//! - [`dnat`]: address translations of a node
//! - [`party`], [`icmp`]: who talks to whom, and what the other side saw
//! - [`frame`], [`wire`]: frames as an attacker makes them
//! - [`plugin`]: the CNI plugin as a container runtime runs it
//! - [`residue`]: all that an attachment puts on a node
//! - one module for each promise that is tested
#![expect(
    clippy::unwrap_used,
    reason = "a panic is how a test fails, also in its fixture"
)]

mod cluster;
mod dnat;
mod frame;
mod icmp;
mod party;
mod plugin;
mod residue;
mod wire;

mod api_server;
mod bad_input;
mod bad_manifests;
mod churn;
mod cnitool;
mod egress_admin;
mod escapes;
mod exhaustion;
mod figures;
mod firewall;
mod foreign;
mod hidden;
mod hostile;
mod icmp_errors;
mod matrix;
mod objects;
mod podman;
mod projects;
mod repair;
mod restart;
mod services;
mod spoof;
mod takeover;
mod translated;
