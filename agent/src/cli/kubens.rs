//! `weft kubens`

mod place;
mod status;

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::Context as _;
use weft_netns::kubens::{DIRECTORY, Place};

use super::print;
use crate::kubens::files::{Done, Files};
use crate::kubens::plan::{BIN_DIR, KUBENSENTER, Places, Plan, SYSTEMD_DIR};
use crate::kubens::unit::Folders;

/// The mount namespace of kubelet and container runtime.
#[derive(clap::Subcommand)]
pub enum Kubens {
    /// Put kubens.service, kubensenter and the drop-ins of kubelet, CRI-O and containerd on a node; all of it or nothing
    ///
    /// It takes effect when the node starts next. kubelet and containerd are started through kubensenter; CRI-O enters by
    /// itself. A file of somebody else is never replaced.
    Install(Install),
    /// Take away what install and wrap have put there and nobody has changed since
    Uninstall(Uninstall),
    /// Tell whether the namespace is pinned, and in which ones kubelet, runtime and agent are (exit code 1 if something is wrong)
    Status(status::Status),
    /// Write drop-ins that start services inside, all of them or none
    Wrap(Wrap),
    /// Make and pin the namespace, as kubens.service does; one that is pinned is kept
    Start(Directory),
    /// Unpin the namespace; refuses while processes are inside, and says which
    Stop(Stop),
}

#[derive(clap::Args)]
struct Where {
    /// The node's root: a mounted image, or the host's root in a container
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,
    /// The administrator's folder of units, below the root
    #[arg(long, value_name = "DIR", default_value = SYSTEMD_DIR)]
    systemd_dir: PathBuf,
    /// Folder of kubensenter, below the root
    #[arg(long, value_name = "DIR", default_value = BIN_DIR)]
    bin_dir: PathBuf,
}

#[derive(clap::Args)]
struct Reload {
    /// Do not tell systemd (for an image: where the root is not / it is never told)
    #[arg(long)]
    no_reload: bool,
}

/// Flags of `weft kubens install`.
#[derive(clap::Args)]
pub struct Install {
    #[command(flatten)]
    place: Where,
    #[command(flatten)]
    reload: Reload,
    /// The program to copy [default: kubensenter beside this program]
    #[arg(long, value_name = "FILE")]
    kubensenter: Option<PathBuf>,
    /// Start this service inside, too; may be repeated
    #[arg(long, value_name = "SERVICE")]
    wrap: Vec<String>,
}

/// Flags of `weft kubens uninstall`.
#[derive(clap::Args)]
pub struct Uninstall {
    #[command(flatten)]
    place: Where,
    #[command(flatten)]
    reload: Reload,
}

/// Flags of `weft kubens wrap`.
#[derive(clap::Args)]
pub struct Wrap {
    #[command(flatten)]
    place: Where,
    #[command(flatten)]
    reload: Reload,
    /// The services, with or without ".service"
    #[arg(required = true, value_name = "SERVICE")]
    services: Vec<String>,
}

/// Flags of `weft kubens start`.
#[derive(clap::Args)]
pub struct Directory {
    /// The runtime directory
    #[arg(long, value_name = "DIR", default_value = DIRECTORY)]
    dir: PathBuf,
}

/// Flags of `weft kubens stop`.
#[derive(clap::Args)]
pub struct Stop {
    #[command(flatten)]
    directory: Directory,
    /// Unpin it although processes are inside: they stay in a namespace that nobody else can join
    #[arg(long)]
    force: bool,
}

impl Where {
    fn places(&self) -> Places {
        let folders = Folders {
            root: self.root.clone(),
            etc: self.systemd_dir.clone(),
        };
        Places {
            folders,
            bin_dir: self.bin_dir.clone(),
        }
    }

    fn files(&self) -> Files {
        Files {
            root: self.root.clone(),
        }
    }
}

/// Runs a command.
pub fn run(command: &Kubens) -> anyhow::Result<ExitCode> {
    match command {
        Kubens::Install(args) => install(args),
        Kubens::Uninstall(args) => uninstall(args),
        Kubens::Status(args) => status::run(args),
        Kubens::Wrap(args) => {
            let plan = args.place.places().wrap(&args.services)?;
            put(&args.place, &args.reload, &plan)
        }
        Kubens::Start(args) => place::start(&Place::new(&args.dir)),
        Kubens::Stop(args) => place::stop(&Place::new(&args.directory.dir), args.force),
    }
}

fn install(args: &Install) -> anyhow::Result<ExitCode> {
    let program = match &args.kubensenter {
        Some(program) => program.clone(),
        None => std::env::current_exe()
            .context("find this program's folder: name the program with --kubensenter")?
            .with_file_name(KUBENSENTER),
    };
    let plan = args.place.places().install(&program, &args.wrap)?;
    let code = put(&args.place, &args.reload, &plan)?;
    print::line(
        "restart the node (or drain it, then systemctl start kubens.service and restart container runtime and kubelet)",
    );
    Ok(code)
}

fn put(place: &Where, reload: &Reload, plan: &Plan) -> anyhow::Result<ExitCode> {
    let done = place.files().put(&plan.files, || reload.tell(place))?;
    tell(&done);
    for remark in &plan.remarks {
        print::line(remark);
    }
    Ok(ExitCode::SUCCESS)
}

fn uninstall(args: &Uninstall) -> anyhow::Result<ExitCode> {
    let done = args
        .place
        .files()
        .remove(|| args.reload.tell(&args.place))?;
    tell(&done);
    if done.is_empty() {
        print::line("nothing to remove");
    } else {
        print::line(
            "what runs inside stays there until it is restarted; a restart of the node ends the namespace",
        );
    }
    Ok(ExitCode::SUCCESS)
}

fn tell(done: &[Done]) {
    for one in done {
        let (path, what) = match one {
            Done::Put(path) => (path, "put"),
            Done::Kept(path) => (path, "there already"),
            Done::Removed(path) => (path, "removed"),
            Done::Changed(path) => (path, "was changed since it was put there, and stays"),
        };
        print::line(&format!("{}: {what}", path.display()));
    }
}

impl Reload {
    /// systemd reads its units again, if it runs here and they are its own.
    fn tell(&self, place: &Where) -> Result<(), String> {
        let runs = place.root == std::path::Path::new("/")
            && std::path::Path::new("/run/systemd/system").is_dir();
        if self.no_reload || !runs {
            return Ok(());
        }
        let output = Command::new("systemctl").arg("daemon-reload").output();
        let output = output.map_err(|error| format!("run systemctl daemon-reload: {error}"))?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(format!("systemctl daemon-reload: {}", said.trim()))
    }
}
