//! A real Kubernetes: kubelets and containers, weft deployed by its own manifests. All cases share one cluster; a case that fails
//! does not keep the others from running.
//!
//! # Layout
//! - `cluster`: the cluster and its objects; [`turn`]: whose turn it is
//! - `http`, `plugins`, `traces`: what cases use
//! - one module for each promise that is tested. Cases start in the order of their names, so that `uninstall`, after which the
//!   cluster is of no use, comes last
#![expect(
    clippy::unwrap_used,
    reason = "a panic is how a test fails, also in its fixture"
)]

mod cluster;
mod http;
mod plugins;
mod traces;
mod turn;

mod absent;
mod disruption;
mod egress;
mod hosts;
mod projects;
mod rollouts;
mod services;
mod uninstall;
