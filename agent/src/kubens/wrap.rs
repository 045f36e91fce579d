//! The drop-in that starts a service inside: `kubensenter` before each command of `ExecStart=`.
//!
//! As `mkWrapperDropin` of containers/kubensmnt means it; systemd's prefixes stay where systemd looks for them, and every
//! command of a `oneshot` is wrapped.

mod command;

use std::fmt::Write as _;
use std::path::Path;

use self::command::{Command, parse};
use super::unit::Unit;

/// Name of the drop-in, which comes after those of others.
pub const DROP_IN: &str = "99-kubens-wrapper.conf";
/// What setns(2) wants of who enters a mount namespace.
const CAPABILITIES: [&str; 2] = ["CAP_SYS_ADMIN", "CAP_SYS_CHROOT"];
/// Settings for which systemd makes a mount namespace, which the service leaves again.
const LOST: [&str; 19] = [
    "PrivateMounts",
    "PrivateTmp",
    "PrivateDevices",
    "ProtectSystem",
    "ProtectHome",
    "ProtectKernelTunables",
    "ProtectKernelModules",
    "ProtectKernelLogs",
    "ProtectControlGroups",
    "ProtectProc",
    "ReadOnlyPaths",
    "ReadWritePaths",
    "InaccessiblePaths",
    "NoExecPaths",
    "BindPaths",
    "BindReadOnlyPaths",
    "TemporaryFileSystem",
    "MountFlags",
    "LoadCredential",
];

/// Why a service is not wrapped.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nothing that a drop-in could start elsewhere.
    #[error("{0}: it has no ExecStart=, so there is nothing to wrap")]
    NoCommand(String),
    /// Entering is for root.
    #[error(
        "{service}: it runs as {user}, and only root enters a mount namespace: prefix its ExecStart= with + or !, or \
         change its user"
    )]
    User {
        /// The service.
        service: String,
        /// `User=`, or `a dynamic user`.
        user: String,
    },
    /// `CapabilityBoundingSet=`.
    #[error(
        "{service}: its CapabilityBoundingSet= leaves out {capability}, which entering a mount namespace needs: add it"
    )]
    Capability {
        /// The service.
        service: String,
        /// What is missing.
        capability: &'static str,
    },
    /// A setting under which it cannot work.
    #[error("{service}: {setting}= {why}")]
    Setting {
        /// The service.
        service: String,
        /// Which.
        setting: &'static str,
        /// What it means here.
        why: &'static str,
    },
    /// A command that is not understood.
    #[error("{service}: {why} in ExecStart={command}")]
    Command {
        /// The service.
        service: String,
        /// The text.
        command: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A drop-in after ours.
    #[error(
        "{service}: {file} comes after {DROP_IN} and sets ExecStart=: give it a name that sorts before"
    )]
    Later {
        /// The service.
        service: String,
        /// The other's path.
        file: String,
    },
}

/// What becomes of a service.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Each of its commands enters by itself.
    Already,
    /// The text of the drop-in, and what the service loses by it.
    DropIn {
        /// The whole file.
        text: String,
        /// One sentence each.
        warnings: Vec<String>,
    },
}

