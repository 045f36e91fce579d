//! Agents come and go; packets do not notice.

use std::thread;
use std::time::{Duration, Instant};

use weft_lab::lab::Action;
use weft_lab::probe::{Outcome, Report, Stream};
use weft_wait::eventually;

use crate::cluster::{Cluster, Pod, Store, on_both_stores, two_nodes};
use crate::party::{PORT, Party, reaches, udp};

/// Kills of each agent.
const KILLS: usize = 20;

fn stream(from: &Pod, to: &Pod, ipv6: bool) -> (String, Stream) {
    let name = format!("{} -> {}", from.label(), to.label());
    let stream = Stream::start(&from.netns, &to.netns, to.ips[usize::from(ipv6)]);
    (name, stream.unwrap())
}

/// Ends a stream of which nothing may be missing.
fn whole((name, stream): (String, Stream)) -> Report {
    let report = stream.finish().unwrap();
    assert_eq!(report.lost, [0; 0], "{name}: lost of {}", report.sent);
    assert_eq!(report.duplicates, 0, "{name}");
    assert_eq!(report.refused, None, "{name}");
    report
}

#[test]
fn no_packet_is_lost_over_killed_and_restarted_agents() {
    let cluster = Cluster::up(&two_nodes());
    let local = ["a/p1", "a/p2"].map(|label| cluster.pod(label, "node1"));
    let remote = cluster.pod("a/p3", "node2");
    let stranger = cluster.pod("b/p1", "node1");
    let whole_streams = [
        stream(&local[0], &local[1], false),
        stream(&local[0], &remote, false),
        stream(&remote, &local[1], true),
    ];
    let forbidden = [
        stream(&stranger, &local[0], false),
        stream(&remote, &stranger, true),
    ];
    let flowing = |(_, stream): &(String, Stream)| stream.received() > 0;
    eventually("the streams flow", || whole_streams.iter().all(flowing));

    let start = Instant::now();
    let longest = thread::scope(|scope| {
        let nodes = ["node1", "node2"].map(|node| scope.spawn(|| kills(&cluster, node)));
        nodes.map(|node| node.join().unwrap()).into_iter().max()
    });
    let reports = whole_streams.map(whole);
    for report in &reports {
        assert_eq!(report.peers.len(), 1, "{:?}", report.peers);
    }
    for (name, stream) in forbidden {
        let report = stream.finish().unwrap();
        assert_eq!(report.lost.len() as u64, report.sent, "{name} got through");
    }
    assert!(cluster.count("node1", "Isolated") > 0);
    println!(
        "{KILLS} kills and restarts of both agents in {:?}, the slowest start {:?}; {} packets, longest pause of a sender {:?}",
        start.elapsed(),
        longest.unwrap(),
        reports.iter().map(|report| report.sent).sum::<u64>(),
        reports.iter().map(|report| report.pause).max().unwrap(),
    );
    for pod in local.iter().chain([&remote, &stranger]) {
        cluster.cni("CHECK", &pod.record).unwrap();
    }
    for node in ["node1", "node2"] {
        assert_eq!(cluster.agent_status(node).problems, [], "{node}");
    }
}

/// Returns the longest time from a start to the agent's answer.
fn kills(cluster: &Cluster, node: &str) -> Duration {
    let restarts = (0..KILLS).map(|_| {
        cluster.agent(node, Action::Kill).unwrap();
        let start = Instant::now();
        cluster.agent(node, Action::Start).unwrap();
        start.elapsed()
    });
    restarts.max().unwrap()
}

on_both_stores!(an_agent_that_is_away_changes_nothing_and_catches_up_at_its_start);

fn an_agent_that_is_away_changes_nothing_and_catches_up_at_its_start(store: Store) {
    let cluster = Cluster::up_on(store, &two_nodes());
    let pods = [
        ("a/p1", "node1"),
        ("a/p2", "node1"),
        ("a/p3", "node2"),
        ("b/p1", "node1"),
        ("c/p1", "node1"),
    ];
    let pods = pods.map(|(label, node)| cluster.pod(label, node));
    let [a1, a2, a3, b1, c1] = pods.each_ref().map(Party::of_pod);
    cluster
        .ask("node1", &["pod-network", "join-projects", "--to=a", "c"])
        .ok();
    eventually("c is joined to a", || {
        let projects = cluster.projects("node1");
        projects
            .iter()
            .any(|project| project.name == "a" && project.joined_with == ["c"])
    });
    reaches(&c1, &a1, a1.ip(false), c1.ip(false));

    cluster.agent("node1", Action::Stop).unwrap();
    let streams = [
        stream(&pods[0], &pods[1], true),
        stream(&pods[0], &pods[2], false),
    ];
    let forbidden = stream(&pods[3], &pods[0], false);
    // The controller is there; the agent learns of this when it comes back.
    cluster
        .ask("node2", &["pod-network", "join-projects", "--to=a", "b"])
        .ok();
    cluster
        .ask("node2", &["pod-network", "isolate-projects", "c"])
        .ok();
    reaches(&a1, &a2, a2.ip(false), a1.ip(false));
    reaches(&a1, &a3, a3.ip(true), a1.ip(true));
    reaches(&c1, &a1, a1.ip(false), c1.ip(false));
    assert_eq!(forbidden.1.received(), 0, "still isolated");

    let start = Instant::now();
    cluster.agent("node1", Action::Start).unwrap();
    eventually("b reaches a", || forbidden.1.received() > 0);
    println!(
        "{:?} from the agent's start to what it missed in effect",
        start.elapsed()
    );
    reaches(&b1, &a1, a1.ip(true), b1.ip(true));
    // By the counter: the other stream's drops may have used up the budget of events.
    let dropped = || cluster.pod_count("node1", "c/p1", "Isolated");
    let before = dropped();
    let at = (a1.ip(false), PORT).into();
    eventually("c is isolated", || {
        let outcome = udp(&c1.netns, None, at, Duration::from_millis(100));
        outcome == Outcome::Silent && dropped() > before
    });
    for stream in streams {
        whole(stream);
    }
    drop(forbidden.1.finish());
}
