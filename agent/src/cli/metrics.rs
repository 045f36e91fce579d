//! `weft metrics`

use std::process::ExitCode;

use super::{client, print};
use crate::config::ConfigArgs;

/// Prints the figures as Prometheus reads them.
pub fn run(config: &ConfigArgs) -> anyhow::Result<ExitCode> {
    print::line(client::text(config, "/metrics")?.trim_end());
    Ok(ExitCode::SUCCESS)
}
