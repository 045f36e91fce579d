//! A server's process and files.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use weft_netns::{CommandNs as _, NetNs};
use weft_wait::patience::patient;

use super::at;

/// How long a server may take from its start to its first answer.
const READY: Duration = Duration::from_secs(20);

/// A directory under a random name, removed when dropped.
#[derive(Debug)]
pub(super) struct Directory(PathBuf);

impl Directory {
    pub(super) fn create() -> io::Result<Self> {
        let name = format!("weft-dns-{:08x}", rand::random::<u32>());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).map_err(at(format!("create {}", path.display())))?;
        Ok(Self(path))
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(super) fn write(&self, name: &str, text: &str) -> io::Result<()> {
        let path = self.file(name);
        fs::write(&path, text).map_err(at(format!("write {}", path.display())))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

/// A process in the foreground of a namespace, killed when dropped.
#[derive(Debug)]
pub(super) struct Daemon(Child);

impl Daemon {
    /// Starts it and waits until `answers` does; its output goes to `log`.
    pub(super) fn start(
        mut command: Command,
        netns: &NetNs,
        log: &Path,
        mut answers: impl FnMut() -> bool,
    ) -> io::Result<Self> {
        let program = command.get_program().to_string_lossy().into_owned();
        let output = File::options().create(true).append(true).open(log)?;
        command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .net_ns(netns)
            .map_err(io::Error::other)?;
        let child = command.spawn().map_err(at(format!("start {program}")))?;
        let mut daemon = Self(child);
        let deadline = Instant::now() + patient(READY);
        while !answers() {
            let ended = daemon.0.try_wait()?;
            if ended.is_some() || Instant::now() >= deadline {
                let said = fs::read_to_string(log).unwrap_or_default();
                let why = format!("{program} does not answer ({ended:?}); it says:\n{said}");
                return Err(io::Error::other(why));
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(daemon)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // An error means that it has ended already.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Runs a program to its end; an error if it fails.
pub(super) fn run(command: &mut Command) -> io::Result<()> {
    let output = command.output().map_err(at(format!("run {command:?}")))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("{command:?}: {}", said.trim())))
}
