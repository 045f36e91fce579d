//! What the kernel says of a program that it refuses. The verifier's log has thousands of lines, of which the last few tell.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use aya::programs::ProgramError;

use crate::bpf::JIT_REMEDY;

/// Lines of the log that are shown.
const SHOWN: usize = 10;
/// What the verifier says where `bpf_loop` meets the interpreter.
const NO_JIT: &str = "callbacks are not allowed in non-JITed programs";

/// A program that the kernel refused, or that could not be given to it.
#[derive(Debug)]
pub struct Refusal {
    program: &'static str,
    cause: io::Error,
    log: String,
    file: Option<PathBuf>,
}

impl Refusal {
    pub(super) fn new(program: &'static str, error: ProgramError) -> Self {
        let (cause, log) = match error {
            ProgramError::LoadError {
                io_error,
                verifier_log,
            } => (io_error, verifier_log.to_string()),
            other => (io::Error::other(other), String::new()),
        };
        Self {
            program,
            cause,
            log,
            file: None,
        }
    }

    /// Writes the whole log into a folder; the message then names the file. What cannot be written is not missed: the log
    /// comes again with the next try.
    #[must_use]
    pub fn kept(mut self, folder: &Path) -> Self {
        if self.log.lines().count() > SHOWN {
            let file = folder.join(format!("verifier-{}.log", self.program));
            self.file = std::fs::write(&file, &self.log).ok().map(|()| file);
        }
        self
    }
}

impl std::error::Error for Refusal {}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "load program {}: {}", self.program, self.cause)?;
        if self.log.contains(NO_JIT) {
            f.write_str(": ")?;
            f.write_str(JIT_REMEDY)?;
        }
        let lines: Vec<_> = self.log.lines().collect();
        let from = lines.len().saturating_sub(SHOWN);
        if !lines.is_empty() {
            f.write_str("; the verifier says at last:")?;
        }
        for line in &lines[from..] {
            write!(f, "\n  {line}")?;
        }
        match &self.file {
            Some(file) => write!(f, "\n  (all {} lines: {})", lines.len(), file.display()),
            None if from > 0 => write!(f, "\n  (the last of {} lines)", lines.len()),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(log: &str) -> Refusal {
        Refusal {
            program: "from_pod",
            cause: io::Error::from_raw_os_error(13),
            log: log.to_owned(),
            file: None,
        }
    }

    #[test]
    fn the_end_of_a_long_log_is_shown_and_the_rest_is_in_a_file() {
        let log: Vec<_> = (1..=1892).map(|n| format!("line {n}")).collect();
        let log = log.join("\n");
        let folder = std::env::temp_dir().join(format!("weft-log-{:016x}", rand::random::<u64>()));
        std::fs::create_dir(&folder).unwrap();
        let text = refusal(&log).kept(&folder).to_string();
        let kept = std::fs::read_to_string(folder.join("verifier-from_pod.log")).unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!(kept, log);
        assert!(
            text.contains("line 1892") && text.contains("line 1883"),
            "{text}"
        );
        assert!(!text.contains("line 1882\n"), "{text}");
        assert!(
            text.contains("all 1892 lines: ") && text.contains("verifier-from_pod.log"),
            "{text}"
        );
    }

    #[test]
    fn a_folder_that_cannot_be_written_costs_only_the_file() {
        let log = "x\n".repeat(11);
        let text = refusal(&log).kept(Path::new("/nowhere/at/all")).to_string();
        assert!(text.ends_with("(the last of 11 lines)"), "{text}");
    }

    #[test]
    fn a_kernel_that_interprets_is_told_how_to_compile() {
        let text = refusal(NO_JIT).to_string();
        assert!(text.contains("net.core.bpf_jit_enable=1"), "{text}");
    }
}
