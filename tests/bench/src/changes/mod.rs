//! What one change of the cluster costs the agent of a node: ingest, model, compile, diff, writes to real maps.
//!
//! The sync loop runs in this process, in a network namespace of its own, as the agent runs it; what is left out is the store
//! that hears of the objects. The processor time is that of the whole process: the loop, its helpers, and the few microseconds
//! by which this thread hands over a change and waits until it is in force.

mod objects;
mod rig;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use nix::time::{ClockId, clock_gettime};
use weft_agent::store::Delta;

use self::objects::{NODES, PODS, PROJECTS};
use self::rig::Rig;
use super::Options;
use super::report::{Goal, Row, Table};

/// Longer than rows of a replaced policy stay before they are removed, which is a part of the change.
const REMOVED: Duration = Duration::from_secs(1);

/// Measures.
pub fn run(options: &Options) -> Result<Vec<Table>> {
    let mut rig = Rig::start()?;
    let costs = costs(&mut rig, options.changes)?;
    let adds = adds(&mut rig, options)?;
    Ok(vec![costs, adds])
}

fn costs(rig: &mut Rig, count: usize) -> Result<Table> {
    type Nth = fn(usize) -> Delta;
    let kinds: [(&str, Nth); 5] = [
        ("a HostSubnet added", |n| objects::host(NODES + n)),
        ("a HostSubnet removed", |n| objects::host_gone(NODES + n)),
        ("a project renumbered", |n| {
            objects::project(n, PROJECTS + n)
        }),
        ("a policy edited, of a project with pods here", |n| {
            objects::policy(n % PODS, 1 + n / PODS)
        }),
        ("a policy edited, of a project without", |n| {
            objects::policy(PODS + n, 1)
        }),
    ];
    let mut rows = Vec::new();
    let mut goals = Vec::new();
    for (name, change) in kinds {
        let mean = cost(rig, change, count)?;
        eprintln!("weft-bench: {name}: {mean:.0} us");
        let mut row = Row::new(format!("{name}, us"), 1);
        row.samples[0].push(mean);
        rows.push(row);
        goals.push(Goal::at_most(format!("{name}, us"), mean, 1_000.0));
    }
    Ok(Table {
        title: format!("One change among {NODES} nodes and {PROJECTS} projects"),
        how: format!(
            "CLOCK_PROCESS_CPUTIME_ID from the object to the rows in the maps, mean of {count} changes one after the other; \
             every project has an egress policy, {PODS} have a pod on the node."
        ),
        subjects: vec!["processor".into()],
        ratios: vec![],
        goals,
        rows,
    })
}

/// Mean processor time of a change, microseconds.
fn cost(rig: &mut Rig, change: fn(usize) -> Delta, count: usize) -> Result<f64> {
    let deltas: Vec<Delta> = (0..count).map(change).collect();
    // What came before is settled, so that its end is not counted here.
    std::thread::sleep(REMOVED);
    let passes = rig.passes();
    let before = processor()?;
    for delta in deltas {
        rig.take(delta)?;
    }
    std::thread::sleep(REMOVED);
    rig.settle()?;
    let used = processor()?.saturating_sub(before);
    ensure!(
        rig.passes() == passes,
        "a full pass came in between: measure again"
    );
    rig.sound()?;
    #[expect(clippy::cast_precision_loss, reason = "thousands at most")]
    Ok(used.as_secs_f64() * 1e6 / count as f64)
}

fn processor() -> Result<Duration> {
    Ok(Duration::from(clock_gettime(
        ClockId::CLOCK_PROCESS_CPUTIME_ID,
    )?))
}

/// How long a pod waits for the sync loop, while nothing else happens and while one change follows the other.
fn adds(rig: &mut Rig, options: &Options) -> Result<Table> {
    let mut row = Row::new("attaching a pod, us", 2);
    let versions = AtomicUsize::new(0);
    for round in 0..options.samples {
        row.samples[0].push(micros(rig.pods()?.attach(round)?));
        let (stop, stopped) = (AtomicBool::new(false), AtomicBool::new(false));
        let pods = rig.pods()?;
        let took = std::thread::scope(|scope| {
            let changes = scope.spawn(|| -> Result<()> {
                let mut turn = 0;
                // The HostSubnet is gone at the end of each four.
                while turn % 4 != 0 || !stop.load(Ordering::Relaxed) {
                    let version = versions.fetch_add(1, Ordering::Relaxed);
                    rig.take(match turn % 4 {
                        0 => objects::host(2 * NODES),
                        1 => objects::project(version % PROJECTS, 3 * PROJECTS + version),
                        2 => objects::host_gone(2 * NODES),
                        _ => objects::policy(version % PODS, 100 + version),
                    })?;
                    turn += 1;
                }
                stopped.store(true, Ordering::Relaxed);
                Ok(())
            });
            // Until they are under way.
            std::thread::sleep(Duration::from_millis(5));
            let took = pods.attach(round);
            let early = stopped.load(Ordering::Relaxed);
            stop.store(true, Ordering::Relaxed);
            let changes = changes.join();
            ensure!(!early, "the changes ended early");
            changes.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
            took
        })?;
        row.samples[1].push(micros(took));
    }
    rig.sound()?;
    let goals = vec![Goal::at_most(
        "attaching among changes / idle",
        row.value(1) / row.value(0),
        1.2,
    )];
    let slow = row.as_p99("the same, 99 of 100, us");
    Ok(Table {
        title: format!("A pod attached among {NODES} nodes and {PROJECTS} projects"),
        how: "The part of a CNI ADD that goes through the sync loop: programs, link, routes, rows. Changes: HostSubnets, projects \
              and policies in turn, each as soon as the one before it is in force."
            .into(),
        subjects: vec!["idle".into(), "among changes".into()],
        ratios: vec![(1, 0)],
        goals,
        rows: vec![row, slow],
    })
}

fn micros(took: Duration) -> f64 {
    took.as_secs_f64() * 1e6
}
