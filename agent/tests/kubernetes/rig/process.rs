//! Processes of a test, and how it waits.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Everything that is waited for comes within this time on a busy machine.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// Waits for an answer.
#[track_caller]
pub fn until<T>(what: &str, ask: impl FnMut() -> Option<T>) -> T {
    weft_wait::answer(what, PATIENCE, ask)
}

/// A process that ends with this value, and with the test that started it.
pub struct Process(Child);

impl Process {
    /// What it says goes to `log`, if there is one.
    pub fn start(command: &mut Command, log: Option<std::fs::File>) -> Self {
        // So that nothing stays behind when the test itself is killed.
        let mut with = Command::new("setpriv");
        with.args(["--pdeathsig", "KILL", "--"])
            .arg(command.get_program())
            .args(command.get_args());
        with.stdin(Stdio::null());
        if let Some(log) = log {
            with.stdout(log.try_clone().unwrap()).stderr(log);
        }
        Self(with.spawn().unwrap())
    }

    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        let pid = i32::try_from(self.0.id()).unwrap();
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal).unwrap();
    }

    pub fn wait(&mut self) {
        self.0.wait().unwrap();
    }

    /// Its process number.
    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// Whether it has ended.
    pub fn ended(&mut self) -> bool {
        self.0.try_wait().unwrap().is_some()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
