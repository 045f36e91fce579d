//! Connections that stay open and pass nothing, as behind a firewall that forgot them or a server that hangs.

use std::time::{Duration, Instant};

use weft_agent::store::kubernetes::Limits;
use weft_agent::store::{Kubernetes, Reader, Store as _};

use crate::relay::Relay;
use crate::rig::{Server, until};
use crate::store::net_namespace;
use crate::told::Told;

/// What stands for the 150 seconds of the product.
const SILENCE: Duration = Duration::from_secs(4);
/// Nobody asks for a sign of life before that.
const LIMITS: Limits = Limits {
    silence: SILENCE,
    quiet: Duration::from_mins(10),
    sign: Duration::from_mins(10),
};

#[test]
fn a_watch_that_passes_nothing_is_cut_and_goes_on_elsewhere() {
    let server = Server::new();
    server.apply(&net_namespace("one", 11));
    let relay = Relay::to((server.address(), 6443).into());
    let access = relay.access(&server.kubeconfig("admin"));
    let store = Kubernetes::open_within(&access, Reader::Agent, LIMITS).unwrap();
    let mut told = Told::by(&store);
    told.until("all that there is", |told| {
        told.listed && told.netid("one").is_some()
    });

    // Some of the connections lead nowhere, and nobody says so.
    relay.forget();
    server.apply(&net_namespace("two", 12));
    let start = Instant::now();
    told.until("news by another connection", |told| {
        told.netid("two").is_some()
    });
    let after = start.elapsed();
    let bound = SILENCE + Duration::from_secs(6);
    assert!(after < bound, "the limit and a new connection: {after:?}");

    // All of them, and new ones too.
    told.until("the other watches go on too", |told| {
        told.problems.is_empty()
    });
    relay.hold(true);
    server.apply(&net_namespace("three", 13));
    until("the problem names the server's silence", || {
        told.drain();
        let said = told.problems.iter().any(|p| p.contains("does not answer"));
        (said && store.stale() > SILENCE).then_some(())
    });
    assert!(told.netid("three").is_none());
    relay.hold(false);
    told.until("news again", |told| told.netid("three").is_some());
    told.until("the problem is taken back", |told| told.problems.is_empty());
    assert_eq!(
        told.deltas,
        [
            "+NetNamespace/one",
            "+NetNamespace/two",
            "+NetNamespace/three"
        ],
        "nothing was taken back or told twice"
    );
    // Four kinds, cut every four seconds and tried again with growing pauses: no storm.
    let taken = relay.taken();
    assert!(taken < 200, "{taken} connections");
}
