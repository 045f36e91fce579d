//! `weft-lab demo`: isolation, joining and global projects, and the egress firewall, shown on real connections. Every picture is measured and
//! compared with what it should be; a difference ends the demo with an error.

mod change;
mod firewall;
mod matrix;

use std::io::{self, Write as _};
use std::net::{Ipv6Addr, SocketAddr};
use std::process::Child;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Error, Result, anyhow, bail, ensure};
use weft_netns::NetNs;
use weft_wait::patience::patient;

use crate::cli::interrupt::Interrupt;
use crate::lab::state::Pod;
use crate::lab::{self, KubernetesMode, Lab, LabName, Options, PodSpec, Progress};
use crate::probe;
use change::Change;
use matrix::Networks;

/// Each has a pod on each node.
const PROJECTS: [&str; 3] = ["shop", "bank", "tools"];
const NODES: [&str; 2] = ["node1", "node2"];
/// Where the servers listen.
const PORT: u16 = 8080;

/// A pod with a server in it.
struct Member {
    pod: Pod,
    ns: NetNs,
    server: Child,
}

impl Member {
    fn name(&self) -> String {
        format!("{}/{}", self.pod.namespace, self.pod.name)
    }
}

/// Ends the lab on every way out, a panic included.
struct Ends<'a>(&'a LabName);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        if let Err(error) = lab::down(self.0) {
            eprintln!("weft-lab: {error}");
        }
    }
}

/// Runs the demo in a lab of its own.
pub(crate) fn run(
    name: &LabName,
    kubernetes: Option<KubernetesMode>,
    interrupt: &Interrupt,
) -> Result<()> {
    let started = Instant::now();
    say(
        "weft demo: a cluster of two nodes on this machine. Nodes and pods are network namespaces, the agents,",
    )?;
    say("the CNI plugin and the packets are real.\n")?;
    say("== A cluster: an agent on each node, one controller for all")?;
    let cancelled = || interrupt.requested();
    let progress = Progress {
        // A closed standard output is found at the next line of the demo's own.
        say: &|line| drop(say(&format!("   {line}"))),
        cancelled: &cancelled,
    };
    let externals = firewall::EXTERNALS.map(str::parse);
    let options = Options {
        externals: externals
            .into_iter()
            .collect::<Result<_, String>>()
            .map_err(Error::msg)?,
        dns: vec![firewall::DNS],
        kubernetes,
        ..Options::default()
    };
    let lab = lab::up(name, &options, progress)?;
    let ends = Ends(name);
    // Ctrl-C in a terminal also reaches the servers: what fails then fails because of it.
    let shown = show(&lab, interrupt).map_err(|error| {
        if interrupt.requested() {
            anyhow!("interrupted")
        } else {
            error
        }
    });
    if shown.is_ok() {
        say("\n== The end: processes, namespaces and files of the lab are removed")?;
    }
    drop(ends);
    shown?;
    say(&format!(
        "   done in {:.1} s",
        started.elapsed().as_secs_f64()
    ))
}

fn show(lab: &Lab, interrupt: &Interrupt) -> Result<()> {
    say(
        "\n== Pods: three projects, each with a pod on each node, attached by weft-cni, and a TCP server in every pod",
    )?;
    let mut members = add_members(lab, interrupt)?;
    let shown =
        change(lab, &members, interrupt).and_then(|()| firewall::show(lab, &members, interrupt));
    for member in &mut members {
        // One that ended already has nothing to be told, and its status nothing to tell.
        drop(member.server.kill());
        drop(member.server.wait());
    }
    shown
}

fn change(lab: &Lab, members: &[Member], interrupt: &Interrupt) -> Result<()> {
    let mut networks = Networks::isolated(&PROJECTS);
    say("\n== Every project begins with a network of its own")?;
    say(
        "   Rows connect to columns; a cell is the client's address as the server saw it, - is no answer.",
    )?;
    picture(members, &networks, interrupt)?;
    for change in [
        Change::join("bank", "shop"),
        Change::isolate("bank"),
        Change::global("tools"),
    ] {
        say(&format!(
            "\n== {}\n   $ {}",
            change.story(),
            change.command_line()
        ))?;
        let effect = change.make(lab, members, interrupt)?;
        networks.change(&change);
        say(&format!("   {effect}"))?;
        picture(members, &networks, interrupt)?;
    }
    Ok(())
}

fn add_members(lab: &Lab, interrupt: &Interrupt) -> Result<Vec<Member>> {
    let mut members = Vec::new();
    for project in PROJECTS {
        for node in NODES {
            go_on(interrupt)?;
            let name = node.replace("node", "pod");
            let pod = lab.add_pod(&PodSpec::new(project, &name, node))?;
            let ips: Vec<String> = pod.ips.iter().map(ToString::to_string).collect();
            let ns = lab.pod_netns(project, &name)?;
            let own = std::env::current_exe().context("find weft-lab")?;
            let any = SocketAddr::from((Ipv6Addr::UNSPECIFIED, PORT));
            let mut command = lab.in_pod(project, &name, own)?;
            command.args([
                "serve",
                &any.to_string(),
                "--name",
                &format!("{project}/{name}"),
            ]);
            let server = command.spawn().context("start a server")?;
            let member = Member { pod, ns, server };
            say(&format!(
                "   {:<12} on {node}: {}",
                member.name(),
                ips.join("  ")
            ))?;
            members.push(member);
        }
    }
    members.iter().try_for_each(wait_served)?;
    Ok(members)
}

fn wait_served(member: &Member) -> Result<()> {
    let own = SocketAddr::from((Ipv6Addr::LOCALHOST, PORT));
    let deadline = Instant::now() + patient(Duration::from_secs(10));
    loop {
        let outcome = probe::tcp(&member.ns, own, patient(Duration::from_secs(1)))?;
        if outcome.reached() {
            return Ok(());
        }
        ensure!(
            Instant::now() < deadline,
            "the server in {} does not answer: {outcome:?}",
            member.name()
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Measures and prints who reaches whom, and stops if that is not as it should be.
fn picture(members: &[Member], networks: &Networks, interrupt: &Interrupt) -> Result<()> {
    go_on(interrupt)?;
    let measured = matrix::measure(members)?;
    for line in measured.table(members).lines() {
        say(&format!("   {line}"))?;
    }
    let wrong = measured.wrong(members, networks);
    if wrong.is_empty() {
        return say("   as it should be, over IPv4 and IPv6");
    }
    bail!("not as it should be:\n   {}", wrong.join("\n   "))
}

fn go_on(interrupt: &Interrupt) -> Result<()> {
    ensure!(!interrupt.requested(), "interrupted");
    Ok(())
}

fn say(line: &str) -> Result<()> {
    writeln!(io::stdout(), "{line}").context("write to standard output")
}
