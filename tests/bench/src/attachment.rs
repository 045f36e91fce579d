//! How long a pod's attachment takes, alone, in a crowd and at once with others; what the agent needs for a crowd.

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::attach::{Attach, Plugin, Pod};
use super::cluster::Cluster;
use super::floor::Floor;
use super::report::{Goal, Row, Table};
use super::{Options, PROJECTS, space};

/// Pods on the node in the crowded half of the measurement.
const CROWD: usize = 250;
/// Pods attached at once.
const BURST: usize = 20;

const SUBJECTS: [&str; 3] = ["floor", "bridge + host-local", "weft"];
const FLOOR: usize = 0;
const BRIDGE: usize = 1;
const WEFT: usize = 2;

type Subjects<'a> = [Option<&'a dyn Attach>; 3];

/// CNI ADD and DEL at 0 and 250 pods, the burst, and the agent's memory and start at 250 pods.
pub fn run(options: &Options, weft: Option<&Cluster>) -> Result<Vec<Table>> {
    let plugin = weft
        .map(|cluster| cluster.node("node1")?.plugin())
        .transpose()?;
    let ipv6 = plugin.as_ref().map(has_ipv6).transpose()?.unwrap_or(false);
    let floor = Floor::create(ipv6)?;
    let bridge = Plugin::bridge(space::create_node()?, &options.scratch.join("attach"))?;
    let subjects: Subjects<'_> = [
        Some(&floor),
        Some(&bridge),
        plugin.as_ref().map(|plugin| plugin as &dyn Attach),
    ];

    let alone = one_by_one(options, &subjects, 0)?;
    let burst = bursts(options, &subjects)?;
    let mut memory = Row::new("agent's resident memory, MB, at 0 pods", 1);
    if let Some(cluster) = weft {
        memory.samples[0].push(cluster.node("node1")?.agent_memory()?);
    }
    let crowd = fill(&subjects)?;
    let crowded = one_by_one(options, &subjects, CROWD)?;
    let agent = weft
        .map(|cluster| agent(options, cluster, memory))
        .transpose()?;
    for (subject, pods) in subjects.iter().zip(&crowd) {
        if let Some(subject) = subject {
            pods.iter().try_for_each(|pod| subject.del(pod).map(drop))?;
        }
    }
    let tables = [attachment_table(options, &alone, &crowded), burst];
    Ok(tables.into_iter().chain(agent).collect())
}

fn has_ipv6(plugin: &Plugin) -> Result<bool> {
    let pod = Pod::create(PROJECTS[0])?;
    let attached = plugin.add(&pod)?;
    plugin.del(&pod)?;
    Ok(attached.ips.iter().any(std::net::IpAddr::is_ipv6))
}

/// ADD and DEL of one pod after another, the subjects in turns. Namespaces are used again: making and ending one is the
/// container runtime's work, and the kernel ends them in the background.
fn one_by_one(options: &Options, subjects: &Subjects<'_>, others: usize) -> Result<[Row; 2]> {
    let mut rows = ["ADD", "DEL"]
        .map(|what| Row::new(format!("{what}, {others} pods, ms: median"), SUBJECTS.len()));
    let pods = pods(subjects.len())?;
    // The first few only warm up.
    let warm_up = 5;
    for sample in 0..options.samples + warm_up {
        if sample % 10 == 0 {
            eprint!("\rADD and DEL beside {others} pods: {sample} ");
        }
        for turn in 0..subjects.len() {
            let subject = (turn + sample) % subjects.len();
            let Some(attacher) = subjects[subject] else {
                continue;
            };
            let add = attacher.add(&pods[subject])?.took;
            let del = attacher.del(&pods[subject])?;
            if sample >= warm_up {
                rows[0].samples[subject].push(milliseconds(add));
                rows[1].samples[subject].push(milliseconds(del));
            }
        }
    }
    eprintln!();
    Ok(rows)
}

fn pods(count: usize) -> Result<Vec<Pod>> {
    (0..count).map(|_| Pod::create(PROJECTS[0])).collect()
}

fn fill(subjects: &Subjects<'_>) -> Result<Vec<Vec<Pod>>> {
    let mut crowd = vec![];
    for (subject, name) in subjects.iter().zip(SUBJECTS) {
        eprintln!("attaching {CROWD} pods: {name}");
        let pods = pods(if subject.is_some() { CROWD } else { 0 })?;
        for pod in &pods {
            if let Some(subject) = subject {
                subject.add(pod)?;
            }
        }
        crowd.push(pods);
    }
    Ok(crowd)
}

