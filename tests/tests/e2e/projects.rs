//! Projects are joined, isolated and opened while their traffic flows.

use std::time::{Duration, Instant};

use serde_json::Value;
use weft_lab::lab::{Mode, Options, PodSpec};
use weft_lab::probe::Stream;
use weft_wait::{SOON, eventually, poll};

use crate::cluster::{Cluster, Pod, Said, Store, on_both_stores, two_nodes};
use crate::party::{Judge, PORT, Party, denied, reaches, udp};

/// Rounds of join, isolate, global and isolate.
const ROUNDS: usize = 3;

fn change(cluster: &Cluster, args: &[&str]) -> Said {
    cluster.ask("node1", &[&["pod-network"], args].concat())
}

/// Waits until a datagram is answered; how long that took.
fn opens(from: &Party, to: &Party) -> Duration {
    let start = Instant::now();
    let at = (to.ip(false), PORT).into();
    let patience = Duration::from_millis(20);
    let opened = poll(SOON, || {
        udp(&from.netns, None, at, patience).reached().then_some(())
    });
    assert!(opened.is_some(), "{from} -> {to} does not open");
    start.elapsed()
}

/// Waits until a datagram is not answered; how long that took. The reason is [`denied`]'s to find.
fn closes(from: &Party, to: &Party) -> Duration {
    let start = Instant::now();
    let at = (to.ip(false), PORT).into();
    let patience = Duration::from_millis(100);
    let closed = poll(SOON, || {
        (!udp(&from.netns, None, at, patience).reached()).then_some(())
    });
    assert!(closed.is_some(), "{from} -> {to} does not close");
    start.elapsed().saturating_sub(patience)
}

on_both_stores!(live_traffic_inside_a_project_loses_nothing_while_its_network_changes);

fn live_traffic_inside_a_project_loses_nothing_while_its_network_changes(store: Store) {
    let cluster = Cluster::up_on(store, &two_nodes());
    let pods = [
        ("a/p1", "node1"),
        ("a/p3", "node2"),
        ("b/p1", "node1"),
        ("b/p2", "node1"),
        ("b/p3", "node2"),
    ];
    let pods: [Pod; 5] = pods.map(|(label, node)| cluster.pod(label, node));
    let [a1, a3, b1, _, b3] = pods.each_ref().map(Party::of_pod);
    let local = [&b1, &a1];
    let across = [&b3, &a1];
    let isolated = |from: &Party, to: &Party| {
        let hook = if from.name == b3.name {
            "from_overlay"
        } else {
            "from_pod"
        };
        denied(
            &cluster,
            from,
            to,
            false,
            Judge {
                node: "node1",
                hook,
                reason: "Isolated",
            },
        );
    };
    let inside = [false, true].map(|ipv6| {
        let to = pods[3].ips[usize::from(ipv6)];
        Stream::start(&pods[2].netns, &pods[3].netns, to).unwrap()
    });
    eventually("the streams flow", || {
        inside.iter().all(|stream| stream.received() > 0)
    });

    let mut slowest = [Duration::ZERO; 2];
    let mut changed = |args: &[&str], open: bool| {
        let start = Instant::now();
        change(&cluster, args).ok();
        let command = start.elapsed();
        for [from, to] in [local, across] {
            let after = if open {
                opens(from, to)
            } else {
                closes(from, to)
            };
            slowest[usize::from(open)] = slowest[usize::from(open)].max(command + after);
            if open {
                reaches(from, to, to.ip(false), from.ip(false));
                reaches(to, from, from.ip(true), to.ip(true));
            } else {
                isolated(from, to);
            }
        }
        // Whatever a project's network is, its own pods reach one another, on one node and across.
        reaches(&b1, &b3, b3.ip(true), b1.ip(true));
        reaches(&a3, &a1, a1.ip(false), a3.ip(false));
    };
    for _ in 0..ROUNDS {
        changed(&["join-projects", "--to=a", "b"], true);
        changed(&["isolate-projects", "b"], false);
        changed(&["make-projects-global", "b"], true);
        changed(&["isolate-projects", "b"], false);
    }
    let reports = inside.map(|stream| stream.finish().unwrap());
    for report in &reports {
        assert_eq!(
            report.lost,
            [0; 0],
            "of {} in {} changes",
            report.sent,
            4 * ROUNDS
        );
        assert_eq!(report.refused, None);
    }
    println!(
        "from the command's start, slowest of {ROUNDS} rounds: closed after {:?}, open after {:?}; {} packets inside the project",
        slowest[0],
        slowest[1],
        reports[0].sent + reports[1].sent
    );
}

on_both_stores!(the_outcome_is_told_for_each_project);

