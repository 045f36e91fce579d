//! Another network plugin on the node.

use std::io::ErrorKind;
use std::path::Path;

use super::{Check, State};
use crate::install;

const NAME: &str = "CNI configuration";

pub(super) fn check(dir: &Path) -> Check {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let message = format!(
                "{} is not there yet; weft install-cni makes it",
                dir.display()
            );
            return Check::new(NAME, State::Ok, message);
        }
        Err(error) => {
            return Check::new(
                NAME,
                State::Warning,
                format!("read {}: {error}", dir.display()),
            );
        }
    };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    judge(dir, names.collect())
}

/// Runtimes take the first file by name among those that end like a configuration.
pub(super) fn judge(dir: &Path, mut names: Vec<String>) -> Check {
    names.retain(|name| {
        let extension = Path::new(name).extension();
        extension.is_some_and(|it| it == "conf" || it == "conflist" || it == "json")
    });
    names.sort();
    let dir = dir.display();
    let others = names.iter().filter(|name| *name != install::CONFIGURATION);
    let others: Vec<&str> = others.map(String::as_str).collect();
    let Some(first) = others.first() else {
        return Check::new(NAME, State::Ok, format!("no other network plugin in {dir}"));
    };
    let list = others.join(", ");
    let message = if *first < install::CONFIGURATION {
        format!(
            "{dir} has {list}, and the runtime takes {first} in the place of {}: pods would not come to weft; remove the \
             other plugin and its file",
            install::CONFIGURATION
        )
    } else {
        format!(
            "{dir} has {list} of another network plugin, which comes after {}: pods that it attached stay outside weft \
             until they are made anew; remove the other plugin and its file",
            install::CONFIGURATION
        )
    };
    Check::new(NAME, State::Warning, message)
}
