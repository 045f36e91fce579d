//! The egress firewall end to end: what pods may send out of the cluster, by address and by name, with real name servers.
//!
//! # Layout
//! - [`field`]: a cluster with name servers and a host outside that answers on whole prefixes
//! - [`verdict`]: whether a connection gets out, known for sure either way
//! - [`connection`]: one that stays open
//! - `cluster`, `dnat`, `party`, `icmp`, `frame`, `wire`: shared with the other end-to-end tests
//! - one module for each promise that is tested
#![expect(
    clippy::unwrap_used,
    reason = "a panic is how a test fails, also in its fixture"
)]

#[path = "../e2e/cluster.rs"]
#[expect(dead_code, reason = "the other end-to-end tests use the rest")]
mod cluster;
#[path = "../e2e/dnat.rs"]
#[expect(dead_code, reason = "the other end-to-end tests use the rest")]
mod dnat;
#[path = "../e2e/frame.rs"]
#[expect(dead_code, reason = "the other end-to-end tests use the rest")]
mod frame;
#[path = "../e2e/icmp.rs"]
mod icmp;
#[path = "../e2e/party.rs"]
#[expect(dead_code, reason = "the other end-to-end tests use the rest")]
mod party;
#[path = "../e2e/wire.rs"]
#[expect(dead_code, reason = "the other end-to-end tests use the rest")]
mod wire;

mod connection;
mod field;
mod verdict;

mod connections;
mod example;
mod exempt;
mod first_pod;
mod forged;
mod names;
mod older;
mod records;
mod rename;
mod replace;
mod restrictions;
mod room;
mod rotate;
