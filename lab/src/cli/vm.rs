//! `weft-lab vm`.

use std::ffi::OsString;
use std::io::{self, IsTerminal as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::{Args, Subcommand};
use weft_wait::patience;

use super::{interrupt, say, table};
use crate::lab;
use crate::vm::{self, Add, Cache, Init, Kernel, LINES, Line, Output, Spec, root};

/// How many times slower than the machine itself an emulated one is taken to be.
const PATIENCE: f64 = 10.0;

#[derive(Debug, Subcommand)]
pub(super) enum VmCommand {
    /// Which kernels can be had, and which are in the cache
    Kernels,
    /// Fill the cache: kernels and the root file system (root, network)
    Fetch {
        /// As `kernels` lists them [default: those that the tests run]
        #[arg(value_name = "KERNEL", value_parser = vm::kernel::line)]
        kernels: Vec<&'static Line>,
        /// Also what is there: the newest packages take its place
        #[arg(long)]
        update: bool,
    },
    /// Run a command in a machine of its own; its output and its exit code are this command's
    Run {
        #[command(flatten)]
        machine: MachineArgs,
        /// Seconds from the start of the machine to the end of the command
        #[arg(long, value_name = "S", default_value_t = 900)]
        deadline: u64,
        /// Show the machine's console on standard error
        #[arg(long)]
        console: bool,
        #[arg(last = true, required = true, value_name = "CMD")]
        command: Vec<OsString>,
    },
    /// A shell in a machine, on its console; `exit` ends it, and Ctrl-A X at any time
    Shell {
        #[command(flatten)]
        machine: MachineArgs,
    },
    /// Run `weft-lab smoke` on each of these kernels
    Smoke {
        /// Which [default: those that the tests run]
        #[arg(long = "kernel", value_name = "KERNEL", value_parser = vm::kernel::line)]
        kernels: Vec<&'static Line>,
        /// Seconds for each
        #[arg(long, value_name = "S", default_value_t = 900)]
        deadline: u64,
    },
}

#[derive(Debug, Args)]
pub(super) struct MachineArgs {
    /// Which kernel, as `kernels` lists them
    #[arg(long, value_name = "KERNEL", value_parser = vm::kernel::line)]
    kernel: &'static Line,
    /// Memory
    #[arg(long, value_name = "MiB", default_value_t = 2048, value_parser = clap::value_parser!(u32).range(256..))]
    memory: u32,
    /// Virtual processors
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=64))]
    cpus: u32,
    /// More kernel parameters, such as `rcupdate.rcu_expedited=1`
    #[arg(long, value_name = "PARAMETER", allow_hyphen_values = true)]
    append: Vec<String>,
    /// Boot systemd, and run the command as a unit, in the place of a script that only mounts what is needed
    #[arg(long)]
    systemd: bool,
    /// A file that the command finds in `/weft`, its working directory, under its own name or this one
    #[arg(long, value_name = "FILE[=NAME]")]
    add: Vec<Add>,
    /// A variable of the command
    #[arg(long, value_name = "NAME=VALUE", value_parser = super::args::pair)]
    env: Vec<(String, String)>,
    /// Folder of weft's programs [default: WEFT_BIN_DIR, else that of this one]
    #[arg(long, value_name = "DIR")]
    bin_dir: Option<PathBuf>,
}

impl MachineArgs {
    fn of(kernel: &'static Line) -> Self {
        Self {
            kernel,
            memory: 2048,
            cpus: 2,
            append: Vec::new(),
            systemd: false,
            add: Vec::new(),
            env: Vec::new(),
            bin_dir: None,
        }
    }

    fn spec(self, command: Vec<OsString>, deadline: u64, console: bool) -> Result<Spec<'static>> {
        // What this command was given counts for the machine too, if it is more.
        let factor = patience::factor()?.max(PATIENCE);
        let own = (patience::VARIABLE.to_owned(), factor.to_string());
        let environment = [own].into_iter().chain(self.env);
        Ok(Spec {
            kernel: self.kernel,
            memory: self.memory,
            cpus: self.cpus,
            append: self.append,
            init: if self.systemd {
                Init::Systemd
            } else {
                Init::Simple
            },
            binaries: lab::bin_dir(self.bin_dir)?,
            add: self.add,
            environment: environment
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
            command,
            deadline: patience::patient(Duration::from_secs(deadline)),
            console,
        })
    }
}

