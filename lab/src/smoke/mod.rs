//! `weft-lab smoke`: whether weft works on this kernel, in some seconds. One lab, one step after the other; the first that
//! fails ends it.
//!
//! # Layout
//! - here: the steps and their order
//! - [`field`]: the lab, and questions to it
//! - [`machine`]: what the kernel says of weft without a lab

mod field;
mod machine;

use std::io::{self, Write as _};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use weft_ebpf::ABI;
use weft_wait::patience;

use crate::cli::interrupt::Interrupt;
use crate::lab::{Action, LabName};
use field::{Field, OTHER, PREFIX};

/// Runs every step in a lab of its own.
pub(crate) fn run(name: &LabName, interrupt: &Interrupt) -> Result<()> {
    let begun = Instant::now();
    say(&format!(
        "weft smoke on Linux {}, deadlines times {}",
        machine::release()?,
        patience::factor()?
    ))?;
    let step = |name: &str, work: &mut dyn FnMut() -> Result<String>| -> Result<()> {
        ensure!(!interrupt.requested(), "interrupted");
        let begun = Instant::now();
        let figures = work().with_context(|| format!("step \"{name}\""))?;
        let took = begun.elapsed().as_secs_f64();
        let figures = if figures.is_empty() {
            figures
        } else {
            format!(": {figures}")
        };
        say(&format!("ok {took:6.1} s  {name}{figures}"))
    };
    step("preflight finds what weft needs", &mut machine::preflight)?;
    step("programs load", &mut machine::load)?;
    let mut field = None;
    step("a lab of two nodes comes up", &mut || {
        field = Some(Field::up(name, interrupt)?);
        Ok(String::new())
    })?;
    let mut field = field.context("no lab")?;
    step("preflight on a node of it", &mut || field.preflight())?;
    step("three pods are attached", &mut || field.add_pods())?;
    step("pings between nodes, IPv4 and IPv6", &mut || {
        field.reaches("shop/a", "shop/b")
    })?;
    step("projects are apart", &mut || {
        field.apart("shop/a", "bank/c")
    })?;
    step("joined projects reach each other", &mut || {
        field.pod_network(&["join-projects", "--to=shop", "bank"])?;
        field.reaches_soon("shop/a", "bank/c")
    })?;
    step("isolated again", &mut || {
        field.pod_network(&["isolate-projects", "bank"])?;
        field.closes("shop/a", "bank/c")
    })?;
    step("egress policy by address", &mut || {
        field.apply_policy()?;
        field.denied_soon(OTHER)?;
        field.allowed(PREFIX)
    })?;
    step("egress policy by DNS name", &mut || field.allowed_by_name())?;
    step(
        "agent killed (SIGKILL) while packets flow, none lost",
        &mut || {
            field.unharmed("shop/a", "shop/b", |field| {
                field.lab.agent("node1", Action::Kill)?;
                Ok(field.lab.agent("node1", Action::Start)?)
            })
        },
    )?;
    step("agent of another ABI taken over, none lost", &mut || {
        field.unharmed("shop/a", "shop/b", |field| {
            field.lab.agent("node1", Action::Stop)?;
            field.pins_become(ABI - 1)?;
            field.lab.agent("node1", Action::Start)?;
            field.pins_are_of(ABI)
        })
    })?;
    step("pings, and no problem is told", &mut || field.healthy())?;
    step("down leaves nothing", &mut || field.down())?;
    say(&format!("passed in {:.1} s", begun.elapsed().as_secs_f64()))
}

fn say(line: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")
        .and_then(|()| out.flush())
        .context("write to standard output")
}
