//! `kubectl weft` and `kubectl pod-network`: this program under the names that kubectl looks for in the PATH, and under those
//! that it asks for completions.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::ExitCode;

use clap::{Command, CommandFactory as _, Parser, Subcommand};

use super::{cluster_status, completion, pod_network};

/// weft, the network of this cluster, as its administrator sees it
#[derive(Parser)]
#[command(
    bin_name = "kubectl weft",
    version,
    propagate_version = true,
    max_term_width = 100
)]
struct Weft {
    #[command(subcommand)]
    command: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Ask the agent of every node, and print a line for each (exit code 1 unless all are ready)
    Status(cluster_status::ClusterStatus),
    /// Join, isolate and open the networks of projects
    PodNetwork(pod_network::PodNetworkArgs),
}

/// Join, isolate and open the networks of projects
#[derive(Parser)]
#[command(
    bin_name = "kubectl pod-network",
    version,
    propagate_version = true,
    max_term_width = 100
)]
struct PodNetwork {
    #[command(flatten)]
    args: pod_network::PodNetworkArgs,
}

/// Runs what this program was called as; `None` if that is no name of a plugin.
pub fn run() -> Option<anyhow::Result<ExitCode>> {
    let mut args = std::env::args_os();
    let program = args.next()?;
    let name = Path::new(&program).file_name().and_then(OsStr::to_str)?;
    match name {
        "kubectl-weft" => Some(match Weft::parse().command {
            Verb::Status(args) => cluster_status::run(&args),
            Verb::PodNetwork(args) => pod_network::run(&args),
        }),
        "kubectl-pod_network" => Some(pod_network::run(&PodNetwork::parse().args)),
        _ => {
            let command = completed(name)?;
            let args: Vec<OsString> = args.collect();
            completion::answer(command, &args);
            Some(Ok(ExitCode::SUCCESS))
        }
    }
}

/// The plugin that a program of this name completes.
fn completed(name: &str) -> Option<Command> {
    match name.strip_prefix("kubectl_complete-")? {
        "weft" => Some(Weft::command()),
        "pod_network" => Some(PodNetwork::command()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_lines_are_consistent() {
        Weft::command().debug_assert();
        PodNetwork::command().debug_assert();
    }

    #[test]
    fn kubectl_gets_what_can_follow() {
        let of = |plugin: &str, words: &[&str]| {
            let words: Vec<OsString> = words.iter().map(Into::into).collect();
            completion::candidates(completed(plugin).unwrap(), &words)
        };
        let weft = "kubectl_complete-weft";
        assert_eq!(of(weft, &[""]), ["status", "pod-network"]);
        assert_eq!(of(weft, &["st"]), ["status"]);
        assert_eq!(of(weft, &["status", "--name"]), ["--namespace"]);
        assert_eq!(of(weft, &["status", "-o", ""]), ["table", "json"]);
        assert_eq!(of(weft, &["status", "--output", "j"]), ["json"]);
        assert_eq!(of(weft, &["status", "--output=j"]), ["--output=json"]);
        assert_eq!(
            of(weft, &["status", "--context", "x", "--kube"]),
            ["--kubeconfig"]
        );
        assert_eq!(of(weft, &["pod-network", "i"]), ["isolate-projects"]);
        let pod_network = "kubectl_complete-pod_network";
        assert_eq!(of(pod_network, &["join"]), ["join-projects"]);
        assert_eq!(
            of(pod_network, &["join-projects", "--t"]),
            ["--to", "--timeout"]
        );
        assert!(of(pod_network, &["unknown", ""]).is_empty());
        assert!(completed("kubectl_complete-other").is_none());
    }
}
