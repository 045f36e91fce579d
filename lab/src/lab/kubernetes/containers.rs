//! Containers outlive their runtime, and the pods' namespaces have no names outside the node's own. What tells whose a
//! process is are its mounts: some of them are folders of the lab.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::lab::LabName;
use crate::lab::process::Process;

const CGROUPS: &str = "/sys/fs/cgroup";
/// Where containerd has the containers of a kubelet; other labs' are there, too.
const PARENT: &str = "k8s.io";

/// Ends every process of the lab's nodes and removes the containers' cgroups; what is left after `patience`.
pub fn end(lab: &LabName, patience: Duration) -> Vec<String> {
    let mut cgroups = BTreeSet::new();
    let deadline = Instant::now() + patience;
    loop {
        let found = processes(lab);
        for process in &found {
            cgroups.extend(cgroups_of(*process));
            process.signal(Signal::SIGKILL);
        }
        // A cgroup stays for a moment after its last process.
        cgroups.retain(|folder| fs::remove_dir(folder).is_err() && folder.exists());
        if (found.is_empty() && cgroups.is_empty()) || Instant::now() >= deadline {
            remove_parents();
            let left = found
                .iter()
                .map(|process| format!("process {}", process.pid));
            let folders = cgroups.iter().map(|path| path.display().to_string());
            return left.chain(folders).collect();
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Removes the cgroups that held those of the containers, if no other lab has any.
fn remove_parents() {
    let hierarchies = fs::read_dir(CGROUPS).into_iter().flatten().flatten();
    for hierarchy in hierarchies {
        // Not empty, or never there.
        drop(fs::remove_dir(hierarchy.path().join(PARENT)));
    }
}

/// Every process with a mount whose root, in its file system, is below the lab's folder. Bind mounts have that, and all
/// containers have some of the kubelet's or the runtime's files.
fn processes(lab: &LabName) -> Vec<Process> {
    let own = std::process::id().cast_signed();
    let dir = lab.dir();
    // The root is told from that of the file system, which may be that of /run.
    let marks = [dir.as_path(), dir.strip_prefix("/run").unwrap_or(&dir)];
    let marks = marks.map(|path| format!("/{}/", path.display().to_string().trim_matches('/')));
    let numbers = fs::read_dir("/proc").into_iter().flatten().flatten();
    numbers
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| *pid != own)
        .filter_map(|pid| {
            let process = Process::of_pid(pid)?;
            let mounts = fs::read_to_string(format!("/proc/{pid}/mountinfo")).ok()?;
            // proc(5): the fourth field.
            let mut roots = mounts.lines().filter_map(|line| line.split(' ').nth(3));
            let is_own = roots.any(|root| marks.iter().any(|mark| root.starts_with(mark)));
            (is_own && process.is_alive()).then_some(process)
        })
        .collect()
}

/// A container's cgroup in each hierarchy.
fn cgroups_of(process: Process) -> Vec<PathBuf> {
    let text = fs::read_to_string(format!("/proc/{}/cgroup", process.pid)).unwrap_or_default();
    let found = text.lines().filter_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (names, path) = (fields.next()?, fields.next()?.trim_start_matches('/'));
        let hierarchy = match names {
            "" => "unified",
            names => names.trim_start_matches("name="),
        };
        let own = path.strip_prefix(PARENT)?.trim_start_matches('/');
        (!own.is_empty()).then(|| Path::new(CGROUPS).join(hierarchy).join(PARENT).join(own))
    });
    found.filter(|path| path.is_dir()).collect()
}
