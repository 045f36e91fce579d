//! `weft-lab`: a whole cluster on one machine.

use std::process::ExitCode;

fn main() -> ExitCode {
    weft_lab::cli::main()
}
