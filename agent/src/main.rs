//! `weft`: the node agent, the controller and the admin command line.

use std::process::ExitCode;

use clap::Parser;
use weft_agent::cli::Cli;

fn main() -> ExitCode {
    match weft_agent::cli::run(Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("weft: {error:#}");
            ExitCode::FAILURE
        }
    }
}
