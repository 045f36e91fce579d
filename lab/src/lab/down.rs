//! Ending a lab. Collects errors where `up` stops at the first: as much as possible is removed.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::mount::{MntFlags, umount2};
use nix::sys::signal::Signal;
use weft_netns::NetNs;
use weft_wait::patience::patient;

use super::error::{Error, file};
use super::kubernetes::containers;
use super::name::{LabName, netns_path};
use super::process::end_inside;
use super::state::{Lock, State};
use super::underlay::remove_netns;

/// How long killed processes may take to disappear.
const END: Duration = Duration::from_secs(10);

/// Ends every process of the lab, removes its namespaces, mounts and files. Safe to repeat; false if there was no
/// such lab.
pub fn down(name: &LabName) -> Result<bool, Error> {
    let lock = Lock::take(name, patient(super::PATIENCE))?;
    let state = State::load(name)?;
    let existed = state.is_some() || name.dir().exists();
    down_locked(name, state.as_ref())?;
    lock.remove()?;
    Ok(existed)
}

/// [`down`] for a caller who holds the lock and keeps it.
pub(super) fn down_locked(name: &LabName, state: Option<&State>) -> Result<(), Error> {
    let mut left = Vec::new();
    let mut note = |result: Result<(), Error>| {
        if let Err(error) = result {
            left.push(error.to_string());
        }
    };
    if let Some(state) = state {
        let daemons: Vec<_> = state.daemons().flatten().collect();
        for daemon in &daemons {
            daemon.signal(Signal::SIGKILL);
        }
        for daemon in daemons {
            if !daemon.wait_end(patient(END)) {
                note(Err(Error::Invalid(format!(
                    "process {} does not end",
                    daemon.pid
                ))));
            }
            daemon.reap();
        }
        for left in containers::end(name, patient(END)) {
            note(Err(Error::Invalid(format!("{left} is still there"))));
        }
        // What the daemons started, what users run in pods, and a daemon that `up` did not live to write down.
        let ids: BTreeSet<_> = state
            .namespaces()
            .into_iter()
            .filter_map(|netns| NetNs::open(netns_path(netns)).ok())
            .map(|ns| ns.id())
            .collect();
        if !end_inside(&ids, patient(END)) {
            note(Err(Error::Invalid(
                "a process in one of its namespaces does not end".into(),
            )));
        }
        for netns in state.namespaces() {
            note(remove_netns(netns));
        }
    }
    note(remains(name));
    if left.is_empty() {
        Ok(())
    } else {
        Err(Error::Left {
            lab: name.clone(),
            left,
        })
    }
}

/// Unmounts and removes the lab's directory, whatever is in it.
pub(super) fn remains(name: &LabName) -> Result<(), Error> {
    let dir = name.dir();
    for mounted in mounts_below(&dir)? {
        umount2(&mounted, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW)
            .map_err(|errno| file("unmount", &mounted)(errno.into()))?;
    }
    // The state goes last: as long as it is there, a `down` that was interrupted can be repeated.
    let state = name.state();
    let entries = match fs::read_dir(&dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(file("list", &dir)(error)),
    };
    for path in entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| *path != state)
    {
        let removed = if path.is_dir() && !path.is_symlink() {
            fs::remove_dir_all(&path)
        } else {
            fs::remove_file(&path)
        };
        removed.map_err(file("remove", &path))?;
    }
    fs::remove_dir_all(&dir).map_err(file("remove", &dir))
}

/// Mount points below a directory, the last mounted first.
fn mounts_below(dir: &Path) -> Result<Vec<PathBuf>, Error> {
    let table = Path::new("/proc/self/mountinfo");
    let text = fs::read_to_string(table).map_err(file("read", table))?;
    // proc(5): the fifth field is the mount point. Lab paths have no character that would be escaped.
    let points = text
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(PathBuf::from);
    let mut below: Vec<PathBuf> = points.filter(|point| point.starts_with(dir)).collect();
    below.reverse();
    Ok(below)
}
