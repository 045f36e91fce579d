//! Traffic from a pod to the outside, by the rules of a policy and by as many of iptables.

use std::io::Write as _;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use weft_netns::{CommandNs as _, NetNs};

use super::super::Options;
use super::super::cluster::Cluster;
use super::super::load::{Load, measure};
use super::super::report::{Goal, Row, Table};
use super::{Inmate, TARGET, policy, prefixes, rule};

/// Numbers of rules.
const SIZES: [usize; 3] = [10, 1_000, 10_000];
/// The administrators' chain, which every packet to the outside passes.
const ADMIN: &str = "OPENSHIFT-ADMIN-OUTPUT-RULES";
/// Without rules, weft's, theirs.
const SUBJECTS: [&str; 7] = [
    "no rules",
    "weft, 10",
    "weft, 1,000",
    "weft, 10,000",
    "iptables, 10",
    "iptables, 1,000",
    "iptables, 10,000",
];

/// Request and response over TCP and over UDP.
pub fn run(options: &Options, cluster: &Cluster) -> Result<Table> {
    let node = cluster.node("node1")?;
    let plugin = node.plugin()?;
    let web = cluster.external("web")?;
    let pods = (0..SUBJECTS.len())
        .map(|n| Inmate::create(cluster, &plugin, &format!("bench-path{n}")))
        .collect::<Result<Vec<_>>>()?;
    for (size, n) in SIZES.iter().zip(1..) {
        let mut rules: Vec<_> = prefixes(size - 1)
            .iter()
            .map(|net| rule("Deny", "cidrSelector", net))
            .collect();
        rules.push(rule("Allow", "cidrSelector", "0.0.0.0/0"));
        let project = format!("bench-path{n}");
        cluster.apply(&[policy(&project, &rules)])?;
        cluster.wait_policy(&node, &project, rules.len())?;
    }
    let ns = node.ns()?;
    let peers = || SIZES.iter().zip(&pods[4..]);
    let chains = peers().map(|(size, _)| format!(":BENCH{size} - [0:0]"));
    let rules = peers().flat_map(|(size, pod)| {
        let drops = prefixes(size - 1).into_iter();
        let drops = drops.map(move |net| format!("-A BENCH{size} -d {net} -j DROP"));
        drops.chain([
            format!("-A BENCH{size} -d 0.0.0.0/0 -j ACCEPT"),
            format!("-A {ADMIN} -s {} -j BENCH{size}", pod.address),
        ])
    });
    let text: Vec<String> = ["*filter".into()]
        .into_iter()
        .chain(chains)
        .chain(rules)
        .collect();
    iptables(&ns, &format!("{}\nCOMMIT\n", text.join("\n")))?;
    let rows = compare(options, &pods, &web);
    let remove: Vec<String> = peers()
        .map(|(size, pod)| {
            let own = pod.address;
            format!("-D {ADMIN} -s {own} -j BENCH{size}\n-F BENCH{size}\n-X BENCH{size}\n")
        })
        .collect();
    iptables(&ns, &format!("*filter\n{}COMMIT\n", remove.concat()))?;
    pods.into_iter().try_for_each(Inmate::remove)?;
    let rows = rows?;
    let goals = rows.iter().flat_map(|row| {
        [
            Goal::at_least(
                format!("{}, weft, 10,000 rules / 10", row.name),
                row.ratio(3, 1),
                0.95,
            ),
            Goal::at_least(
                format!("{}, 10,000 rules, weft / iptables", row.name),
                row.ratio(3, 6),
                1.0,
            ),
        ]
    });
    Ok(Table {
        title: "Pod to the outside by egress rules".into(),
        how: format!(
            "One client in a pod, one server on a host outside, each tied to a CPU of its own; {} rounds, all in turns \
             within each; medians, and medians of the rounds' ratios. Only the last rule matches. iptables ({}): a chain of \
             rules by destination for the pod's address, called from the chain of administrators, which every packet out passes.",
            options.rounds,
            version()?
        ),
        subjects: SUBJECTS.map(String::from).into(),
        ratios: vec![(3, 0), (3, 1), (6, 4), (3, 6)],
        goals: goals.collect(),
        rows,
    })
}

fn compare(options: &Options, pods: &[Inmate<'_>], web: &NetNs) -> Result<Vec<Row>> {
    let loads = [Load::RequestResponse, Load::Datagrams];
    let names = [
        "TCP, 64-byte request and response, 1/s",
        "UDP, 64-byte request and response, 1/s",
    ];
    let mut rows = names.map(|name| Row::new(name, pods.len()));
    for round in 0..=options.rounds {
        eprint!("\rround {round} of {} ", options.rounds);
        for turn in 0..pods.len() {
            let subject = (turn + round) % pods.len();
            for (row, load) in rows.iter_mut().zip(loads) {
                // Many ways: a quarter of the time each.
                let duration = options.duration() / 4;
                let client = pods[subject].ns()?;
                let value = measure(&client, web, TARGET.into(), load, duration)?;
                if round > 0 {
                    row.samples[subject].push(value);
                }
            }
        }
    }
    eprintln!();
    Ok(rows.into())
}

fn version() -> Result<String> {
    let output = Command::new("iptables").arg("--version").output();
    let output = output.context("run iptables")?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn iptables(ns: &NetNs, input: &str) -> Result<()> {
    let mut command = Command::new("iptables-restore");
    command.arg("--noflush").net_ns(ns)?;
    let mut child = command
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("run iptables-restore")?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin
            .write_all(input.as_bytes())
            .context("write to iptables-restore")?;
    }
    let output = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "iptables-restore: {said}");
    Ok(())
}