pub(super) fn main(command: VmCommand) -> Result<ExitCode> {
    let cache = Cache::open()?;
    let progress = |line: &str| eprintln!("{line}");
    match command {
        VmCommand::Kernels => {
            let rows = LINES.iter().map(|line| {
                let cached = Kernel::cached(&cache, line);
                [
                    line.name.to_owned(),
                    cached.map_or_else(|| "-".into(), |kernel| kernel.version()),
                    if line.matrix { "yes" } else { "-" }.into(),
                    line.about.into(),
                ]
            });
            let mut kernels = table::plain(&["KERNEL", "CACHED", "TESTED", "WHAT IT IS"]);
            kernels.add_rows(rows);
            let root = root::cached(&cache).map_or_else(
                || "not in the cache".into(),
                |image| image.display().to_string(),
            );
            say(&format!(
                "{}\n\nroot file system: {root}\n",
                kernels.trim_fmt()
            ))?;
        }
        VmCommand::Fetch { kernels, update } => {
            for line in or_matrix(kernels) {
                let kernel = Kernel::fetch(&cache, line, update, &progress)?;
                progress(&format!("kernel {}: {}", line.name, kernel.version()));
            }
            let image = root::fetch(&cache, update, &progress)?;
            progress(&format!("root file system: {}", image.display()));
        }
        VmCommand::Run {
            machine,
            deadline,
            console,
            command,
        } => {
            let interrupted = interrupt::catch()?;
            let spec = machine.spec(command, deadline, console)?;
            let outcome = run(&cache, &spec, &interrupted)?;
            return Ok(outcome.code.into());
        }
        VmCommand::Shell { machine } => {
            anyhow::ensure!(
                io::stdin().is_terminal(),
                "a shell needs a terminal; `weft-lab vm run` runs a command without one"
            );
            let mut spec = machine.spec(Vec::new(), 0, true)?;
            let terminal = std::env::var_os("TERM").unwrap_or_else(|| "linux".into());
            spec.environment.push(("TERM".into(), terminal));
            vm::shell(&cache, &spec, &progress)?;
        }
        VmCommand::Smoke { kernels, deadline } => return smoke(&cache, kernels, deadline),
    }
    Ok(ExitCode::SUCCESS)
}

fn or_matrix(kernels: Vec<&'static Line>) -> Vec<&'static Line> {
    if kernels.is_empty() {
        vm::kernel::matrix().collect()
    } else {
        kernels
    }
}

/// A kernel that fails does not hide the next one.
fn smoke(cache: &Cache, kernels: Vec<&'static Line>, deadline: u64) -> Result<ExitCode> {
    let interrupted = interrupt::catch()?;
    let mut failed = Vec::new();
    for line in or_matrix(kernels) {
        eprintln!("== kernel {}", line.name);
        let command = ["weft-lab", "smoke"].map(OsString::from).into();
        let spec = MachineArgs::of(line).spec(command, deadline, false)?;
        match run(cache, &spec, &interrupted) {
            Ok(outcome) if outcome.code == 0 => eprintln!(
                "== kernel {}: passed in {:.0} s, {:.0} s of them the boot",
                line.name,
                (outcome.boot + outcome.took).as_secs_f64(),
                outcome.boot.as_secs_f64()
            ),
            Ok(outcome) => failed.push(format!("{} (exit code {})", line.name, outcome.code)),
            // These are no kernel's.
            Err(error @ vm::Error::Interrupted) => return Err(error.into()),
            Err(error) => {
                eprintln!("weft-lab: kernel {}: {error}", line.name);
                failed.push(line.name.to_owned());
            }
        }
    }
    anyhow::ensure!(failed.is_empty(), "failed on {}", failed.join(", "));
    Ok(ExitCode::SUCCESS)
}

fn run(
    cache: &Cache,
    spec: &Spec<'_>,
    interrupted: &interrupt::Interrupt,
) -> Result<vm::Outcome, vm::Error> {
    let output = Output {
        stdout: Box::new(io::stdout()),
        stderr: Box::new(io::stderr()),
    };
    let cancelled = || interrupted.requested();
    vm::run(
        cache,
        spec,
        output,
        (&|line| eprintln!("{line}"), &cancelled),
    )
}
