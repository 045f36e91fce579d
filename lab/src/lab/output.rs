//! Commands that are run to their end.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::memfd::{MFdFlags, memfd_create};

use super::error::Error;

/// What a command said.
#[derive(Debug)]
pub struct Output {
    /// Exit code 0.
    pub success: bool,
    /// Standard output.
    pub stdout: String,
    /// Standard error, and why there is no exit code.
    pub stderr: String,
}

/// Runs a command to its end, at most `patience`; it is killed then.
pub fn output_within(
    command: &mut Command,
    input: &[u8],
    patience: Duration,
) -> Result<Output, Error> {
    run(command, input, patience).map_err(|source| Error::Start {
        program: command.get_program().display().to_string(),
        source,
    })
}

fn run(command: &mut Command, input: &[u8], patience: Duration) -> io::Result<Output> {
    let (stdin, stdout, stderr) = (scratch(input)?, scratch(b"")?, scratch(b"")?);
    let mut child = command
        .stdin(stdin)
        .stdout(stdout.try_clone()?)
        .stderr(stderr.try_clone()?)
        .spawn()?;
    let deadline = Instant::now() + patience;
    let status = loop {
        match child.try_wait()? {
            Some(status) => break Some(status),
            None if Instant::now() >= deadline => {
                child.kill()?;
                child.wait()?;
                break None;
            }
            None => thread::sleep(Duration::from_millis(1)),
        }
    };
    let mut said = read(stderr)?;
    match status {
        None => drop(write!(said, "(no answer within {patience:?})")),
        Some(status) if status.code().is_none() => drop(write!(said, "({status})")),
        Some(_) => {}
    }
    Ok(Output {
        success: status.is_some_and(|status| status.success()),
        stdout: read(stdout)?,
        stderr: said,
    })
}

/// A file in memory in the place of a pipe: neither side ever waits for the other.
fn scratch(content: &[u8]) -> io::Result<File> {
    let mut file = File::from(memfd_create("weft-lab", MFdFlags::MFD_CLOEXEC)?);
    file.write_all(content)?;
    file.rewind()?;
    Ok(file)
}

fn read(mut file: File) -> io::Result<String> {
    let mut content = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut content)?;
    Ok(String::from_utf8_lossy(&content).trim_end().to_owned())
}
