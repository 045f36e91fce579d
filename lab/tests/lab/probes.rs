//! The probes against a link that does what it is told.

use std::net::{IpAddr, SocketAddr};
use std::process::Command;
use std::time::{Duration, Instant};

use weft_lab::probe::{self, Outcome, Server, Stream};
use weft_netns::{CommandNs as _, NetNs};

const RIGHT_MAC: &str = "02:00:00:00:00:02";

/// Two namespaces without names, connected: .1 and .2, ::1 and ::2.
fn pair() -> (NetNs, NetNs) {
    let (left, right) = (NetNs::create().unwrap(), NetNs::create().unwrap());
    let holder = Command::new("sleep")
        .arg("60")
        .net_ns(&right)
        .unwrap()
        .spawn()
        .unwrap();
    let peer = format!(
        "link add eth0 type veth peer name eth0 address {RIGHT_MAC} netns {}",
        holder.id()
    );
    ip(&left, &peer);
    let mut holder = holder;
    holder.kill().unwrap();
    holder.wait().unwrap();
    for (ns, last) in [(&left, 1), (&right, 2)] {
        ip(ns, &format!("address add 10.9.9.{last}/24 dev eth0"));
        ip(ns, &format!("address add fd99::{last}/64 dev eth0 nodad"));
        ip(ns, "link set eth0 up");
    }
    // The kernel may take a second to find the link up.
    let server = Server::start(&right, 0, "right").unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    let to = SocketAddr::new(at("fd99::2"), server.port());
    while !probe::tcp(&left, to, Duration::from_millis(100))
        .unwrap()
        .reached()
    {
        assert!(Instant::now() < deadline, "the pair does not come up");
    }
    (left, right)
}

fn ip(ns: &NetNs, arguments: &str) {
    let status = Command::new("ip")
        .args(arguments.split(' '))
        .net_ns(ns)
        .unwrap()
        .status()
        .unwrap();
    assert!(status.success(), "ip {arguments}");
}

fn at(address: &str) -> IpAddr {
    address.parse().unwrap()
}

#[test]
fn a_connection_is_reached_refused_silent_or_failed() {
    let (left, right) = pair();
    let server = Server::start(&right, 0, "right").unwrap();
    let ask = |address: &str, port| {
        probe::tcp(
            &left,
            SocketAddr::new(at(address), port),
            Duration::from_millis(300),
        )
        .unwrap()
    };
    let reached = ask("10.9.9.2", server.port());
    assert_eq!(
        reached,
        Outcome::Reached {
            peer_seen: at("10.9.9.1"),
            server: "right".into()
        }
    );
    assert!(ask("fd99::2", server.port()).reached_from(at("fd99::1")));
    assert_eq!(ask("10.9.9.2", 1), Outcome::Refused);
    assert!(matches!(ask("10.8.8.8", 1), Outcome::Failed(why) if why.contains("unreachable")));
    ip(&right, "route add blackhole 10.9.9.1/32");
    assert_eq!(ask("10.9.9.2", server.port()), Outcome::Silent);
}

/// Waits until `count` tells of at least so many packets.
fn wait(what: &str, least: u64, count: impl Fn() -> u64) {
    let done = weft_wait::poll(weft_wait::SOON, || (count() >= least).then_some(()));
    assert!(done.is_some(), "{} packets {what}, not {least}", count());
}

fn wait_received(stream: &Stream, least: u64) {
    wait("arrived", least, || stream.received());
}

#[test]
fn a_stream_over_a_quiet_link_arrives_whole() {
    let (left, right) = pair();
    let stream = Stream::start(&left, &right, at("fd99::2")).unwrap();
    wait_received(&stream, 200);
    let report = stream.finish().unwrap();
    assert_eq!(
        (report.lost.len(), report.duplicates, report.reordered),
        (0, 0, 0),
        "{report:?}"
    );
    assert_eq!(report.peers, [at("fd99::1")]);
}

#[test]
fn a_stream_counts_what_the_link_lost() {
    let (left, right) = pair();
    // Else the kernel would ask for the address again, and keep packets until the link is up and the answer there.
    ip(
        &left,
        &format!("neigh replace 10.9.9.2 lladdr {RIGHT_MAC} nud permanent dev eth0"),
    );
    let stream = Stream::start(&left, &right, at("10.9.9.2")).unwrap();
    wait_received(&stream, 50);
    ip(&right, "link set eth0 down");
    // The first of these may have been on its way before the link went; the others meet a link that is down.
    let down = stream.sent();
    wait("sent", down + 20, || stream.sent());
    let up = stream.sent();
    ip(&right, "link set eth0 up");
    // No more than `down + 1` can have arrived before.
    wait_received(&stream, down + 1 + 50);
    let report = stream.finish().unwrap();
    let between = report.lost.iter().filter(|n| (down + 1..up).contains(n));
    assert_eq!(
        between.count() as u64,
        up - down - 1,
        "all that was sent over a link that is down is lost: {report:?}"
    );
    let first = report.lost.first().copied();
    let last = report.lost.last().copied();
    assert!(
        first.is_some_and(|first| first >= 50) && last.is_some_and(|last| last + 50 < report.sent),
        "in the middle: {report:?}"
    );
}
