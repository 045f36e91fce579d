//! A real Kubernetes: kubelets and containers, weft deployed by its own manifests. All cases share one cluster, one after
//! another; a case that fails does not keep the others from running.
#![expect(
    clippy::unwrap_used,
    reason = "a panic is how a test fails, also in its fixture"
)]

mod absent;
mod cluster;
mod disruption;
mod egress;
mod hosts;
mod http;
mod plugins;
mod projects;
mod removal;
mod services;
mod traces;
mod workloads;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use cluster::Cluster;

type Case = (&'static str, fn(&Cluster));

const CASES: [Case; 17] = [
    ("rolled out and scaled", workloads::rolled_out_and_scaled),
    ("services by name", services::by_name),
    ("headless services", services::headless),
    (
        "services keep projects apart",
        services::projects_stay_apart,
    ),
    ("services that nobody serves", services::nobody_serves),
    ("sources of load balancers", services::load_balancer_sources),
    (
        "probes of isolated pods",
        workloads::probes_of_isolated_pods,
    ),
    ("pods of the host network", hosts::host_network),
    ("node ports", hosts::node_ports),
    ("exec and port-forward", hosts::exec_and_port_forward),
    ("join and isolate", projects::join_and_isolate),
    ("egress by name", egress::by_name),
    ("rolling update of the agents", disruption::rolling_update),
    (
        "agents deleted while pods are made",
        disruption::agents_deleted,
    ),
    ("drain and return", disruption::drain_and_return),
    // Near the end: it changes how agents are deployed.
    (
        "an agent that stays away, and kubectl weft status",
        absent::agent_stays_away,
    ),
    // Nothing can come after it.
    ("removal", removal::packets_outlive_it),
];

#[test]
fn a_real_cluster() {
    let start = Instant::now();
    let cluster = Cluster::up();
    eprintln!("up after {:.1?}", start.elapsed());
    let mut failed = Vec::new();
    for (name, case) in CASES {
        let start = Instant::now();
        let outcome = catch_unwind(AssertUnwindSafe(|| case(&cluster)));
        eprintln!(
            "{name}: {} in {:.1?}",
            if outcome.is_ok() { "ok" } else { "FAILED" },
            start.elapsed()
        );
        if outcome.is_err() {
            failed.push(name);
        }
    }
    drop(cluster);
    assert!(failed.is_empty(), "{failed:?}");
}
