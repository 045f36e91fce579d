//! The installed iptables programs: their version, the actual rules, and how they fail.
//!
//! It lies below [`crate::apply`], whose passes read before they write, and [`crate::observe`].

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use weft_core::compile::iptables::{Family, Table};
use weft_core::diff::iptables::{ActualTable, parse_save};

/// The rules could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum IptablesError {
    /// No such program, most likely.
    #[error(
        "start {program}: {source}: install the package iptables, or put the program on the agent's PATH"
    )]
    Start {
        /// Its name.
        program: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Reading failed.
    #[error(
        "{program}: {stderr}: the rules of this family cannot be read; has the kernel the module nf_tables or ip_tables, and can it load it (modprobe tells why not), or does another iptables variant or nft hold the tables (iptables -V, nft list ruleset)?"
    )]
    Save {
        /// The program.
        program: String,
        /// What it said.
        stderr: String,
    },
    /// Writing a table failed.
    #[error(
        "{program}, table {table}: {stderr}: none of this table's changes were made; check that the kernel has its modules (nf_tables or ip_tables, nf_conntrack, nf_nat)"
    )]
    Restore {
        /// The program.
        program: String,
        /// The table.
        table: Table,
        /// What it said.
        stderr: String,
    },
}

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
pub fn read(folder: &Path, family: Family) -> Result<BTreeMap<Table, ActualTable>, IptablesError> {
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
