//! The firewall rules, written with `iptables-restore`: one transaction a table and family.

mod keeper;
mod trial;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use weft_core::compile::iptables::{Family, Ruleset, Table};
use weft_core::diff::iptables::diff;

pub use keeper::{Keeper, OnLook};
pub use trial::TrialError;

use crate::iptables::{self, IptablesError};

/// What a pass did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IptablesReport {
    /// Transactions committed.
    pub writes: usize,
    /// What was missing or wrong: `ip6tables nat: chain OPENSHIFT-MASQUERADE`.
    pub repaired: Vec<String>,
}

/// Somebody may change the rules between our look and our write; the transaction fails then and is worked out anew.
const ATTEMPTS: usize = 4;

/// The iptables programs, `iptables` and `ip6tables` with `-save` and `-restore`, of whichever variant is installed.
#[derive(Clone, Debug, Default)]
pub struct Iptables {
    folder: PathBuf,
}

impl Iptables {
    /// Those on PATH.
    pub fn new() -> Self {
        Self::default()
    }

    /// Those in a folder.
    pub fn in_folder(folder: impl Into<PathBuf>) -> Self {
        let folder = folder.into();
        Self { folder }
    }

    /// Where they are; an empty path stands for PATH.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Brings the rules of the calling thread's network namespace in line. Writes nothing when nothing differs.
    ///
    /// A table that cannot be written does not hold up the others; its error is returned at the end.
    pub fn sync(&self, wanted: &[Ruleset]) -> Result<IptablesReport, IptablesError> {
        let mut report = IptablesReport::default();
        let mut failure = None;
        for ruleset in wanted {
            let done = self.sync_family(ruleset, &mut report);
            failure = failure.or(done.err());
        }
        failure.map_or(Ok(report), Err)
    }

    fn sync_family(
        &self,
        wanted: &Ruleset,
        report: &mut IptablesReport,
    ) -> Result<(), IptablesError> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            let ops = diff(wanted, &iptables::read(&self.folder, wanted.family)?);
            let mut failure = None;
            for table in ops {
                match self.restore(wanted.family, table.table, &table.to_string()) {
                    Ok(()) => {
                        report.writes += 1;
                        let program = wanted.family.program();
                        let reasons = table.reasons().into_iter();
                        report
                            .repaired
                            .extend(reasons.map(|reason| format!("{program} {reason}")));
                    }
                    Err(error) => failure = Some(error),
                }
            }
            match failure {
                None => return Ok(()),
                Some(error) if attempt == ATTEMPTS => return Err(error),
                Some(error) => tracing::debug!(%error, "looking at the rules again"),
            }
        }
    }

    /// Gives input to the family's restore program. `table` is the one that it writes.
    fn restore(&self, family: Family, table: Table, input: &str) -> Result<(), IptablesError> {
        let program = format!("{}-restore", family.program());
        let start = |source| IptablesError::Start {
            program: program.clone(),
            source,
        };
        let mut child = Command::new(self.folder.join(&program))
            .args(["--noflush", "-w", "5"])
            .env("LC_ALL", "C")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(start)?;
        // The input is smaller than a pipe's buffer, and a program that ends early says why on its error output.
        let fed = child
            .stdin
            .take()
            .map_or(Ok(()), |mut pipe| pipe.write_all(input.as_bytes()));
        let output = child.wait_with_output().map_err(start)?;
        let stderr = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        match fed {
            Ok(()) if output.status.success() => Ok(()),
            Err(e) if stderr.is_empty() => Err(e.to_string()),
            _ => Err(stderr),
        }
        .map_err(|stderr| IptablesError::Restore {
            program,
            table,
            stderr,
        })
    }
}
