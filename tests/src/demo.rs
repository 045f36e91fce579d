//! (in work)
use crate::lab::LabName;
use anyhow::Result;
pub(crate) fn run(_name: &LabName, _i: crate::cli::interrupt::Interrupt) -> Result<()> {
    anyhow::bail!("not yet")
}
