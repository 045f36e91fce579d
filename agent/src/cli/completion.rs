//! Completion: scripts for shells, and answers to kubectl.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Arg, Args, Command, CommandFactory as _};
use clap_complete::Shell;

use super::print;

/// Flags of `weft completion`.
#[derive(Args)]
pub struct Completion {
    /// Whose script to print
    #[arg(value_enum)]
    shell: Shell,
}

/// Prints the script.
pub fn run(args: &Completion) -> ExitCode {
    let mut command = super::Cli::command();
    // Whole at once, since the generator panics where nobody reads on.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "weft", &mut script);
    print::line(String::from_utf8_lossy(&script).trim_end());
    ExitCode::SUCCESS
}

/// Files are no candidates: what Cobra, which kubectl is made with, calls `ShellCompDirectiveNoFileComp`.
const DIRECTIVE: &str = ":4";

/// Prints what can follow, a line each, and what the shell is to do beside, as kubectl expects it of `kubectl_complete-NAME`.
pub fn answer(command: Command, words: &[OsString]) {
    for candidate in candidates(command, words) {
        print::line(&candidate);
    }
    print::line(DIRECTIVE);
}

/// What can stand in the place of the last word.
pub fn candidates(mut command: Command, words: &[OsString]) -> Vec<String> {
    command.build();
    let words: Vec<_> = words.iter().map(|it| it.to_string_lossy()).collect();
    let Some((last, before)) = words.split_last() else {
        return Vec::new();
    };
    let mut at = &command;
    let mut awaited: Option<&Arg> = None;
    for word in before {
        if awaited.take().is_some() {
            continue;
        }
        if word.starts_with('-') {
            awaited = flag(at, word).filter(|arg| arg.get_action().takes_values());
        } else if let Some(sub) = at.find_subcommand(word.as_ref()) {
            at = sub;
        } else if at.has_subcommands() {
            return Vec::new();
        }
    }
    let matching = |all: Vec<String>| {
        all.into_iter()
            .filter(|it| it.starts_with(last.as_ref()))
            .collect()
    };
    if let Some(arg) = awaited {
        return matching(values(arg));
    }
    if let Some((name, _)) = last.split_once('=')
        && let Some(arg) = flag(at, name)
    {
        return matching(
            values(arg)
                .iter()
                .map(|it| format!("{name}={it}"))
                .collect(),
        );
    }
    if last.starts_with('-') {
        let shown = at.get_arguments().filter(|arg| !arg.is_hide_set());
        return matching(
            shown
                .filter_map(|arg| Some(format!("--{}", arg.get_long()?)))
                .collect(),
        );
    }
    let shown = at
        .get_subcommands()
        .filter(|it| !it.is_hide_set() && it.get_name() != "help");
    matching(shown.map(|it| it.get_name().to_owned()).collect())
}

fn flag<'a>(command: &'a Command, word: &str) -> Option<&'a Arg> {
    command
        .get_arguments()
        .find(|arg| match word.strip_prefix("--") {
            Some(long) => arg.get_long() == Some(long),
            None => {
                word.strip_prefix('-').and_then(|it| it.parse().ok()) == arg.get_short()
                    && arg.get_short().is_some()
            }
        })
}

fn values(arg: &Arg) -> Vec<String> {
    let values = arg.get_possible_values().into_iter();
    values.map(|it| it.get_name().to_owned()).collect()
}
