//! In which mount namespaces the processes of this node are.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use weft_netns::kubens::{KubensError, Place};

use crate::kubens::judge::{Process, Role, Seen};

/// Looks at the pin, and at all processes that may be looked at: those of this network namespace alone, since a machine can
/// have nodes in containers. What cannot be seen, as from a container that does not share the host's processes, is left out.
pub fn look(place: &Place) -> Result<Seen, KubensError> {
    let found = place.look()?;
    let own = link("self", "net");
    let is_ours = |pid: &str| own.is_some() && link(pid, "net") == own;
    let mut processes = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(id) = name.to_str() else { continue };
        let Ok(pid) = id.parse() else { continue };
        let Some((role, name)) = role(id) else {
            continue;
        };
        if !is_ours(id) || (role == Role::Agent && !has_the_hosts_root(id)) {
            continue;
        }
        if let Some(namespace) = link(id, "mnt") {
            processes.push(Process {
                role,
                name,
                pid,
                namespace,
            });
        }
    }
    processes.sort();
    let host = is_ours("1").then(|| link("1", "mnt")).flatten();
    let pin = place.pin();
    Ok(Seen {
        pin,
        found,
        host,
        processes,
    })
}

/// `None` if it may not be read, or the process has ended.
fn link(pid: &str, kind: &str) -> Option<String> {
    let link = fs::read_link(format!("/proc/{pid}/ns/{kind}")).ok()?;
    link.into_os_string().into_string().ok()
}

fn role(pid: &str) -> Option<(Role, String)> {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    let name = name.trim_end();
    let role = match name {
        "kubelet" => Role::Kubelet,
        "crio" | "containerd" => Role::Runtime,
        "weft" => {
            let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
            let mut words = line.split(|byte| *byte == 0);
            words.any(|word| word == b"agent").then_some(Role::Agent)?
        }
        _ => return None,
    };
    Some((role, name.to_owned()))
}

/// A container has another root, and a mount namespace of its own whoever made it.
fn has_the_hosts_root(pid: &str) -> bool {
    let root = |pid: &str| {
        let found = fs::metadata(Path::new("/proc").join(pid).join("root")).ok()?;
        Some((found.dev(), found.ino()))
    };
    root(pid).is_some() && root(pid) == root("1")
}
