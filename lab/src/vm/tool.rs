//! Programs of the host that make images and fetch packages.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::Error;

/// How much of a failed program's output an error repeats.
const LINES: usize = 15;

/// The path of a program, found as a shell would, also where only root's shell looks.
pub(super) fn find(program: &'static str, package: &'static str) -> Result<PathBuf, Error> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|directory| directory.join(program))
        .find(|path| path.is_file())
        .ok_or(Error::Missing { program, package })
}

/// A command for a program that a Debian package brings.
pub(super) fn tool(program: &'static str, package: &'static str) -> Result<Command, Error> {
    let mut command = Command::new(find(program, package)?);
    command.stdin(Stdio::null()).env("LC_ALL", "C");
    Ok(command)
}

/// Runs it to its end; what it printed, or an error with the last of that.
pub(super) fn run(command: &mut Command) -> Result<String, Error> {
    let program = command.get_program().display().to_string();
    let arguments: Vec<_> = command.get_args().map(|it| it.to_string_lossy()).collect();
    let what = format!("{program} {}", arguments.join(" "));
    let failed = |status: String, said: &str| Error::Tool {
        what: what.clone(),
        status,
        said: last(said, LINES),
    };
    let output = command
        .output()
        .map_err(|error| failed(error.to_string(), ""))?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(stdout);
    }
    let said = stdout + &String::from_utf8_lossy(&output.stderr);
    Err(failed(output.status.to_string(), &said))
}

/// The last lines of a text.
pub(super) fn last(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}
