//! From a policy's file, and from a name's records, to the verdict on the wire.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use hickory_proto::rr::RecordType;
use weft_netns::NetNs;

use super::super::Options;
use super::super::cluster::Cluster;
use super::super::report::{Goal, Row, Table};
use super::super::verdict::Probe;
use super::{DNS, Inmate, TARGET, ZONE, policy, prefixes, rule};
use weft_lab::dns::{Change, Server};
use weft_lab::probe::{self, Lookup};

/// Numbers of rules.
const SIZES: [usize; 2] = [10, 10_000];
/// TTL of the name's records: how old an answer may be that the agent has.
const TTL: u32 = 1;
/// Where the host outside is asked over TCP.
const PORT: u16 = 8080;

/// A policy file written, and the first packet that passes, or the last.
pub fn policies(options: &Options, cluster: &Cluster) -> Result<Table> {
    let plugin = cluster.node("node1")?.plugin()?;
    let web = cluster.external("web")?;
    let project = "bench-file";
    let pod = Inmate::create(cluster, &plugin, project)?;
    let probe = Probe::between(&pod.ns()?, &web, TARGET.into())?;
    let mut rows = ["from Deny to Allow, ms", "from Allow to Deny, ms"]
        .map(|name| Row::new(name, SIZES.len()));
    under(&[&probe], || {
        for round in 0..=options.rounds {
            for (subject, size) in SIZES.iter().enumerate() {
                for (row, action) in [(1, "Deny"), (0, "Allow"), (1, "Deny")] {
                    let mut rules: Vec<_> = prefixes(size - 1)
                        .iter()
                        .map(|net| rule("Deny", "cidrSelector", net))
                        .collect();
                    rules.push(rule(action, "cidrSelector", "0.0.0.0/0"));
                    let file = cluster.staged("bench-file.json", &[policy(project, &rules)])?;
                    probe.arrivals().clear();
                    let start = Instant::now();
                    file.commit()?;
                    let took = match row {
                        0 => probe.first_since(start)?,
                        _ => probe.last_since(start)?,
                    };
                    // The first change of each only sets the stage, as does the first round.
                    if round > 0 && took > 0.0 {
                        rows[row].samples[subject].push(took);
                    }
                }
            }
        }
        Ok(())
    })?;
    cluster.unstage("bench-file.json")?;
    pod.remove()?;
    let goals = rows
        .iter()
        .map(|row| Goal::at_most(format!("{}, 10,000 rules", row.name), row.value(1), 1_000.0));
    Ok(Table {
        title: "From a policy's file to the verdict".into(),
        how: format!(
            "A file of the manifests directory replaced by rename, under UDP traffic from a pod to the outside with a packet \
             every 500 us, to the first packet that passes, or the last; all rules are new; medians of {}.",
            options.rounds
        ),
        subjects: ["10 rules", "10,000 rules"].map(String::from).into(),
        ratios: vec![(1, 0)],
        goals: goals.collect(),
        rows: rows.into(),
    })
}

/// A name gets a new address: when a pod may use it that does not look it up, and one that does.
pub fn names(options: &Options, cluster: &Cluster) -> Result<Table> {
    let plugin = cluster.node("node1")?.plugin()?;
    let web = cluster.external("web")?;
    let place = cluster.external("dns")?;
    let dns = Server::start(&place, &[DNS.parse()?], &[ZONE]).context("start the name server")?;
    let _web = probe::Server::start(&web, PORT, "web").context("start the server outside")?;
    let owner = format!("www.{ZONE}");
    let (mut waits, mut asks) = (vec![], vec![]);
    for project in ["bench-wait", "bench-ask"] {
        let pod = Inmate::create(cluster, &plugin, project)?;
        let rules = [
            rule("Allow", "cidrSelector", &format!("{DNS}/32")),
            rule("Allow", "dnsName", &owner),
            rule("Deny", "cidrSelector", "0.0.0.0/0"),
        ];
        cluster.apply(&[policy(project, &rules)])?;
        cluster.wait_policy(&cluster.node("node1")?, project, rules.len())?;
        if project == "bench-wait" {
            &mut waits
        } else {
            &mut asks
        }
        .push(pod);
    }
    let mut row = Row::new("from the change to a connection, ms", 2);
    for round in 0..=options.rounds {
        let address =
            |n: usize| IpAddr::from([203, 0, 113, 130 + u8::try_from(n % 60).unwrap_or(0)]);
        let fresh = address(round);
        let took = wait(&waits[0].ns()?, &web, fresh, || {
            let change = Change::of(ZONE).addresses(&owner, TTL, &[fresh]);
            dns.change(&change).context("change the records")
        })?;
        let fresh = address(round + 61 + options.rounds);
        let change = Change::of(ZONE).addresses(&owner, TTL, &[fresh]);
        let lookup = Lookup::at(DNS.parse()?);
        dns.change(&change).context("change the records")?;
        let start = Instant::now();
        let patience = Duration::from_secs(10);
        let connect = || lookup.connect(&owner, RecordType::A, PORT, patience);
        let connected = asks[0]
            .pod
            .ns
            .run(connect)?
            .context("look up and connect")?;
        ensure!(
            connected.outcome.reached(),
            "{fresh} was told and not reached: {:?}",
            connected.outcome
        );
        if round > 0 {
            row.samples[0].push(took);
            row.samples[1].push(start.elapsed().as_secs_f64() * 1e3);
        }
    }
    for pod in waits.into_iter().chain(asks) {
        pod.remove()?;
    }
    let goals = vec![
        Goal::at_most(
            "a pod that does not look up (a TTL and half a second), ms",
            row.value(0),
            f64::from(TTL) * 1e3 + 500.0,
        ),
        Goal::at_most(
            "a pod that looks up, with the lookup, ms",
            row.value(1),
            50.0,
        ),
    ];
    Ok(Table {
        title: "From a name's new address to the verdict".into(),
        how: format!(
            "TTL {TTL} s, changed at the authoritative server (Knot DNS). The first pod sends a packet to the new address every \
             500 us and asks no name server: the agent has to. The second one looks the name up and connects. Medians of {}.",
            options.rounds
        ),
        subjects: ["pod that does not look up", "pod that looks up"]
            .map(String::from)
            .into(),
        ratios: vec![],
        goals,
        rows: vec![row],
    })
}

fn wait(pod: &NetNs, web: &NetNs, to: IpAddr, change: impl FnOnce() -> Result<()>) -> Result<f64> {
    let probe = Probe::between(pod, web, to)?;
    under(&[&probe], || {
        let start = Instant::now();
        change()?;
        probe.first_since(start)
    })
}

/// Runs it while the probes send.
fn under<T>(probes: &[&Probe], run: impl FnOnce() -> Result<T>) -> Result<T> {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for probe in probes {
            scope.spawn(|| probe.send(&done));
            scope.spawn(|| probe.receive(&done));
        }
        let outcome = run();
        done.store(true, Ordering::Relaxed);
        outcome
    })
}
