//! A `weft pod-network` command, and how long it takes until packets show it.

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use weft_wait::patience::patient;

use super::{Member, go_on};
use crate::cli::interrupt::Interrupt;
use crate::lab::Lab;
use crate::lab::output::output_within;
use crate::probe::Stream;

/// How long a change may take to show.
const PATIENCE: Duration = Duration::from_secs(20);
/// Silence that tells a closed path from a pause of the machine.
const SILENCE: Duration = Duration::from_millis(300);

/// What is done to a project.
#[derive(Clone, Copy)]
pub(super) enum Verb {
    Join(&'static str),
    Isolate,
    Global,
}

/// One command.
#[derive(Clone, Copy)]
pub(super) struct Change {
    pub(super) verb: Verb,
    pub(super) project: &'static str,
    /// A project to which the path opens or closes.
    other: &'static str,
}

impl Change {
    pub(super) fn join(project: &'static str, to: &'static str) -> Self {
        Self {
            verb: Verb::Join(to),
            project,
            other: to,
        }
    }

    /// Was joined to `shop`.
    pub(super) fn isolate(project: &'static str) -> Self {
        Self {
            verb: Verb::Isolate,
            project,
            other: "shop",
        }
    }

    pub(super) fn global(project: &'static str) -> Self {
        Self {
            verb: Verb::Global,
            project,
            other: "bank",
        }
    }

    pub(super) fn story(self) -> String {
        let Self { project, .. } = self;
        match self.verb {
            Verb::Join(to) => {
                format!("Join: {project} and {to} become one network, in both directions")
            }
            Verb::Isolate => format!("Isolate: {project} has a network of its own again"),
            Verb::Global => {
                format!("Global: {project} reaches every project and every project reaches it")
            }
        }
    }

    fn arguments(self) -> Vec<String> {
        let rest = match self.verb {
            Verb::Join(to) => vec!["join-projects".to_owned(), format!("--to={to}")],
            Verb::Isolate => vec!["isolate-projects".to_owned()],
            Verb::Global => vec!["make-projects-global".to_owned()],
        };
        [
            vec!["pod-network".to_owned()],
            rest,
            vec![self.project.to_owned()],
        ]
        .concat()
    }

    pub(super) fn command_line(self) -> String {
        format!("weft {}", self.arguments().join(" "))
    }

    /// Runs the command while numbered packets, one a millisecond, run from the project's pod on the first node to the
    /// other project's pods on both nodes.
    pub(super) fn make(
        self,
        lab: &Lab,
        members: &[Member],
        interrupt: &Interrupt,
    ) -> Result<Effect> {
        let opens = !matches!(self.verb, Verb::Isolate);
        let from = member(members, self.project, "node1")?;
        let stream = |node| -> Result<Stream> {
            let to = member(members, self.other, node)?;
            let address = to.pod.ips.first().context("a pod without an address")?;
            Ok(Stream::start(&from.ns, &to.ns, *address)?)
        };
        let streams = [stream("node1")?, stream("node2")?];
        if !opens {
            wait(interrupt, "packets between the projects", || {
                streams.iter().all(|stream| stream.received() > 0)
            })?;
        }
        let begun = Instant::now();
        let said = output_within(
            lab.weft(None)?.args(self.arguments()),
            b"",
            patient(PATIENCE),
        )?;
        let command = begun.elapsed();
        ensure!(
            said.success,
            "{} failed: {}",
            self.command_line(),
            [said.stdout, said.stderr].join("\n").trim()
        );
        let shows = |stream: &Stream| match stream.last_arrival() {
            Some(last) if !opens => last.elapsed() > patient(SILENCE),
            arrived => opens && arrived.is_some(),
        };
        wait(interrupt, "the change to show on the wire", || {
            streams.iter().all(shows)
        })?;
        let [same, other] = streams.map(|stream| {
            let report = stream.finish()?;
            let edge = if opens {
                report.first_arrival
            } else {
                report.last_arrival
            };
            // Before the command was even started: the path was open, or closed, all along.
            let edge = edge.and_then(|edge| edge.checked_duration_since(begun));
            edge.with_context(|| format!("{} changed nothing", self.command_line()))
        });
        Ok(Effect {
            opens,
            command,
            same_node: same?,
            other_node: other?,
        })
    }
}

fn member<'a>(members: &'a [Member], project: &str, node: &str) -> Result<&'a Member> {
    let found = members
        .iter()
        .find(|member| member.pod.namespace == project && member.pod.node == node);
    found.with_context(|| format!("no pod of {project} on {node}"))
}

fn wait(interrupt: &Interrupt, what: &str, done: impl Fn() -> bool) -> Result<()> {
    let deadline = Instant::now() + patient(PATIENCE);
    while !done() {
        go_on(interrupt)?;
        if Instant::now() >= deadline {
            bail!("waited {:?} for {what}", patient(PATIENCE));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// How long a command took, and how long until packets showed its effect.
pub(super) struct Effect {
    opens: bool,
    command: Duration,
    same_node: Duration,
    other_node: Duration,
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let edge = if self.opens {
            "first packet through"
        } else {
            "last packet through"
        };
        write!(
            f,
            "{edge} after {} ms on the same node, {} ms between nodes; the command returned after {} ms",
            self.same_node.as_millis(),
            self.other_node.as_millis(),
            self.command.as_millis()
        )
    }
}
