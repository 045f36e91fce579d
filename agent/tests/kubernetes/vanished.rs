//! Servers that vanish without a word: nobody closes a connection, and nothing comes any more.

use std::time::{Duration, Instant};

use weft_agent::store::kubernetes::Limits;
use weft_agent::store::{Kubernetes, Reader, Store as _};

use crate::relay::Relay;
use crate::rig::{Server, until};
use crate::store::net_namespace;
use crate::told::Told;

/// What stands for the 45 seconds of the product. The silence of a watch would take far longer to be noticed.
const LIMITS: Limits = Limits {
    silence: Duration::from_mins(10),
    quiet: Duration::from_secs(2),
    sign: Duration::from_secs(3),
};

/// Follows a server that goes and comes back. `connections` is how many a quiet store has.
fn goes_and_comes_back(server: &Server, connections: u64, go: fn(&Relay), come_back: fn(&Relay)) {
    server.apply(&net_namespace("one", 11));
    let relay = Relay::to((server.address(), 6443).into());
    let access = relay.access(&server.kubeconfig("admin"));
    let store = Kubernetes::open_within(&access, Reader::Agent, LIMITS).unwrap();
    let mut told = Told::by(&store);
    told.until("all that there is", |told| {
        told.listed && told.netid("one").is_some() && told.problems.is_empty()
    });
    told.all_problems.clear();
    until("as many connections as it takes", || {
        (relay.open() == connections).then_some(())
    });
    let taken = relay.taken();
    // Quiet, and answered: longer than it takes to be given up.
    loop {
        told.settling = false;
        std::thread::sleep(LIMITS.quiet + 2 * LIMITS.sign);
        told.drain();
        if !told.settling {
            break;
        }
    }
    assert_eq!(told.all_problems, [""; 0]);
    assert_eq!((relay.open(), relay.taken()), (connections, taken));
    assert!(
        store.stale() > LIMITS.quiet + LIMITS.sign,
        "signs of life bring no news: {:?}",
        store.stale()
    );

    go(&relay);
    let start = Instant::now();
    server.apply(&net_namespace("two", 12));
    told.until("the problem names the server's silence", |told| {
        let said = |problem: &String| problem.contains("does not answer");
        told.problems.iter().any(said)
    });
    let after = start.elapsed();
    let bound = LIMITS.quiet + LIMITS.sign + Duration::from_secs(4);
    assert!(after < bound, "{after:?}");
    let error = store.list().unwrap_err().to_string();
    assert!(error.contains("no answer"), "{error}");

    come_back(&relay);
    told.until("news again", |told| told.netid("two").is_some());
    told.until("the problem is taken back", |told| told.problems.is_empty());
    assert_eq!(told.deltas, ["+NetNamespace/one", "+NetNamespace/two"]);
}

/// The connection is acknowledged by something in the way: only the server's own answers count.
#[test]
fn one_that_hangs_is_noticed_by_its_pings() {
    let server = Server::new();
    goes_and_comes_back(&server, 1, |it| it.hold(true), |it| it.hold(false));
}

#[test]
fn one_without_power_is_noticed_by_its_pings() {
    let server = Server::new();
    goes_and_comes_back(&server, 1, Relay::vanish, Relay::come_back);
}

#[test]
fn one_without_power_and_without_http2_is_noticed_by_the_kernel() {
    let server = Server::with(&["--disable-http2-serving"]);
    goes_and_comes_back(&server, 4, Relay::vanish, Relay::come_back);
}
