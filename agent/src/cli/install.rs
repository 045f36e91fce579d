//! `weft install-cni` and `weft uninstall-cni`

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use super::{client, print};
use crate::api::view::Status;
use crate::config::{Config, ConfigArgs};
use crate::install::{BIN_DIR, CONF_DIR, PLUGIN, Places};

/// How often the agent is asked, and how often a line tells what is waited for.
const ASK: Duration = Duration::from_millis(250);
const TELL: Duration = Duration::from_secs(10);

/// Where the container runtime looks.
#[derive(clap::Args)]
struct Dirs {
    /// Directory of the container runtime's CNI plugins
    #[arg(long, value_name = "DIR", default_value = BIN_DIR)]
    cni_bin_dir: PathBuf,
    /// Directory of the container runtime's CNI configuration
    #[arg(long, value_name = "DIR", default_value = CONF_DIR)]
    cni_conf_dir: PathBuf,
    #[command(flatten)]
    config: ConfigArgs,
}

/// Flags of `weft install-cni`.
#[derive(clap::Args)]
pub struct Install {
    #[command(flatten)]
    dirs: Dirs,
    /// The plugin to copy [default: weft-cni beside this program]
    #[arg(long, value_name = "FILE")]
    plugin: Option<PathBuf>,
    /// How long to wait for the agent
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = humantime::parse_duration)]
    timeout: Duration,
    /// Stay until a signal comes: what a container of a pod does
    #[arg(long)]
    stay: bool,
}

/// Flags of `weft uninstall-cni`.
#[derive(clap::Args)]
pub struct Uninstall {
    #[command(flatten)]
    dirs: Dirs,
    /// Stay until a signal comes: what a container of a pod does
    #[arg(long)]
    stay: bool,
}

impl Dirs {
    fn places(&self, config: &Config) -> Places {
        Places {
            bin_dir: self.cni_bin_dir.clone(),
            conf_dir: self.cni_conf_dir.clone(),
            state_dir: config.state_dir.clone(),
        }
    }
}

/// The plugin at once, the configuration when the agent is ready.
pub fn install(args: &Install) -> anyhow::Result<ExitCode> {
    let config = Config::load(&args.dirs.config)?;
    let places = args.dirs.places(&config);
    let plugin = match &args.plugin {
        Some(plugin) => plugin.clone(),
        None => std::env::current_exe()
            .context("find this program's folder: name the plugin with --plugin")?
            .with_file_name(PLUGIN),
    };
    let path = places.put_plugin(&plugin)?;
    print::line(&format!("{}: put", path.display()));
    wait(&args.dirs.config, args.timeout)?;
    let (path, new) = places.put_configuration(&config.run_dir)?;
    let what = if new { "put" } else { "there already" };
    print::line(&format!("{}: {what}", path.display()));
    stay(args.stay)
}

fn stay(asked: bool) -> anyhow::Result<ExitCode> {
    if asked {
        let ended = signal_hook::iterator::Signals::new([nix::libc::SIGTERM, nix::libc::SIGINT]);
        ended.context("listen for signals")?.forever().next();
    }
    Ok(ExitCode::SUCCESS)
}

/// Removes exactly what was put.
pub fn uninstall(args: &Uninstall) -> anyhow::Result<ExitCode> {
    let config = Config::load(&args.dirs.config)?;
    let removed = args.dirs.places(&config).remove()?;
    if removed.is_empty() {
        print::line("nothing to remove");
    }
    for path in removed {
        print::line(&format!("{}: removed", path.display()));
    }
    stay(args.stay)
}

/// Until the agent says that pods can be attached.
fn wait(config: &ConfigArgs, timeout: Duration) -> anyhow::Result<()> {
    let start = Instant::now();
    let mut told: Option<Instant> = None;
    loop {
        let missing = match client::get::<Status>(config, "/v1/status") {
            Ok(status) if status.ready => return Ok(()),
            Ok(status) => status.not_ready,
            Err(error) => format!("{error:#}"),
        };
        if start.elapsed() >= timeout {
            let timeout = humantime::format_duration(timeout);
            bail!(
                "the agent is not ready after {timeout}, so no CNI configuration was written: {missing}"
            );
        }
        if told.is_none_or(|at| at.elapsed() >= TELL) {
            print::line(&format!("waiting for the agent: {missing}"));
            told = Some(Instant::now());
        }
        std::thread::sleep(ASK);
    }
}