/// Wraps what the service starts without our own drop-in.
pub fn wrap(unit: &Unit, kubensenter: &Path) -> Result<Outcome, Refusal> {
    let service = &unit.name;
    let is_own = |path: &Path| path.file_name().is_some_and(|name| name == DROP_IN);
    let others = Unit {
        name: service.clone(),
        files: unit
            .files
            .iter()
            .filter(|(path, _)| !is_own(path))
            .cloned()
            .collect(),
    };
    let values = others.values("Service", "ExecStart");
    let mut commands = Vec::new();
    for (_, value) in &values {
        commands.extend(parse(service, value)?);
    }
    if commands.is_empty() {
        return Err(Refusal::NoCommand(service.clone()));
    }
    if commands.iter().all(Command::is_wrapped) {
        return Ok(Outcome::Already);
    }
    let after = |path: &Path| {
        path.file_name()
            .is_some_and(|name| name > std::ffi::OsStr::new(DROP_IN))
    };
    let own_file = &others.files[0].0;
    if let Some((path, _)) = values
        .iter()
        .find(|(path, _)| path != own_file && after(path))
    {
        return Err(Refusal::Later {
            service: service.clone(),
            file: path.display().to_string(),
        });
    }
    may_enter(&others, &commands)?;
    let mut text = format!(
        "# Written by \"weft kubens\": {service} runs in the mount namespace of kubens.service.\n\
         [Unit]\nAfter=kubens.service\n\n[Service]\nExecStart=\n"
    );
    for command in &commands {
        let line = command.wrapped(kubensenter);
        writeln!(text, "ExecStart={line}").unwrap_or_default();
    }
    let lost = LOST
        .iter()
        .filter(|key| others.value("Service", key).is_some_and(|it| !is_no(&it)));
    let warnings = lost.map(|key| {
        format!("{service}: {key}= has no effect any more: systemd makes a mount namespace for it, which the service leaves")
    });
    Ok(Outcome::DropIn {
        text,
        warnings: warnings.collect(),
    })
}

fn is_no(value: &str) -> bool {
    ["no", "false", "off", "n", "f", "0"].contains(&value.to_ascii_lowercase().as_str())
}

fn is_yes(value: &str) -> bool {
    ["yes", "true", "on", "y", "t", "1"].contains(&value.to_ascii_lowercase().as_str())
}

fn may_enter(unit: &Unit, commands: &[Command<'_>]) -> Result<(), Refusal> {
    let service = &unit.name;
    let setting = |setting, why| Refusal::Setting {
        service: service.clone(),
        setting,
        why,
    };
    for key in ["RootDirectory", "RootImage"] {
        if unit.value("Service", key).is_some_and(|root| root != "/") {
            return Err(setting(
                key,
                "gives it a root of its own, which it would leave",
            ));
        }
    }
    if unit
        .value("Service", "RestrictNamespaces")
        .is_some_and(|it| forbids_mount(&it))
    {
        return Err(setting(
            "RestrictNamespaces",
            "forbids entering a mount namespace: allow mnt",
        ));
    }
    if commands.iter().all(Command::is_privileged) {
        return Ok(());
    }
    let dynamic = unit
        .value("Service", "DynamicUser")
        .is_some_and(|it| is_yes(&it));
    let user = unit
        .value("Service", "User")
        .filter(|user| user != "root" && user != "0");
    if let Some(user) = user.or(dynamic.then(|| "a dynamic user".into())) {
        return Err(Refusal::User {
            service: service.clone(),
            user,
        });
    }
    let sets = unit.written("Service", "CapabilityBoundingSet");
    match CAPABILITIES
        .into_iter()
        .find(|capability| !has(&sets, capability))
    {
        // `+` lifts it, `!` does not.
        Some(capability) if !commands.iter().all(|it| it.prefixes.contains('+')) => {
            Err(Refusal::Capability {
                service: service.clone(),
                capability,
            })
        }
        _ => Ok(()),
    }
}

/// systemd.exec(5): yes, or a list of what is allowed, or of what is not after `~`.
fn forbids_mount(value: &str) -> bool {
    let lists = |list: &str| list.split_whitespace().any(|it| it == "mnt");
    match value.strip_prefix('~') {
        _ if is_no(value) => false,
        _ if is_yes(value) => true,
        Some(forbidden) => lists(forbidden),
        None => !lists(value),
    }
}

/// systemd.exec(5): lists add up, `~` takes away, the first `~` from all; an empty one leaves nothing.
fn has(sets: &[String], capability: &str) -> bool {
    let lists = |list: &str| {
        list.split_whitespace()
            .any(|it| it.eq_ignore_ascii_case(capability))
    };
    let mut has = None;
    for set in sets {
        has = match set.strip_prefix('~') {
            Some(without) => Some(has.unwrap_or(true) && !lists(without)),
            None if set.is_empty() => Some(false),
            None => Some(has.unwrap_or(false) || lists(set)),
        };
    }
    has.unwrap_or(true)
}

#[cfg(test)]
mod tests;
