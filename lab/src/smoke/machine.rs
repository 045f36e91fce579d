//! What the kernel says of weft without a lab: preflight, and the programs' figures.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;
use weft_agent::apply::object::{self, AFTER_DNAT};
use weft_agent::apply::pins::Pins;
use weft_agent::bpf::hooks::PROGRAMS;
use weft_wait::patience::patient;

use crate::lab;
use crate::lab::output::{Output, output_within};

/// How long preflight may take; it loads the programs.
const PREFLIGHT: Duration = Duration::from_secs(30);
/// Checks that are about the kernel; others are about the machine's network, or about a cluster.
const OF_THE_KERNEL: [&str; 6] = [
    "capabilities",
    "BPF file system",
    "kernel",
    "eBPF programs",
    "VXLAN, veth, clsact",
    "xt_bpf",
];

/// `uname -r`
pub(super) fn release() -> Result<String> {
    let name = nix::sys::utsname::uname().context("uname")?;
    Ok(name.release().to_string_lossy().into_owned())
}

#[derive(Debug, Deserialize)]
struct Check {
    name: String,
    state: String,
    message: String,
}

/// Runs `weft preflight` on the machine itself: every check of the kernel is there and well.
pub(super) fn preflight() -> Result<String> {
    let weft = lab::bin_dir(None)?.join("weft");
    let said = output_within(
        Command::new(weft).args(["preflight", "-o", "json"]),
        b"",
        patient(PREFLIGHT),
    )?;
    let checks = checks(&said)?;
    for name in OF_THE_KERNEL {
        let found = checks.iter().find(|check| check.name == name);
        let check =
            found.with_context(|| format!("preflight has no check {name:?}: {checks:?}"))?;
        ensure!(
            check.state == "ok",
            "{name}: {}: {}",
            check.state,
            check.message
        );
    }
    let devices = checks
        .into_iter()
        .find(|check| check.name == OF_THE_KERNEL[4]);
    Ok(devices.map(|check| check.message).unwrap_or_default())
}

/// On a node of a lab nothing at all fails.
pub(super) fn all_well(said: &Output) -> Result<String> {
    let checks = checks(said)?;
    let bad: Vec<_> = checks
        .iter()
        .filter(|check| check.state == "failed")
        .collect();
    ensure!(bad.is_empty() && said.success, "{bad:?}: {}", said.stderr);
    Ok(format!("{} checks", checks.len()))
}

fn checks(said: &Output) -> Result<Vec<Check>> {
    serde_json::from_str(&said.stdout)
        .with_context(|| format!("weft preflight says {:?} {:?}", said.stdout, said.stderr))
}

/// Loads the programs once more, for the figures: seconds, and instructions that the verifier walked through.
pub(super) fn load() -> Result<String> {
    let folder = Folder(PathBuf::from(format!(
        "/sys/fs/bpf/weft-smoke-{:08x}",
        rand::random::<u32>()
    )));
    let pins = Pins::open(&folder.0)?;
    let mut object = object::load(&pins)?;
    let mut figures = vec![format!("{:.2} s", object.took.as_secs_f64())];
    for name in PROGRAMS.into_iter().chain([AFTER_DNAT]) {
        let program = object.ebpf.program_mut(name);
        let info = program
            .with_context(|| format!("no program {name}"))?
            .info()?;
        let Some(count) = info.verified_instruction_count() else {
            bail!("the kernel does not say how many instructions of {name} it verified");
        };
        figures.push(format!("{name} {count} instructions verified"));
    }
    Ok(figures.join(", "))
}

/// A folder of pins that goes with the value.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("weft-lab: {} stays: {error}", self.0.display());
        }
    }
}
