//! The tests of the egress firewall once more, with the objects on a Kubernetes API server; see `main.rs`.
#![expect(
    clippy::unwrap_used,
    reason = "a panic is how a test fails, also in its fixture"
)]

use weft_tests::lab::KubernetesMode;

/// Where the labs keep their objects.
const STORE: Option<KubernetesMode> = Some(KubernetesMode::Api);

#[path = "../e2e/cluster.rs"]
#[expect(dead_code, reason = "the other end-to-end tests use the rest")]
mod cluster;
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
mod replace;
mod restrictions;
mod room;
mod rotate;
