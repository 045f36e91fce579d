//! What is mounted in a process' mount namespace: `/proc/PID/mountinfo` (proc(5)), which everybody may read.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use procfs_core::process::{MountInfo, MountOptFields};

/// The mounts could not be read.
#[derive(Debug, thiserror::Error)]
pub enum MountsError {
    /// The process is gone, or there is no `/proc`.
    #[error("read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A line is not what proc(5) says.
    #[error("{}: {reason}: {line}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line.
        line: String,
        /// What is wrong.
        reason: String,
    },
}

/// The mounts of one namespace.
#[derive(Clone, Debug)]
pub struct Mounts(Vec<MountInfo>);

impl Mounts {
    /// Of the calling thread.
    pub fn here() -> Result<Self, MountsError> {
        Self::read("/proc/thread-self/mountinfo")
    }

    /// Of a process.
    pub fn of(pid: u32) -> Result<Self, MountsError> {
        Self::read(&format!("/proc/{pid}/mountinfo"))
    }

    fn read(path: &str) -> Result<Self, MountsError> {
        let text = fs::read_to_string(path).map_err(|source| MountsError::Read {
            path: path.into(),
            source,
        })?;
        Self::parse(&text).map_err(|(line, reason)| MountsError::Line {
            path: path.into(),
            line,
            reason,
        })
    }

    /// Fails with the line and what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, (String, String)> {
        let lines = text.lines().map(|line| {
            MountInfo::from_line(line).map_err(|error| (line.to_owned(), error.to_string()))
        });
        lines.collect::<Result<_, _>>().map(Self)
    }

    /// What is mounted on a path, the lowest first.
    fn at(&self, path: &Path) -> Vec<&MountInfo> {
        let escaped = escape(path);
        let mut found: Vec<_> = self.0.iter().collect();
        found.retain(|mount| mount.mount_point == escaped);
        // Each one but the lowest has the one below as its parent.
        let mut sorted = Vec::new();
        let mut below = found
            .iter()
            .position(|mount| found.iter().all(|other| mount.pid != other.mnt_id));
        while let Some(index) = below {
            let mount = found.remove(index);
            below = found.iter().position(|other| other.pid == mount.mnt_id);
            sorted.push(mount);
        }
        sorted
    }

    /// Whether both have a mount in common, and so are of one namespace.
    pub fn have_one_of(&self, other: &Self) -> bool {
        let mut ids = self.0.iter().map(|mount| mount.mnt_id);
        other
            .0
            .first()
            .is_some_and(|mount| ids.any(|id| id == mount.mnt_id))
    }

    /// Whether something is mounted on a path.
    pub fn is_mount_point(&self, path: &Path) -> bool {
        !self.at(path).is_empty()
    }

    /// Whether the uppermost mount on a path is unbindable.
    pub fn is_unbindable(&self, path: &Path) -> bool {
        self.at(path).last().is_some_and(|mount| {
            let mut options = mount.opt_fields.iter();
            options.any(|option| matches!(option, MountOptFields::Unbindable))
        })
    }

    /// Whether the uppermost mount on a path takes mounts over from another namespace (`master:`), and whether it passes
    /// them on (`shared:`). `None` if nothing is mounted there.
    pub fn propagation(&self, path: &Path) -> Option<(bool, bool)> {
        let at = self.at(path);
        let options = &at.last()?.opt_fields;
        let slave = |option: &MountOptFields| matches!(option, MountOptFields::Master(_));
        let shared = |option: &MountOptFields| matches!(option, MountOptFields::Shared(_));
        Some((options.iter().any(slave), options.iter().any(shared)))
    }

    /// The namespaces mounted on a file, the uppermost last: `mnt:[4026531841]`, as `readlink /proc/PID/ns/mnt` shows them.
    pub fn namespaces_at(&self, path: &Path) -> Vec<String> {
        let nsfs = self.at(path).into_iter();
        let nsfs = nsfs.filter(|mount| mount.fs_type == "nsfs");
        nsfs.map(|mount| mount.root.clone()).collect()
    }

    /// Whether a namespace is mounted on a file right below a directory.
    pub fn has_namespaces_below(&self, directory: &Path) -> bool {
        let escaped = escape(directory);
        let mut mounts = self.0.iter();
        mounts.any(|mount| {
            mount.fs_type == "nsfs" && mount.mount_point.parent() == Some(escaped.as_path())
        })
    }
}

/// As the kernel writes a path there (`mangle_path`).
fn escape(path: &Path) -> PathBuf {
    let mut text = path.to_string_lossy().into_owned();
    for (character, octal) in [
        ("\\", "\\134"),
        (" ", "\\040"),
        ("\t", "\\011"),
        ("\n", "\\012"),
    ] {
        text = text.replace(character, octal);
    }
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
22 1 0:20 / /run rw,nosuid shared:5 master:1 - tmpfs tmpfs rw
50 22 0:20 /kubens /run/kubens rw unbindable - tmpfs tmpfs rw
61 60 0:4 mnt:[4026532002] /run/kubens/mnt rw - nsfs nsfs rw
60 50 0:4 mnt:[4026532001] /run/kubens/mnt rw - nsfs nsfs rw
70 22 0:4 net:[4026532003] /run/a\\040b/c\\134d rw shared:9 - nsfs nsfs rw
";

    #[test]
    fn pins_are_listed_from_the_lowest_up_whatever_the_order_of_lines() {
        let mounts = Mounts::parse(TEXT).unwrap();
        let pins = mounts.namespaces_at(Path::new("/run/kubens/mnt"));
        assert_eq!(pins, ["mnt:[4026532001]", "mnt:[4026532002]"]);
        let pins = mounts.namespaces_at(Path::new("/run/a b/c\\d"));
        assert_eq!(pins, ["net:[4026532003]"]);
        assert!(mounts.has_namespaces_below(Path::new("/run/a b")));
        assert!(!mounts.has_namespaces_below(Path::new("/run/netns")));
    }

    #[test]
    fn propagation_is_read() {
        let mounts = Mounts::parse(TEXT).unwrap();
        let of = |path: &str| mounts.propagation(Path::new(path));
        assert_eq!(of("/run"), Some((true, true)));
        assert_eq!(of("/run/kubens"), Some((false, false)));
        assert_eq!(of("/run/other"), None);
        assert!(mounts.is_unbindable(Path::new("/run/kubens")));
        assert!(!mounts.is_unbindable(Path::new("/run")));
    }

    #[test]
    fn a_line_of_another_shape_is_named() {
        let (line, _) = Mounts::parse("22 1 0:20").unwrap_err();
        assert_eq!(line, "22 1 0:20");
    }
}
