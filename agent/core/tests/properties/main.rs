//! Properties of compile, diff and the packet decisions over random worlds.
//!
//! - `worlds`, `policies`, `changes`, `scenes`: random worlds, changes to them, packets in them
//! - `reference`, `firewall`: what must happen to a packet, told from the model alone
//! - `agreement`: the decisions over compiled tables do the same
//! - `incremental`: changes one by one give the tables of a compile from scratch
//! - `scopes`: how much of a cluster a change compiles
//! - `writes`: what a difference of tables consists of, and its order
#![expect(clippy::unwrap_used, reason = "a panic is how a test reports")]

mod agreement;
mod changes;
mod firewall;
mod incremental;
#[path = "../live/mod.rs"]
mod live;
mod policies;
mod reference;
mod scenes;
mod scopes;
mod worlds;
mod writes;

/// Random inputs of a property; a failure prints the smallest one and leaves no file behind.
fn cases(cases: u32) -> proptest::prelude::ProptestConfig {
    proptest::prelude::ProptestConfig {
        cases,
        failure_persistence: None,
        ..Default::default()
    }
}
