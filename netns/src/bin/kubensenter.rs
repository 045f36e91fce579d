//! `kubensenter [--verbose|-v|--quiet|-q]... [COMMAND [ARGUMENT]...]`: becomes COMMAND inside the mount namespace that
//! was pinned for the kubelet and the container runtime, or where it is when there is none. `--create` and `--remove` are
//! what `kubens.service` runs.
//!
//! Messages and their levels are those of the program of the same name in containers/kubensmnt.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io::{self, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use nix::errno::Errno;
use weft_netns::kubens::{DIRECTORY, KubensError, Place};
use weft_netns::{CommandNs as _, Error, MountNs};

const USAGE: &str = "\
usage: kubensenter [--verbose|-v|--quiet|-q]... [--argv0 NAME] [--] [COMMAND [ARGUMENT]...]
       kubensenter --create
       kubensenter --remove [--force]

Runs COMMAND (default: a shell) in the mount namespace pinned at
$KUBENSMNT, else at $DEFAULT_KUBENSMNT (default /run/kubens/mnt). Where
nothing is pinned there, runs it in the current mount namespace, with a
warning if $KUBENSMNT named the place. --argv0 is what COMMAND finds as its
own name.

--create makes and pins the namespace at $DEFAULT_KUBENSMNT, and writes
KUBENSMNT= into the file env beside it; one that is pinned is kept.
--remove unpins it; it refuses while processes are inside and says which,
unless --force is given. kubens.service runs both.

$KUBENSENTER_LOG is the log level (default 1); -v adds one, -q takes one off.

Exit status: COMMAND's; 1 the namespace could not be entered, made or
unpinned, 2 usage, 126 COMMAND could not be run, 127 COMMAND was not found.
";

fn main() -> ExitCode {
    match run(env::args_os().skip(1).collect()) {
        Ok(code) => code,
        Err(failure) => {
            // Nobody is left to tell when standard error is closed.
            drop(writeln!(io::stderr(), "kubensenter: {failure}"));
            ExitCode::from(1)
        }
    }
}

fn run(words: Vec<OsString>) -> Result<ExitCode, KubensError> {
    let (log, work) = match options(words) {
        Ok((verbosity, work)) => (
            Log {
                level: initial_level() + verbosity,
            },
            work,
        ),
        Err(wrong) => {
            drop(write!(io::stderr(), "kubensenter: {wrong}\n{USAGE}"));
            return Ok(ExitCode::from(2));
        }
    };
    match work {
        Work::Help => drop(io::stdout().write_all(USAGE.as_bytes())),
        Work::Create => create(log)?,
        Work::Remove { force } => remove(log, force)?,
        Work::Run { argv0, words } => return Ok(become_command(log, argv0, words)?),
    }
    Ok(ExitCode::SUCCESS)
}

fn become_command(
    log: Log,
    argv0: Option<OsString>,
    words: Vec<OsString>,
) -> Result<ExitCode, Error> {
    let mut command = command(words);
    if let Some(name) = argv0 {
        command.arg0(name);
    }
    if let Some(ns) = namespace(log)? {
        // Entering once on a thread tells a namespace that cannot be entered from a command that cannot be run.
        ns.run(|| ())?;
        command.mount_ns(&ns)?;
    }
    // The same process, not a child: systemd's notify protocol looks at the process number.
    let failure = command.exec();
    let program = command.get_program().display();
    drop(writeln!(
        io::stderr(),
        "kubensenter: run {program}: {failure}"
    ));
    Ok(ExitCode::from(match failure.kind() {
        io::ErrorKind::NotFound => 127,
        _ => 126,
    }))
}

fn create(log: Log) -> Result<(), KubensError> {
    let place = place()?;
    let started = place.start()?;
    for warning in &started.warnings {
        log.info(&format!("WARNING: {warning}"));
    }
    let done = if started.new {
        "pinned at"
    } else {
        "kept: it is pinned at"
    };
    let (namespace, pin) = (&started.namespace, place.pin());
    log.info(&format!(
        "mount namespace {namespace} {done} {}",
        pin.display()
    ));
    Ok(())
}

fn remove(log: Log, force: bool) -> Result<(), KubensError> {
    let place = place()?;
    let stopped = place.stop(force)?;
    let pin = place.pin();
    if stopped.namespaces.is_empty() {
        log.info(&format!(
            "no mount namespace is pinned at {}",
            pin.display()
        ));
    }
    for namespace in &stopped.namespaces {
        log.info(&format!(
            "mount namespace {namespace} unpinned from {}",
            pin.display()
        ));
    }
    for process in &stopped.left {
        log.info(&format!("WARNING: process {process} stays inside"));
    }
    Ok(())
}

/// The runtime directory: the one of the pin's default path.
fn place() -> Result<Place, KubensError> {
    let pin = default_pin();
    let place = pin.parent().filter(|_| pin.is_absolute()).map(Place::new);
    place
        .filter(|place| place.pin() == pin)
        .ok_or_else(|| KubensError::File {
            call: "use DEFAULT_KUBENSMNT",
            path: pin,
            source: io::Error::new(io::ErrorKind::InvalidInput, "it must be /DIRECTORY/mnt"),
        })
}

