//! `kubensenter [--verbose|-v|--quiet|-q]... [COMMAND [ARGUMENT]...]`: becomes COMMAND inside the mount namespace that
//! was pinned for the kubelet and the container runtime, or where it is when there is none.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io::{self, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use nix::errno::Errno;
use weft_netns::{CommandNs as _, Error, MountNs};

const USAGE: &str = "\
usage: kubensenter [--verbose|-v|--quiet|-q]... [--] [COMMAND [ARGUMENT]...]

Runs COMMAND (default: a shell) in the mount namespace pinned at
$KUBENSMNT, else at $DEFAULT_KUBENSMNT (default /run/kubens/mnt). Where
nothing is pinned there, runs it in the current mount namespace, with a
warning if $KUBENSMNT named the place.

$KUBENSENTER_LOG is the log level (default 1); -v adds one, -q takes one off.

Exit status: COMMAND's; 1 the namespace could not be entered, 2 usage,
126 COMMAND could not be run, 127 COMMAND was not found.
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

fn run(words: Vec<OsString>) -> Result<ExitCode, Error> {
    let (level, words) = match options(words) {
        Ok(Options::Run { verbosity, command }) => (initial_level() + verbosity, command),
        Ok(Options::Help) => {
            drop(io::stdout().write_all(USAGE.as_bytes()));
            return Ok(ExitCode::SUCCESS);
        }
        Err(word) => {
            let word = word.display();
            drop(write!(
                io::stderr(),
                "kubensenter: unknown option {word}\n{USAGE}"
            ));
            return Ok(ExitCode::from(2));
        }
    };
    let log = Log { level };
    let mut command = command(words);
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

enum Options {
    Help,
    Run {
        verbosity: i64,
        command: Vec<OsString>,
    },
}

/// Options stand before the command; an unknown one is the error.
fn options(words: Vec<OsString>) -> Result<Options, OsString> {
    let mut verbosity = 0;
    let mut words = words.into_iter().peekable();
    while let Some(word) = words.next_if(|word| word.as_encoded_bytes().starts_with(b"-")) {
        match word.as_encoded_bytes() {
            b"-v" | b"--verbose" => verbosity += 1,
            b"-q" | b"--quiet" => verbosity -= 1,
            b"-h" | b"--help" => return Ok(Options::Help),
            b"--" => break,
            _ => return Err(word),
        }
    }
    Ok(Options::Run {
        verbosity,
        command: words.collect(),
    })
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
        log.debug(&format!(
            "KUBENSMNT is {}, no autodetection",
            path.display()
        ));
        return match MountNs::open(path) {
            // The file outlives its mount when the service that pins it has stopped; the kubelet must still start.
            Err(failure) if missing(&failure) || matches!(failure, Error::NoNamespace { .. }) => {
                log.info(&format!(
                    "warning: {failure}; using the current mount namespace"
                ));
                Ok(None)
            }
            opened => opened.map(Some),
        };
    }
    let path = named("DEFAULT_KUBENSMNT").unwrap_or_else(|| "/run/kubens/mnt".into());
    match MountNs::open(&path) {
        Ok(ns) => {
            log.info(&format!("found {}", path.display()));
            Ok(Some(ns))
        }
        Err(failure) if missing(&failure) => {
            log.debug(&format!("nothing at {}", path.display()));
            Ok(None)
        }
        Err(failure @ (Error::NoNamespace { .. } | Error::WrongKind { .. })) => {
            log.info(&format!(
                "stale or mismatched: {failure}; using the current mount namespace"
            ));
            Ok(None)
        }
        Err(failure) => Err(failure),
    }
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
