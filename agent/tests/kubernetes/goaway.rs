//! Servers that end connections politely, as those behind a load balancer do to spread their clients.

use weft_agent::store::{Kubernetes, Reader, Store as _};

use crate::relay::Relay;
use crate::rig::Server;
use crate::store::net_namespace;
use crate::told::Told;

/// Each asks for some eight lists and watches at once; the server says GOAWAY after one request of fifty.
const ROUNDS: u64 = 100;

#[test]
fn a_server_that_says_goaway_is_no_problem() {
    let server = Server::with(&["--goaway-chance=0.02"]);
    server.apply(&net_namespace("one", 11));
    let relay = Relay::to((server.address(), 6443).into());
    let access = relay.access(&server.kubeconfig("admin"));
    let store = Kubernetes::open(&access, Reader::Agent).unwrap();
    let mut first = Told::by(&store);
    first.until("all that there is", |told| {
        told.listed && told.problems.is_empty()
    });
    first.all_problems.clear();
    for round in 0..ROUNDS {
        let mut told = Told::by(&store);
        told.until("all that there is", |told| told.listed);
        store.list().unwrap();
        assert_eq!(told.all_problems, [""; 0], "round {round}");
    }
    // A quarter of what is to be expected.
    let taken = relay.taken();
    assert!(taken > ROUNDS * 8 / 50 / 4, "{taken} connections");
    server.apply(&net_namespace("two", 12));
    first.until("news of a watch from before all that", |told| {
        told.netid("two").is_some()
    });
    assert_eq!(first.all_problems, [""; 0]);
    println!(
        "{taken} connections in {ROUNDS} rounds, {} open",
        relay.open()
    );
}
