//! The name servers of tests do what tests rely on.

use std::net::{IpAddr, SocketAddr};
use std::process::Command;
use std::time::{Duration, Instant};

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType::{A, AAAA};
use weft_lab::dns::relay::play;
use weft_lab::dns::{Cache, Change, PORT, Relay, Server};
use weft_lab::probe::{self, Answer, Lookup};
use weft_netns::{CommandNs as _, NetNs};

const SERVER: &str = "127.0.0.1";
const OTHER: &str = "127.0.0.2";

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A namespace with loopback only.
fn namespace() -> NetNs {
    let netns = NetNs::create().unwrap();
    let mut up = Command::new("ip");
    up.args(["link", "set", "lo", "up"]).net_ns(&netns).unwrap();
    assert!(up.status().unwrap().success());
    netns
}

fn ask(netns: &NetNs, lookup: Lookup, name: &str) -> Answer {
    netns.run(|| lookup.ask(name, A)).unwrap().unwrap()
}

#[test]
fn a_server_answers_by_its_last_change_at_once() {
    let netns = namespace();
    let mut server = Server::start(&netns, &[ip(SERVER)], &["foo.com", "example.test"]).unwrap();
    let lookup = Lookup::at(ip(SERVER));
    for last in 1..=50 {
        let address = [198, 51, 100, last].into();
        let change = Change::of("foo.com").addresses("www.foo.com", 0, &[address]);
        server.change(&change).unwrap();
        let answer = ask(&netns, lookup, "www.foo.com");
        assert_eq!((answer.addresses, answer.ttl), (vec![address], 0));
    }
    let both = [ip("198.51.100.7"), ip("2001:db8::7")];
    let change = Change::of("foo.com")
        .addresses("www.foo.com", 60, &both)
        .alias("ftp.foo.com", 5, "www.foo.com")
        .addresses("*.pool.foo.com", 1, &both);
    server.change(&change).unwrap();
    let answer = ask(&netns, lookup, "ftp.foo.com");
    assert_eq!((answer.addresses, answer.ttl), (vec![both[0]], 5));
    let answer = netns.run(|| lookup.ask("x.POOL.foo.com", AAAA)).unwrap();
    assert_eq!(answer.unwrap().addresses, [both[1]]);

    server.stop().unwrap();
    let silent = netns.run(|| lookup.ask("www.foo.com", A)).unwrap();
    assert!(silent.is_err(), "{silent:?}");
    server.start_again().unwrap();
    let answer = ask(&netns, lookup, "www.foo.com");
    assert_eq!(answer.addresses, [both[0]], "what it knew is kept");
    let change = Change::of("foo.com").nothing("www.foo.com");
    server.change(&change).unwrap();
    let answer = ask(&netns, lookup, "www.foo.com");
    assert_eq!(answer.code, ResponseCode::NXDomain);
}

#[test]
fn a_server_fails_for_a_zone_and_cuts_long_answers_short() {
    let netns = namespace();
    let server = Server::start(&netns, &[ip(SERVER)], &["foo.com", "example.test"]).unwrap();
    let lookup = Lookup::at(ip(SERVER));
    let addresses: Vec<IpAddr> = (1..=100).map(|n| [198, 51, 100, n].into()).collect();
    let change = Change::of("foo.com").addresses("www.foo.com", 60, &addresses);
    server.change(&change).unwrap();
    let edns = Lookup {
        payload: Some(4_096),
        ..lookup
    };
    for (how, truncated) in [
        (lookup, true),
        (edns, false),
        (
            Lookup {
                tcp: true,
                ..lookup
            },
            false,
        ),
    ] {
        let mut answer = ask(&netns, how, "www.foo.com");
        answer.addresses.sort_unstable();
        assert_eq!(answer.addresses, addresses, "{how:?}");
        assert_eq!(answer.truncated, truncated, "{how:?}");
    }
    server.fail("foo.com").unwrap();
    let answer = ask(&netns, lookup, "www.foo.com");
    assert_eq!(answer.code, ResponseCode::ServFail);
    let answer = ask(&netns, lookup, "www.example.test");
    assert_eq!(answer.code, ResponseCode::NXDomain, "another zone");
    server.heal().unwrap();
    let answer = ask(&netns, edns, "www.foo.com");
    assert_eq!(answer.addresses.len(), 100);
}