fn attachment_table(options: &Options, alone: &[Row; 2], crowded: &[Row; 2]) -> Table {
    let p99 = |row: &Row| row.as_p99(row.name.replace("median", "p99"));
    let mut rows = vec![];
    for (alone, crowded) in alone.iter().zip(crowded) {
        rows.extend([alone.clone(), p99(alone), crowded.clone(), p99(crowded)]);
    }
    let (alone, crowded) = (&alone[0], &crowded[0]);
    let share = "CNI ADD, weft / bridge + host-local";
    let goals = vec![
        Goal::at_most(format!("{share}, 0 pods"), alone.ratio(WEFT, BRIDGE), 0.333),
        Goal::at_most(
            format!("{share}, {CROWD} pods"),
            crowded.ratio(WEFT, BRIDGE),
            0.333,
        ),
        Goal::at_most(
            format!("CNI ADD, weft, {CROWD} pods / 0 pods"),
            crowded.value(WEFT) / alone.value(WEFT),
            1.2,
        ),
    ];
    Table {
        title: "Attaching a pod".into(),
        how: format!(
            "The whole run of the plugin's process, one pod after another, the subjects in turns, {} of each; on the \
             node are no other pods, then {CROWD}. The floor is not a plugin: a running process makes the same links, \
             addresses, neighbours and routes by bare netlink.",
            options.samples
        ),
        subjects: SUBJECTS.map(String::from).into(),
        ratios: vec![(WEFT, FLOOR), (WEFT, BRIDGE)],
        rows,
        goals,
    }
}

fn bursts(options: &Options, subjects: &Subjects<'_>) -> Result<Table> {
    let mut row = Row::new(
        format!("{BURST} at once, ms until the last is done"),
        SUBJECTS.len(),
    );
    let pods = pods(BURST)?;
    for round in 0..=options.rounds {
        eprint!("\rburst {round} of {} ", options.rounds);
        for turn in 0..subjects.len() {
            let subject = (turn + round) % subjects.len();
            let Some(attacher) = subjects[subject] else {
                continue;
            };
            let took = burst(attacher, &pods)?;
            pods.iter()
                .try_for_each(|pod| attacher.del(pod).map(drop))?;
            if round > 0 {
                row.samples[subject].push(milliseconds(took));
            }
        }
    }
    eprintln!();
    let beyond = row.value(WEFT) - row.value(FLOOR);
    Ok(Table {
        title: format!("Attaching {BURST} pods at once"),
        how: format!(
            "{BURST} plugin processes started at once on one node; {} rounds, in turns.",
            options.rounds
        ),
        subjects: SUBJECTS.map(String::from).into(),
        ratios: vec![(WEFT, FLOOR), (WEFT, BRIDGE)],
        goals: vec![Goal::at_most(
            "slowest of the burst, weft beyond the floor, ms",
            beyond,
            50.0,
        )],
        rows: vec![row],
    })
}

/// From the common start to the end of the slowest.
fn burst(attacher: &dyn Attach, pods: &[Pod]) -> Result<Duration> {
    let barrier = Barrier::new(pods.len() + 1);
    thread::scope(|scope| {
        let threads: Vec<_> = pods
            .iter()
            .map(|pod| {
                let barrier = &barrier;
                scope.spawn(move || {
                    barrier.wait();
                    attacher.add(pod).map(|_| Instant::now())
                })
            })
            .collect();
        let start = Instant::now();
        barrier.wait();
        let mut last = start;
        for thread in threads {
            match thread.join() {
                Ok(end) => last = last.max(end?),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        Ok(last - start)
    })
}

/// The agent's memory and its restart, with the crowd on the node.
fn agent(options: &Options, cluster: &Cluster, memory: Row) -> Result<Table> {
    let memory_of_crowd = format!("agent's resident memory, MB, at {CROWD} pods");
    let mut crowded = Row::new(&memory_of_crowd, 1);
    crowded.samples[0].push(cluster.node("node1")?.agent_memory()?);
    let mut restart = Row::new(format!("agent's start, ms, at {CROWD} pods"), 1);
    let mut load = Row::new("of it: loading programs and maps, ms", 1);
    for _ in 0..options.rounds {
        cluster.lab(&["agent", "node1", "stop"], "")?;
        let start = Instant::now();
        cluster.lab(&["agent", "node1", "start"], "")?;
        restart.samples[0].push(milliseconds(start.elapsed()));
        load.samples[0].push(cluster.load_time(&cluster.node("node1")?)?);
    }
    let mut again = Row::new(format!("{memory_of_crowd}, after a restart"), 1);
    again.samples[0].push(cluster.node("node1")?.agent_memory()?);
    let goals = vec![Goal::at_most(&memory_of_crowd, crowded.value(0), 25.0)];
    Ok(Table {
        title: "The agent".into(),
        how: format!(
            "Memory after the measurements above; the start from the command to the agent's first answer, over the \
             pinned maps and links of {CROWD} pods, median of {}.",
            options.rounds
        ),
        subjects: vec!["weft".into()],
        ratios: vec![],
        rows: vec![memory, crowded, again, restart, load],
        goals,
    })
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
