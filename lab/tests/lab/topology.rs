//! The lab without a product in it: underlay, external hosts, daemons as stubs, life cycle.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use weft_lab::lab::{self, Action, Error, Lab, Options, PodSpec, Progress};
use weft_lab::probe::{self, Outcome, Server};
use weft_netns::NetNs;

use crate::stubs::Fixture;

fn ask(from: &NetNs, to: &str, port: u16) -> Outcome {
    probe::tcp(
        from,
        SocketAddr::new(to.parse().unwrap(), port),
        Duration::from_secs(2),
    )
    .unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn an_external_host_answers_every_node_on_every_address_it_was_given() {
    let fixture = Fixture::new();
    let lab = fixture.up(&[
        "web=198.51.100.0/24,203.0.113.7,2001:db8:7::/64,2001:db8::7,192.168.50.200",
        "other=203.0.113.8",
    ]);
    let server = Server::start(&lab.host_netns("web").unwrap(), 0, "web").unwrap();
    let addresses = [
        "198.51.100.1",
        "198.51.100.254",
        "203.0.113.7",
        "192.168.50.200",
        "192.168.50.101",
    ];
    for (node, seen) in [("node1", "192.168.50.11"), ("node2", "192.168.50.12")] {
        let ns = lab.host_netns(node).unwrap();
        for address in addresses {
            let outcome = ask(&ns, address, server.port());
            assert!(
                outcome.reached_from(ip(seen)),
                "{node} to {address}: {outcome:?}"
            );
        }
    }
    let ns = lab.host_netns("node2").unwrap();
    for address in ["2001:db8:7::1", "2001:db8:7::ffff:1", "2001:db8::7"] {
        let outcome = ask(&ns, address, server.port());
        assert!(
            outcome.reached_from(ip("fd00:192:168:50::12")),
            "node2 to {address}: {outcome:?}"
        );
    }
    let outcome = ask(&ns, "203.0.113.8", server.port());
    assert_eq!(
        outcome,
        Outcome::Refused,
        "the other external host is there, and is not web"
    );
    let outcome = ask(&ns, "203.0.113.9", server.port());
    assert!(
        matches!(outcome, Outcome::Failed(_)),
        "an address nobody has is answered by the underlay: {outcome:?}"
    );
    // From an address of the prefix back to a node: what an external client is.
    let node = Server::start(&ns, 0, "node2").unwrap();
    let from = lab.host_netns("web").unwrap();
    let answer = from.run(|| {
        let bound = std::net::UdpSocket::bind("198.51.100.77:0").map(drop);
        bound.and_then(|()| {
            probe::ask(
                SocketAddr::new(ip("192.168.50.12"), node.port()),
                Duration::from_secs(2),
            )
        })
    });
    assert_eq!(answer.unwrap().unwrap(), "node2 192.168.50.101");
}

#[test]
fn down_leaves_nothing_and_can_be_repeated() {
    let fixture = Fixture::new();
    let lab = fixture.up(&["web=198.51.100.0/24"]);
    lab.add_pod(&PodSpec::new("a", "p", "node1")).unwrap();
    let mut stray = lab
        .in_pod("a", "p", "sleep")
        .unwrap()
        .arg("1000")
        .spawn()
        .unwrap();
    let agent = lab.status().unwrap().nodes[1].agent_pid.unwrap();
    assert!(!fixture.traces().is_empty());
    assert!(lab::down(&fixture.name).unwrap());
    assert_eq!(fixture.traces(), [""; 0]);
    let ended = stray.wait().unwrap();
    assert_eq!(
        std::os::unix::process::ExitStatusExt::signal(&ended),
        Some(9),
        "a program in a pod"
    );
    assert_eq!(lab::process::Process::of_pid(agent), None, "an agent");
    assert!(
        !lab::down(&fixture.name).unwrap(),
        "the second time there is no such lab"
    );
    assert_eq!(
        fixture.traces(),
        [""; 0],
        "looking for it leaves nothing either"
    );
}

#[test]
fn a_lab_that_works_is_kept_and_one_whose_processes_died_is_made_anew() {
    let fixture = Fixture::new();
    let lab = fixture.up(&[]);
    let again = || lab::up(&fixture.name, &fixture.options(&[]), Progress::SILENT);
    let error = again().unwrap_err();
    assert!(matches!(error, Error::Up(_)), "{error}");
    // Held open: the kernel gives a freed number out again.
    let old = lab.host_netns("node1").unwrap();
    let before = old.id();
    lab.agent("node2", Action::Kill).unwrap();
    let lab = again().unwrap();
    assert_ne!(
        lab.host_netns("node1").unwrap().id(),
        before,
        "all of it is new"
    );
    assert!(
        lab.status()
            .unwrap()
            .nodes
            .iter()
            .all(|node| node.agent_pid.is_some())
    );
}

#[test]
fn a_half_made_lab_is_cleaned_by_the_next_up() {
    let fixture = Fixture::new();
    let lab = fixture.up(&[]);
    // What a crash leaves: `up` wrote down all it was going to make, and got as far as the first daemon.
    let mut state = lab.state().unwrap();
    let lost = state.nodes[0].agent.take().unwrap();
    state.phase = lab::state::Phase::Making;
    state.save().unwrap();
    weft_netns::unpin(lab::name::netns_path(&state.nodes[1].netns)).unwrap();
    let error = Lab::open(fixture.name.clone()).unwrap_err();
    assert!(matches!(error, Error::HalfMade(_)), "{error}");
    fixture.up(&[]);
    assert!(
        !lost.is_alive(),
        "the agent that was never written down is found in its namespace"
    );
    lab::down(&fixture.name).unwrap();
    assert_eq!(fixture.traces(), [""; 0]);
}

#[test]
fn an_up_that_fails_says_why_and_leaves_nothing() {
    let fixture = Fixture::new();
    fixture.set("broken");
    let error = lab::up(&fixture.name, &fixture.options(&[]), Progress::SILENT)
        .unwrap_err()
        .to_string();
    assert!(
        // Controller and agent end at the same time; either may be noticed first.
        (error.contains("node1: the agent ended") || error.contains("controller: it ended"))
            && error.contains("it is broken"),
        "{error}"
    );
    assert_eq!(fixture.traces(), [""; 0]);
    fixture.unset("broken");
    fixture.set("mute");
    let asked = std::cell::Cell::new(0);
    let cancelled = || asked.replace(asked.get() + 1) > 5;
    let error = lab::up(
        &fixture.name,
        &fixture.options(&[]),
        Progress {
            say: &|_| {},
            cancelled: &cancelled,
        },
    );
    assert!(matches!(error, Err(Error::Interrupted)));
    assert_eq!(fixture.traces(), [""; 0], "also when the user ends it");
}

#[test]
fn agents_and_controller_are_ended_and_started_alone() {
    let fixture = Fixture::new();
    let lab = fixture.up(&[]);
    let pids = || {
        let status = lab.status().unwrap();
        (
            status.controller_pid,
            status.nodes[0].agent_pid,
            status.nodes[1].agent_pid,
        )
    };
    let (controller, first, second) = pids();
    lab.agent("node1", Action::Stop).unwrap();
    assert_eq!(pids(), (controller, None, second));
    let error = lab.agent("node1", Action::Kill).unwrap_err().to_string();
    assert_eq!(error, "the agent of node1 does not run");
    lab.agent("node1", Action::Start).unwrap();
    assert!(pids().1.is_some_and(|pid| Some(pid) != first));
    lab.controller(Action::Kill).unwrap();
    assert_eq!(pids().0, None);
    lab.controller(Action::Start).unwrap();
    assert!(pids().0.is_some());
    let log = fs::read_to_string(lab.log("node1")).unwrap();
    assert_eq!(
        log.matches("agent started").count(),
        2,
        "the log goes on over a restart: {log}"
    );
}

#[test]
fn each_node_has_a_bpf_file_system_and_a_sys_of_its_own() {
    let fixture = Fixture::new();
    let lab = fixture.up(&[]);
    let nodes = lab.status().unwrap().nodes;
    let device = |path: &Path| std::os::unix::fs::MetadataExt::dev(&fs::metadata(path).unwrap());
    assert_ne!(device(&nodes[0].bpf_dir), device(&nodes[1].bpf_dir));
    assert_ne!(device(&nodes[0].bpf_dir), device(&nodes[0].state_dir));
    let output = lab
        .on_host("node1", "ls")
        .unwrap()
        .arg("/sys/class/net")
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "eth0\nlo\n",
        "{output:?}"
    );
}

#[test]
fn name_servers_are_those_of_the_lab_in_nodes_and_pods_only() {
    let fixture = Fixture::new();
    let options = Options {
        dns: vec![ip("198.51.100.53")],
        ..fixture.options(&["dns=198.51.100.53"])
    };
    let lab = lab::up(&fixture.name, &options, Progress::SILENT).unwrap();
    lab.add_pod(&PodSpec::new("a", "p", "node1")).unwrap();
    let own = fs::read("/etc/resolv.conf").ok();
    for mut command in [
        lab.on_host("node1", "cat").unwrap(),
        lab.in_pod("a", "p", "cat").unwrap(),
    ] {
        let output = command.arg("/etc/resolv.conf").output().unwrap();
        assert_eq!(
            String::from_utf8(output.stdout).unwrap(),
            "nameserver 198.51.100.53\n"
        );
    }
    assert_eq!(fs::read("/etc/resolv.conf").ok(), own);
}
