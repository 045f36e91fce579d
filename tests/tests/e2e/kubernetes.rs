//! The end-to-end tests once more, with the objects on a Kubernetes API server; see `main.rs`.
#![expect(
    clippy::unwrap_used,
    reason = "a panic is how a test fails, also in its fixture"
)]

use weft_tests::lab::KubernetesMode;

/// Where the labs keep their objects.
const STORE: Option<KubernetesMode> = Some(KubernetesMode::Api);

mod cluster;
mod frame;
mod icmp;
mod party;
mod plugin;
mod residue;
mod wire;

mod api_server;
mod bad_input;
mod churn;
mod cnitool;
mod egress_admin;
mod figures;
mod firewall;
mod matrix;
mod objects;
mod podman;
mod projects;
mod repair;
mod restart;
mod services;
mod spoof;
mod takeover;
