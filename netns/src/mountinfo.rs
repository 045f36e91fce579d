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

    /// The mounts on the way to a path, in the order in which a look-up crosses them. One that another mount hides, on it or
    /// on a folder above it, is not among them.
    fn way(&self, escaped: &Path) -> Vec<&MountInfo> {
        // Of the first one the parent is not listed, or it is its own: the root, or what a chroot(2) shows.
        let is_first = |mount: &MountInfo| {
            mount.pid == mount.mnt_id || self.0.iter().all(|other| other.mnt_id != mount.pid)
        };
        let follows = |mount: &MountInfo, below: Option<&&MountInfo>| match below {
            Some(below) => mount.pid == below.mnt_id && mount.mnt_id != below.mnt_id,
            None => is_first(mount),
        };
        let mut way: Vec<&MountInfo> = Vec::new();
        let mut folders: Vec<_> = escaped.ancestors().collect();
        folders.reverse();
        for folder in folders {
            let next = |way: &Vec<&MountInfo>| {
                let mut mounts = self.0.iter();
                mounts.find(|mount| mount.mount_point == folder && follows(mount, way.last()))
            };
            while let Some(mount) = next(&way) {
                way.push(mount);
            }
        }
        way
    }

    /// What is mounted on a path, the lowest first.
    fn at(&self, path: &Path) -> Vec<&MountInfo> {
        let escaped = escape(path);
        let mut way = self.way(&escaped);
        way.retain(|mount| mount.mount_point == escaped);
        way
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
        let way = self.way(&escaped);
        let here = way.last().map(|mount| mount.mnt_id);
        let mut mounts = self.0.iter();
        mounts.any(|mount| {
            mount.fs_type == "nsfs"
                && Some(mount.pid) == here
                && mount.mount_point.parent() == Some(escaped.as_path())
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
1 0 8:1 / / rw shared:1 - ext4 /dev/vda rw
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

    /// As `ip netns add` leaves it on a machine whose `/run` somebody mounts over in a namespace of his own.
    #[test]
    fn what_another_mount_hides_does_not_count() {
        let text = "\
1 0 8:1 / / rw - ext4 /dev/vda rw
22 1 0:20 / /run rw shared:5 - tmpfs tmpfs rw
30 22 0:20 /netns /run/netns rw shared:5 - tmpfs tmpfs rw
31 30 0:4 net:[1] /run/netns/a rw shared:6 - nsfs nsfs rw
40 22 0:21 / /run rw - tmpfs tmpfs rw
";
        let mounts = Mounts::parse(text).unwrap();
        let netns = Path::new("/run/netns");
        assert!(!mounts.is_mount_point(netns));
        assert!(!mounts.has_namespaces_below(netns));
        assert!(mounts.namespaces_at(Path::new("/run/netns/a")).is_empty());
        assert_eq!(mounts.propagation(Path::new("/run")), Some((false, false)));
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
