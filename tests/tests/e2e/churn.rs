//! A thousand attachments come and go, some with the plugin or the agent killed half-way. Nothing stays.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rand::RngExt as _;
use weft_lab::lab::{Action, Options, PodSpec};
use weft_netns::NetNs;
use weft_wait::{SOON, eventually, poll};

use crate::cluster::Cluster;
use crate::plugin::{Answer, Attachment, Plugin, finish, path};
use crate::residue::traces;

const CYCLES: usize = 1000;
const WORKERS: usize = 8;
/// How often the agent is killed meanwhile.
const AGENT_KILLS: usize = 10;
/// One plugin run in this many is killed.
const PLUGIN_KILLS: u32 = 20;
const PROJECTS: [&str; 4] = ["a", "b", "c", "default"];

/// What happened, for the one who reads the test's output.
#[derive(Default)]
struct Tally {
    cycles: AtomicUsize,
    added: AtomicUsize,
    killed: AtomicUsize,
    refused: AtomicUsize,
    left: AtomicUsize,
}

#[test]
fn a_thousand_attachments_some_killed_half_way_leave_nothing() {
    // 29 addresses: one that leaked would be missed at the end.
    let cluster = Cluster::up(&Options {
        nodes: 1,
        pod_ranges: vec![
            "10.128.0.0/16:5".parse().unwrap(),
            "fd01::/48:64".parse().unwrap(),
        ],
        ..Options::default()
    });
    for project in PROJECTS {
        // The project's rows stay when its last pod goes: they are there before.
        cluster
            .add_pod(&PodSpec::new(project, "first", "node1"))
            .unwrap();
        cluster.del_pod(project, "first").unwrap();
    }
    let mut before = traces(&cluster, "node1");
    // No pod is there: what a last packet has counted goes with the next full pass, and shall not be found again.
    before.retain(|line| !line.starts_with("row DROPS"));
    let plugin = Plugin::of(&cluster, "node1");
    let tally = Tally::default();
    let over = AtomicBool::new(false);

    let start = Instant::now();
    thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS)
            .map(|_| scope.spawn(|| work(&plugin, &tally)))
            .collect();
        let killer = scope.spawn(|| kill_agents(&cluster, &tally, &over));
        for worker in workers {
            worker.join().unwrap();
        }
        over.store(true, Ordering::Relaxed);
        killer.join().unwrap();
    });
    let took = start.elapsed();

    // Containers that nobody detached are GC's: the runtime says that none is valid any more.
    let collected = plugin.manage("GC", &[]);
    assert!(collected.success, "{collected:?}");
    // A last packet may be counted while its pod goes; the agent's next full pass, such as at its start, sees to that.
    // The start itself may have such a pod to end, hence another one.
    let mut after = traces(&cluster, "node1");
    let same = (0..3).find_map(|_| {
        cluster.agent("node1", Action::Kill).unwrap();
        cluster.agent("node1", Action::Start).unwrap();
        poll(SOON / 3, || {
            after = traces(&cluster, "node1");
            (after == before).then_some(())
        })
    });
    let residue: Vec<_> = after.symmetric_difference(&before).collect();
    assert!(same.is_some(), "left behind or gone missing: {residue:#?}");
    let count = |number: &AtomicUsize| number.load(Ordering::Relaxed);
    println!(
        "{CYCLES} cycles in {took:?}: {} attached, {} plugins and {AGENT_KILLS} agents killed, {} answers were \
         errors meanwhile, {} left to GC",
        count(&tally.added),
        count(&tally.killed),
        count(&tally.refused),
        count(&tally.left),
    );
    whole_subnet_is_free(&plugin);
}

#[test]
fn a_pod_whose_namespace_vanished_is_told_and_holds_nobody_up() {
    let cluster = Cluster::up(&Options {
        nodes: 1,
        ..Options::default()
    });
    let before = traces(&cluster, "node1");
    let plugin = Plugin::of(&cluster, "node1");
    let netns = NetNs::create().unwrap();
    let attachment = Attachment::new(&path(&netns), "default");
    let added = plugin.run("ADD", &attachment);
    assert!(added.success, "{added:?}");
    let interface = cluster.pods("node1")[0].interface.clone();
    drop(netns);
    eventually("the veth goes with the namespace", || {
        let links = cluster.run("node1", &["ip", "-o", "link"]).ok();
        !links.contains(&interface)
    });
    // At a restart what is not there any more is undone; before, a pass finds and tells it.
    let told = || {
        let problems = cluster.agent_status("node1").problems;
        problems
            .iter()
            .any(|problem| problem.message.contains(&interface))
    };
    touch_cluster_network(&cluster);
    eventually("status tells of it", told);
    let status = cluster.agent_status("node1");
    assert!(status.ready, "{}", status.not_ready);
    cluster.pod("a/p", "node1");
    cluster.del_pod("a", "p").unwrap();
    assert!(plugin.run("DEL", &attachment).success);
    touch_cluster_network(&cluster);
    eventually("it is forgotten", || !told());
    let named = |line: &String| !line.contains("row PROJECTS");
    let after = traces(&cluster, "node1");
    let residue: Vec<_> = after
        .difference(&before)
        .filter(|line| named(line))
        .collect();
    assert!(residue.is_empty(), "{residue:#?}");
}

