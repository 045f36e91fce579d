//! `weft`: the node agent, the controller and the admin command line.

use std::process::ExitCode;

use clap::Parser;
use weft_agent::cli::Cli;

fn main() -> ExitCode {
    // Printing to a closed pipe (`weft get pods | head`) ends the program quietly, as of any Unix tool.
    weft_agent::cli::restore_sigpipe();
    match weft_agent::cli::run(Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("weft: {error:#}");
            ExitCode::FAILURE
        }
    }
}
