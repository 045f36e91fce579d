//! Processes that outlive the command that started them, and are never mistaken for another with the same number.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};
use weft_netns::{NetNs, NsId};

use super::error::{Error, file};

/// A process: its number and when it started, which together are not given out twice in one boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Process {
    /// Process id.
    pub pid: i32,
    /// Clock ticks after boot, from `/proc/PID/stat`.
    pub start: u64,
}

impl Process {
    /// The process that has this number now; `None` if there is none, or only its exit status is left.
    ///
    /// A killed process whose main thread has ended while others have not still holds its files and locks: it is there.
    pub fn of_pid(pid: i32) -> Option<Self> {
        let (process, runs) = Self::look(pid)?;
        runs.then_some(process)
    }

    /// The process of this number, and whether more than its exit status is left.
    fn look(pid: i32) -> Option<(Self, bool)> {
        // proc(5): the name in parentheses may hold anything, so fields are counted from its end. They begin with
        // field 3, the state; field 20 counts the threads; the start time is field 22.
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
        let state = fields.next()?;
        let threads: u32 = fields.nth(16)?.parse().ok()?;
        let start = fields.nth(1)?.parse().ok()?;
        let runs = !matches!(state, "Z" | "X") || threads > 1;
        Some((Self { pid, start }, runs))
    }

    /// Whether it still runs.
    pub fn is_alive(self) -> bool {
        Self::of_pid(self.pid) == Some(self)
    }

    /// Sends a signal; a process that is gone is no error.
    pub fn signal(self, signal: Signal) {
        if self.is_alive() {
            // ESRCH: it ended just now, which is what most signals are for. EPERM does not happen to root.
            let _gone = kill(Pid::from_raw(self.pid), signal);
        }
    }

    /// Collects the exit status of an ended daemon that this process started. Not for children with another owner.
    pub fn reap(self) {
        // ECHILD: another process started it.
        let _status = waitpid(Pid::from_raw(self.pid), Some(WaitPidFlag::WNOHANG));
    }

    /// Waits until it is gone; false if `patience` was over first.
    pub fn wait_end(self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        loop {
            if !self.is_alive() {
                return true;
            }
            if Instant::now() >= deadline {
                return false;
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Starts a daemon: its own session, no terminal, output appended to `log`.
pub fn spawn_daemon(mut command: Command, log: &Path) -> Result<Process, Error> {
    let output = File::options()
        .create(true)
        .append(true)
        .open(log)
        .map_err(file("open", log))?;
    let both = output.try_clone().map_err(file("duplicate", log))?;
    let program = command.get_program().display().to_string();
    command
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(both)
        .current_dir("/");
    // Not waited for: `Process::reap` does, or init after this process has gone.
    let child = command.spawn().map_err(|source| Error::Start {
        program: program.clone(),
        source,
    })?;
    let pid = child.id().cast_signed();
    // One that has ended already is still there, as it was not waited for; why it ended is in its log.
    let (process, _) = Process::look(pid).ok_or_else(|| Error::Start {
        program,
        source: std::io::Error::other("it is not there"),
    })?;
    Ok(process)
}

/// Every process whose main thread is in one of these network namespaces, except this one.
pub fn inside(namespaces: &BTreeSet<NsId>) -> Vec<Process> {
    let own = std::process::id().cast_signed();
    let numbers = fs::read_dir("/proc").into_iter().flatten().flatten();
    numbers
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| *pid != own)
        .filter_map(|pid| {
            let process = Process::of_pid(pid)?;
            let ns = NetNs::of_pid(pid.cast_unsigned()).ok()?;
            // Checked again at the signal: the number may have changed hands between the two reads.
            namespaces.contains(&ns.id()).then_some(process)
        })
        .collect()
}

/// Ends every process in these namespaces, with those they start meanwhile; false if some are left after `patience`.
pub fn end_inside(namespaces: &BTreeSet<NsId>, patience: Duration) -> bool {
    let deadline = Instant::now() + patience;
    loop {
        let found = inside(namespaces);
        if found.is_empty() {
            return true;
        }
        for process in &found {
            process.signal(Signal::SIGKILL);
        }
        if !found
            .iter()
            .all(|process| process.wait_end(deadline - Instant::now().min(deadline)))
        {
            return false;
        }
    }
}