#[test]
fn a_cache_keeps_answers_for_their_ttl() {
    let netns = namespace();
    let server = Server::start(&netns, &[ip(SERVER)], &["foo.com"]).unwrap();
    let _cache = Cache::start(&netns, ip(OTHER), ip(SERVER)).unwrap();
    let lookup = Lookup::at(ip(OTHER));
    let [old, new] = ["198.51.100.1", "198.51.100.2"].map(ip);
    for (name, ttl) in [("a.foo.com", 60), ("b.foo.com", 0)] {
        let set = |address| {
            let change = Change::of("foo.com").addresses(name, ttl, &[address]);
            server.change(&change).unwrap();
            ask(&netns, lookup, name).addresses
        };
        assert_eq!(set(old), [old]);
        let expected = if ttl == 0 { new } else { old };
        assert_eq!(set(new), [expected], "TTL {ttl}");
    }
}

#[test]
fn a_relay_does_to_answers_what_it_is_told() {
    let netns = namespace();
    let server = Server::start(&netns, &[ip(SERVER)], &["foo.com"]).unwrap();
    let address = ip("198.51.100.1");
    let change = Change::of("foo.com").addresses("www.foo.com", 60, &[address]);
    server.change(&change).unwrap();
    let listen = SocketAddr::new(ip(OTHER), PORT);
    let relay = Relay::start(&netns, listen, server.address()).unwrap();
    let lookup = Lookup {
        patience: Duration::from_millis(500),
        ..Lookup::at(ip(OTHER))
    };
    let tcp = Lookup {
        tcp: true,
        ..lookup
    };
    for how in [lookup, tcp] {
        assert_eq!(ask(&netns, how, "www.foo.com").addresses, [address]);
    }
    relay.play(play::recased());
    assert_eq!(ask(&netns, lookup, "www.foo.com").addresses, [address]);
    relay.play(play::twice());
    assert_eq!(ask(&netns, lookup, "www.foo.com").addresses, [address]);
    let pause = Duration::from_millis(100);
    relay.play(play::delayed(pause));
    let start = Instant::now();
    assert_eq!(ask(&netns, lookup, "www.foo.com").addresses, [address]);
    assert!(start.elapsed() >= pause);
    let glance = Lookup {
        patience: Duration::from_millis(100),
        ..lookup
    };
    let silent = || netns.run(|| glance.ask("www.foo.com", A)).unwrap().is_err();
    relay.play(play::lost());
    assert!(silent());
    relay.play(play::renumbered());
    assert!(silent(), "an answer with another ID is none");
}

#[test]
fn a_lookup_and_its_connection_take_well_below_a_millisecond() {
    const ROUNDS: u32 = 500;
    let netns = namespace();
    let server = Server::start(&netns, &[ip(SERVER)], &["foo.com"]).unwrap();
    let change = Change::of("foo.com").addresses("www.foo.com", 0, &[ip("127.0.0.9")]);
    server.change(&change).unwrap();
    let listener = probe::Server::start(&netns, 0, "nine").unwrap();
    let lookup = Lookup::at(ip(SERVER));
    let start = Instant::now();
    let reached = netns.run(|| {
        let round = |_| lookup.connect("www.foo.com", A, listener.port(), lookup.patience);
        (0..ROUNDS).map(round).all(|round| {
            let round = round.unwrap();
            round.outcome.reached() && round.lookup + round.connect < lookup.patience
        })
    });
    assert!(reached.unwrap());
    println!("{:?} a round", start.elapsed() / ROUNDS);
}
