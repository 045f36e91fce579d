//! `weft-cni`: the CNI plugin. It asks the agent, which does the work.

use std::process::ExitCode;

use weft_agent::cni::plugin;

fn main() -> ExitCode {
    let (input, output) = (std::io::stdin().lock(), std::io::stdout().lock());
    plugin::run(|name| std::env::var_os(name), input, output).into()
}