enum Work {
    Help,
    Create,
    Remove {
        force: bool,
    },
    Run {
        argv0: Option<OsString>,
        words: Vec<OsString>,
    },
}

/// Options stand before the command; an unknown one is the error. With them comes what they add to the log level.
fn options(words: Vec<OsString>) -> Result<(i64, Work), String> {
    let (mut verbosity, mut argv0) = (0, None);
    let (mut create, mut remove, mut force) = (false, false, false);
    let mut words = words.into_iter().peekable();
    while let Some(word) = words.next_if(|word| word.as_encoded_bytes().starts_with(b"-")) {
        match word.as_encoded_bytes() {
            b"-v" | b"--verbose" => verbosity += 1,
            b"-q" | b"--quiet" => verbosity -= 1,
            b"-h" | b"--help" => return Ok((0, Work::Help)),
            b"--create" => create = true,
            b"--remove" => remove = true,
            b"--force" => force = true,
            b"--argv0" => argv0 = Some(words.next().ok_or("--argv0 wants a NAME")?),
            b"--" => break,
            _ => return Err(format!("unknown option {}", word.display())),
        }
    }
    let words: Vec<_> = words.collect();
    let work = match (create, remove) {
        (true, true) => return Err("--create and --remove exclude each other".into()),
        (_, false) if force => return Err("--force belongs to --remove".into()),
        (false, false) => return Ok((verbosity, Work::Run { argv0, words })),
        (true, false) => Work::Create,
        (false, true) => Work::Remove { force },
    };
    if !words.is_empty() || argv0.is_some() {
        return Err("--create and --remove take no COMMAND".into());
    }
    Ok((verbosity, work))
}

fn initial_level() -> i64 {
    env::var("KUBENSENTER_LOG")
        .ok()
        .and_then(|level| level.trim().parse().ok())
        .unwrap_or(1)
}

/// Without words a login shell, as nsenter(1) does.
fn command(words: Vec<OsString>) -> Command {
    let mut words = words.into_iter();
    if let Some(program) = words.next() {
        let mut command = Command::new(program);
        command.args(words);
        return command;
    }
    let shell = named("SHELL").unwrap_or_else(|| "/bin/sh".into());
    let mut login = OsString::from("-");
    login.push(shell.file_name().unwrap_or(OsStr::new("sh")));
    let mut command = Command::new(shell);
    command.arg0(login);
    command
}

/// The namespace to enter, if there is one. What is pinned but cannot be entered is an error.
fn namespace(log: Log) -> Result<Option<MountNs>, Error> {
    if let Some(path) = named("KUBENSMNT") {
        log.debug("Autodetect: $KUBENSMNT already set");
        return join(log, &path);
    }
    let path = default_pin();
    match MountNs::open(&path) {
        Ok(_) => {
            log.info(&format!(
                "Autodetect: kubens.service namespace found at {}",
                path.display()
            ));
            join(log, &path)
        }
        Err(failure) if missing(&failure) => {
            log.debug(&format!(
                "Autodetect: No mount namespace found at {}",
                path.display()
            ));
            log.debug("KUBENSMNT not set; running normally");
            Ok(None)
        }
        Err(failure @ (Error::NoNamespace { .. } | Error::WrongKind { .. })) => {
            log.info(&format!(
                "Autodetect: Stale or mismatched namespace at {}",
                path.display()
            ));
            log.debug(&failure.to_string());
            log.debug("KUBENSMNT not set; running normally");
            Ok(None)
        }
        Err(failure) => Err(failure),
    }
}

/// What is chosen, and has no namespace on it, is passed over: the file outlives its mount when the service that pins it
/// has stopped, and the kubelet must still start.
fn join(log: Log, path: &Path) -> Result<Option<MountNs>, Error> {
    log.debug(&format!("Joining mount namespace in {}", path.display()));
    match MountNs::open(path) {
        Err(failure) if missing(&failure) || matches!(failure, Error::NoNamespace { .. }) => {
            log.info(&format!(
                "WARNING: {} is not mounted; running normally",
                path.display()
            ));
            Ok(None)
        }
        opened => opened.map(Some),
    }
}

fn default_pin() -> PathBuf {
    named("DEFAULT_KUBENSMNT").unwrap_or_else(|| Place::new(DIRECTORY).pin())
}

fn missing(failure: &Error) -> bool {
    failure.errno() == Some(Errno::ENOENT)
}

/// An environment variable that is set and not empty.
fn named(variable: &str) -> Option<PathBuf> {
    env::var_os(variable)
        .filter(|value| !value.is_empty())
        .map(PathBuf::from)
}

#[derive(Clone, Copy)]
struct Log {
    level: i64,
}

impl Log {
    fn info(self, message: &str) {
        self.at(1, message);
    }

    fn debug(self, message: &str) {
        self.at(2, message);
    }

    fn at(self, level: i64, message: &str) {
        if level <= self.level {
            // A closed standard error must not keep the command from running.
            drop(writeln!(io::stderr(), "kubensenter: {message}"));
        }
    }
}