/// A change of what concerns the whole node, which is followed by a full pass.
fn touch_cluster_network(cluster: &Cluster) {
    let found = cluster.objects().get("ClusterNetwork", "", "default");
    let mut object = (*found.unwrap().unwrap()).clone();
    let mtu = object.value["mtu"].as_u64().unwrap() - 1;
    object.set_field("mtu", mtu.into());
    cluster.objects().apply(&object).unwrap();
}

/// A path by which this process's children find the namespace, which has no name.
fn work(plugin: &Plugin, tally: &Tally) {
    let mut random = rand::rng();
    while tally.cycles.fetch_add(1, Ordering::Relaxed) < CYCLES {
        let netns = NetNs::create().unwrap();
        let project = PROJECTS[random.random_range(0..PROJECTS.len())];
        let attachment = Attachment::new(&path(&netns), project);
        let mut run = |command: &str| -> Option<Answer> {
            let child = plugin.start(command, &attachment);
            if random.random_ratio(1, PLUGIN_KILLS) {
                return kill_half_way(child, random.random_range(0..8_000), tally);
            }
            Some(finish(child))
        };
        let left = rand::random_ratio(1, 50);
        match run("ADD") {
            Some(answer) if answer.success => drop(tally.added.fetch_add(1, Ordering::Relaxed)),
            Some(answer) => expected(&answer, tally),
            None => {}
        }
        // Some containers vanish without a DEL, as in a crash of the runtime.
        if left {
            tally.left.fetch_add(1, Ordering::Relaxed);
            continue;
        }
        // A runtime repeats DEL until it succeeds.
        eventually("DEL succeeds", || match run("DEL") {
            Some(answer) if answer.success => true,
            Some(answer) => {
                expected(&answer, tally);
                false
            }
            None => false,
        });
    }
}

/// SIGKILL to the plugin after so many microseconds; its answer if it was faster.
fn kill_half_way(mut child: std::process::Child, after: u64, tally: &Tally) -> Option<Answer> {
    // Not a wait for anything: where the kill falls is to be random.
    thread::sleep(Duration::from_micros(after));
    child.kill().unwrap();
    tally.killed.fetch_add(1, Ordering::Relaxed);
    let answer = finish(child);
    answer.success.then_some(answer)
}

/// Only the agent's absence is a reason to fail: 11, or an answer cut short.
fn expected(answer: &Answer, tally: &Tally) {
    tally.refused.fetch_add(1, Ordering::Relaxed);
    let code = answer.code();
    assert!(matches!(code, Some(11)), "{answer:?}");
}

/// Kills the agent at random moments, spread over the cycles, and starts it again.
fn kill_agents(cluster: &Cluster, tally: &Tally, over: &AtomicBool) {
    let mut random = rand::rng();
    for kill in 1..=AGENT_KILLS {
        let moment = CYCLES * kill / (AGENT_KILLS + 1);
        let reached = || tally.cycles.load(Ordering::Relaxed) >= moment;
        poll(SOON * 10, || {
            (reached() || over.load(Ordering::Relaxed)).then_some(())
        });
        thread::sleep(Duration::from_micros(random.random_range(0..5_000)));
        cluster.agent("node1", Action::Kill).unwrap();
        cluster.agent("node1", Action::Start).unwrap();
    }
}

/// Every address can be had, and not one more.
fn whole_subnet_is_free(plugin: &Plugin) {
    let netns: Vec<NetNs> = (0..30).map(|_| NetNs::create().unwrap()).collect();
    let all: Vec<Attachment> = netns
        .iter()
        .map(|netns| Attachment::new(&path(netns), "a"))
        .collect();
    let (more, all) = all.split_last().unwrap();
    for attachment in all {
        let answer = plugin.run("ADD", attachment);
        assert!(answer.success, "{answer:?}");
    }
    let status = plugin.manage("STATUS", &[]);
    assert!(!status.success, "{status:?}");
    let refused = plugin.run("ADD", more);
    let message = refused.value["msg"].as_str().unwrap_or_default();
    assert!(
        !refused.success && message.contains("10.128.0.0/27"),
        "{refused:?}"
    );
    for attachment in all.iter().chain([more]) {
        let answer = plugin.run("DEL", attachment);
        assert!(answer.success, "{answer:?}");
    }
    let status = plugin.manage("STATUS", &[]);
    assert!(status.success, "{status:?}");
}
