//! `weft-lab` itself: arguments in, calls of [`crate::lab`], text out.

mod args;
pub(crate) mod interrupt;
pub(crate) mod table;
mod vm;

use std::fs;
use std::io::{self, Write as _};
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Parser as _;
use weft_wait::patience;

use crate::lab::kubernetes::machines::Machines;
use crate::lab::objects::change::Field;
use crate::lab::{self, Lab, LabName, Options, PodSpec, Progress};
use crate::{demo, probe, smoke};
use args::{AnnotateArgs, Cli, Command, Format, UpArgs};

/// Runs the command line; exit code 0 ok, 1 failed, 2 usage, or that of the program that was run.
pub fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("weft-lab: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Namespace and name of an object.
fn named(object: &str) -> (Option<&str>, &str) {
    match object.split_once('/') {
        Some((namespace, name)) => (Some(namespace), name),
        None => (None, object),
    }
}

fn annotate(lab: &Lab, field: Field, arguments: &AnnotateArgs) -> Result<(), lab::Error> {
    let AnnotateArgs {
        kind,
        object,
        changes,
        overwrite,
    } = arguments;
    let (namespace, name) = named(object);
    lab.annotate((kind, namespace, name), field, changes, *overwrite)
}

fn run(cli: Cli) -> Result<ExitCode> {
    patience::factor()?;
    let fallback = match cli.command {
        Command::Demo { .. } => "demo",
        Command::Smoke => "smoke",
        _ => "lab",
    };
    let name = cli.lab.map_or_else(|| fallback.parse(), Ok)?;
    let open = || Lab::open(name.clone());
    match cli.command {
        Command::Up(arguments) => up(&name, arguments)?,
        Command::Apply { file } => file.iter().try_for_each(|file| apply(&open()?, file))?,
        Command::Delete { kind, object } => {
            let (namespace, object) = named(&object);
            open()?.delete(&kind, namespace, object)?;
        }
        Command::Patch {
            kind,
            object,
            patch,
        } => {
            let (namespace, object) = named(&object);
            open()?.patch(&kind, namespace, object, &patch)?;
        }
        Command::Annotate(arguments) => annotate(&open()?, Field::Annotations, &arguments)?,
        Command::Label(arguments) => annotate(&open()?, Field::Labels, &arguments)?,
        Command::AddPod {
            pod,
            node,
            labels,
            annotations,
        } => {
            let pod = open()?.add_pod(&PodSpec {
                namespace: pod.namespace,
                name: pod.name,
                node: Some(node),
                labels: labels.into_iter().collect(),
                annotations: annotations.into_iter().collect(),
            })?;
            let ips: Vec<String> = pod.ips.iter().map(ToString::to_string).collect();
            say(&format!(
                "{}/{} on {}: {}\n",
                pod.namespace,
                pod.name,
                pod.node,
                ips.join(" ")
            ))?;
        }
        Command::DelPod { pod } => open()?.del_pod(&pod.namespace, &pod.name)?,
        Command::Exec { pod, command } => {
            let (program, arguments) = split(&command)?;
            replace(
                open()?
                    .in_pod(&pod.namespace, &pod.name, program)?
                    .args(arguments),
            )?;
        }
        Command::NodeExec { host, command } => {
            let (program, arguments) = split(&command)?;
            replace(open()?.on_host(&host, program)?.args(arguments))?;
        }
        Command::Weft { node, arguments } => replace(open()?.weft(Some(&node))?.args(arguments))?,
        Command::Agent { node, action } => open()?.agent(&node, action.into())?,
        Command::Api { action } => open()?.api(action.into())?,
        Command::Kubectl { arguments } => replace(open()?.kubectl()?.args(arguments))?,
        Command::Controller { action } => open()?.controller(action.into())?,
        Command::Status { output } => {
            let status = open()?.status()?;
            say(&match output {
                Format::Json => format!("{}\n", serde_json::to_string_pretty(&status)?),
                Format::Table => table::status(&status),
            })?;
        }
        Command::Down => {
            if !lab::down(&name)? {
                eprintln!("there is no lab {name}");
            }
        }
        Command::Demo {
            kubernetes: Some(args::KubernetesArg::Cluster | args::KubernetesArg::Bare),
        } => anyhow::bail!("the demo makes its pods itself: --kubernetes=api, or none"),
        Command::Demo { kubernetes } => {
            demo::run(&name, kubernetes.map(Into::into), &interrupt::catch()?)?;
        }
        Command::Smoke => smoke::run(&name, &interrupt::catch()?)?,
        Command::Vm(command) => return vm::main(command),
        Command::MachineFiles {
            server,
            services,
            nodes,
            folder,
        } => {
            let machines = Machines {
                server,
                services,
                nodes,
            };
            machines.write(&folder)?;
        }
        Command::Serve { address, name } => {
            let listener =
                TcpListener::bind(address).with_context(|| format!("listen on {address}"))?;
            probe::serve(&listener, &name).context("accept a connection")?;
        }
        Command::Probe { address, deadline } => {
            let answer = probe::ask(address, patience::patient(Duration::from_millis(deadline)));
            say(&format!(
                "{}\n",
                answer.with_context(|| format!("connect to {address}"))?
            ))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn up(name: &LabName, arguments: UpArgs) -> Result<()> {
    let read =
        |path: &Path| fs::read_to_string(path).with_context(|| format!("read {}", path.display()));
    let options = Options {
        nodes: arguments.nodes,
        mode: arguments.mode,
        externals: arguments.externals,
        dns: arguments.dns,
        agent_config: arguments.agent_config.as_deref().map(read).transpose()?,
        ipv4_only: arguments.ipv4_only,
        pod_ranges: arguments.pod_ranges,
        kubernetes: arguments.kubernetes.map(Into::into),
        crds: arguments.crds,
        bin_dir: None,
    };
    let interrupted = interrupt::catch()?;
    let progress = Progress {
        say: &|line| eprintln!("{line}"),
        cancelled: &|| interrupted.requested(),
    };
    lab::up(name, &options, progress)?;
    eprintln!("lab {name} is up; `weft-lab status --lab {name}` shows it");
    Ok(())
}

fn apply(lab: &Lab, path: &Path) -> Result<()> {
    let (text, origin) = if path == Path::new("-") {
        (io::read_to_string(io::stdin()), "standard input".to_owned())
    } else {
        (fs::read_to_string(path), path.display().to_string())
    };
    let text = text.with_context(|| format!("read {origin}"))?;
    for object in lab.apply(&text, &origin)? {
        say(&format!("{object}\n"))?;
    }
    Ok(())
}

fn split(command: &[std::ffi::OsString]) -> Result<(&std::ffi::OsStr, &[std::ffi::OsString])> {
    let (program, arguments) = command.split_first().context("no command")?;
    Ok((program, arguments))
}

/// Becomes the program: its exit code, signals and terminal are the caller's. Returns only to fail.
fn replace(command: &mut std::process::Command) -> Result<()> {
    let error = command.exec();
    Err(error).with_context(|| format!("run {}", command.get_program().display()))
}

/// Prints; a closed pipe is an error like any other, not a panic.
fn say(text: &str) -> Result<()> {
    io::stdout()
        .lock()
        .write_all(text.as_bytes())
        .context("write to standard output")
}
