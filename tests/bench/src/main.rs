//! `weft-bench`: weft and its peers, measured side by side in one run.

use std::process::ExitCode;

fn main() -> ExitCode {
    weft_bench::main()
}
