//! `weft`: the node agent, the controller and the admin command line.

use std::process::ExitCode;

use clap::Parser;
use weft_agent::cli::{Cli, plugin};

fn main() -> ExitCode {
    let outcome = plugin::run().unwrap_or_else(|| weft_agent::cli::run(Cli::parse()));
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("weft: {error:#}");
            ExitCode::FAILURE
        }
    }
}