fn the_outcome_is_told_for_each_project(store: Store) {
    let cluster = Cluster::up_on(
        store,
        &Options {
            nodes: 1,
            ..Options::default()
        },
    );
    for project in ["a", "b", "c"] {
        let labels = [(
            "team".to_owned(),
            if project == "c" { "red" } else { "blue" }.to_owned(),
        )];
        let text = format!(
            "apiVersion: v1\nkind: Namespace\nmetadata: {{name: {project}, labels: {{{}: {}}}}}\n",
            labels[0].0, labels[0].1
        );
        cluster.apply(&text, "test").unwrap();
    }
    let known = || {
        let projects = cluster.projects("node1");
        let known = |name: &str| projects.iter().any(|project| project.name == name);
        ["a", "b", "c", "default"].into_iter().all(known)
    };
    eventually("the projects have networks", known);

    let reports = |said: &Said| -> Vec<(String, String, String)> {
        let list: Vec<Value> =
            serde_json::from_str(&said.stdout).unwrap_or_else(|error| panic!("{error}: {said:?}"));
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        list.iter()
            .map(|row| {
                (
                    text(&row["project"]),
                    text(&row["outcome"]),
                    text(&row["reason"]),
                )
            })
            .collect()
    };
    let networks = || -> Vec<(String, u32)> {
        let projects = cluster.projects("node1");
        projects
            .into_iter()
            .map(|project| (project.name, project.vnid))
            .collect()
    };
    let before = networks();

    // Refused as a whole, by the command or by the controller; nothing changes.
    for (args, project, why) in [
        (&["isolate-projects", "default"][..], "default", "default"),
        (
            &["join-projects", "--to=missing", "a"],
            "missing",
            "does not exist",
        ),
        (&["isolate-projects", "missing"], "missing", "missing"),
        (
            &["make-projects-global", "--selector=team=green"],
            "team=green",
            "no namespace",
        ),
    ] {
        let said = change(&cluster, &[args, &["-o", "json"]].concat());
        assert_eq!(said.code, Some(1), "{args:?}: {said:?}");
        let text = format!("{}{}", said.stdout, said.stderr);
        assert!(
            text.contains(project) && text.contains(why),
            "{args:?}: {text}"
        );
    }
    assert_eq!(networks(), before);

    for args in [
        &["join-projects", "a"][..],
        &["join-projects", "--to=a"],
        &["isolate-projects"],
        &["isolate-projects", "a", "--selector=team=blue"],
        &["isolate-projects", "--selector=team=("],
        &["make-projects-global", "--unknown", "a"],
        &["shake-projects", "a"],
    ] {
        let said = change(&cluster, args);
        assert_eq!(said.code, Some(2), "{args:?}: {said:?}");
        assert!(!said.stderr.is_empty(), "{args:?}");
    }
    assert_eq!(networks(), before);

    // Each for itself: what can be done is done.
    let said = change(
        &cluster,
        &["isolate-projects", "a", "default", "-o", "json"],
    );
    assert_eq!(said.code, Some(1), "{said:?}");
    let rows = reports(&said);
    assert_eq!((&*rows[0].0, &*rows[0].1), ("a", "applied"));
    assert_eq!((&*rows[1].0, &*rows[1].1), ("default", "refused"));
    assert!(rows[1].2.contains("default"), "{rows:?}");

    let said = change(
        &cluster,
        &[
            "join-projects",
            "--to=c",
            "--selector=team=blue",
            "-o",
            "json",
        ],
    );
    assert_eq!(said.code, Some(0), "{said:?}");
    let rows = reports(&said);
    assert_eq!(
        rows.iter().map(|row| &*row.0).collect::<Vec<_>>(),
        ["a", "b"]
    );
    assert!(rows.iter().all(|row| row.1 == "applied"), "{rows:?}");
    eventually("the agent knows", || {
        let projects = cluster.projects("node1");
        let c = projects.iter().find(|project| project.name == "c").unwrap();
        c.joined_with == ["a", "b"]
    });
}

on_both_stores!(subnet_mode_has_no_project_networks);

fn subnet_mode_has_no_project_networks(store: Store) {
    let cluster = Cluster::up_on(
        store,
        &Options {
            nodes: 1,
            mode: Mode::Subnet,
            ..Options::default()
        },
    );
    cluster.add_pod(&PodSpec::new("a", "p", "node1")).unwrap();
    for args in [
        &["isolate-projects", "a"][..],
        &["make-projects-global", "a"],
        &["join-projects", "--to=default", "a"],
    ] {
        let said = change(&cluster, args);
        assert_eq!(said.code, Some(1), "{args:?}: {said:?}");
        assert!(
            said.stderr.contains("multitenant"),
            "{args:?}: {}",
            said.stderr
        );
    }
}
