//! `weft preflight`

use std::path::PathBuf;
use std::process::ExitCode;

use super::{Output, Query, print};
use crate::config::Config;
use crate::install::CONF_DIR;
use crate::preflight::{State, run as look, worst};

/// Flags of `weft preflight`.
#[derive(clap::Args)]
pub struct Preflight {
    #[command(flatten)]
    query: Query,
    /// Directory of the container runtime's CNI configuration
    #[arg(long, value_name = "DIR", default_value = CONF_DIR)]
    cni_conf_dir: PathBuf,
}

/// Prints every check; exit code 1 if one failed.
pub fn run(args: &Preflight) -> anyhow::Result<ExitCode> {
    let config = Config::load(&args.query.config)?;
    let checks = look(&config, &args.cni_conf_dir);
    match args.query.output {
        Output::Json => print::json(&checks)?,
        Output::Table => {
            let rows = checks.iter().map(|check| {
                [
                    check.state.name().to_owned(),
                    check.name.to_owned(),
                    check.message.clone(),
                ]
            });
            print::table(["STATE", "CHECK", "FOUND"], rows);
        }
    }
    Ok(if worst(&checks) == State::Failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}
