//! The actual firewall rules: what `iptables-save` prints.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

use weft_core::compile::iptables::{Family, Table};
use weft_core::diff::iptables::{ActualTable, parse_save};

use crate::apply::iptables::IptablesError;

/// What the program says of its version and variant.
///
/// `folder` holds the program; an empty path stands for PATH.
pub fn version(folder: &Path, family: Family) -> Result<String, IptablesError> {
    let program = family.program().to_owned();
    let output = Command::new(folder.join(&program))
        .arg("--version")
        .stdin(Stdio::null())
        .output()
        .map_err(|source| IptablesError::Start {
            program: program.clone(),
            source,
        })?;
    let said = String::from_utf8_lossy(&output.stdout);
    Ok(said.lines().next().unwrap_or_default().to_owned())
}

/// Our tables in the calling thread's network namespace. Tables that nobody made are missing.
///
/// `folder` holds the program; an empty path stands for PATH.
pub fn observe(
    folder: &Path,
    family: Family,
) -> Result<BTreeMap<Table, ActualTable>, IptablesError> {
    let program = format!("{}-save", family.program());
    let output = Command::new(folder.join(&program))
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .output()
        .map_err(|source| IptablesError::Start {
            program: program.clone(),
            source,
        })?;
    if !output.status.success() {
        return Err(IptablesError::Save {
            program,
            stderr: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        });
    }
    Ok(parse_save(&String::from_utf8_lossy(&output.stdout)))
}
