//! Making the namespace.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CpuSet, sched_getaffinity};
use nix::unistd::Pid;

use super::error::fail;
use super::{Found, IPROUTE, KubensError, Place, name, open};
use crate::{MountNs, Mounts, pin};

/// What a start found or made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Started {
    /// The namespace, as `mnt:[4026531841]`.
    pub namespace: String,
    /// Whether it was made now; else it was there and was kept.
    pub new: bool,
    /// What is not as it should be and was left so.
    pub warnings: Vec<String>,
}

impl Place {
    /// Makes and pins the namespace, or keeps the one that is pinned: a second one would part those who start now from
    /// those who run. The environment file is written in both cases. A failure leaves no mount.
    pub fn start(&self) -> Result<Started, KubensError> {
        self.on_host(|| self.start_here())
    }

    fn start_here(&self) -> Result<Started, KubensError> {
        let directory = self.directory();
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o755);
        builder
            .create(directory)
            .map_err(fail("create folder", directory))?;
        let _lock = lock(directory)?;
        let path = self.pin();
        let mut warnings = Vec::new();
        let pins = Mounts::here()?.namespaces_at(&path);
        let (namespace, new) = match Found::of(pins, false) {
            Found::Mismatched(found) => return Err(KubensError::Taken { path, found }),
            Found::Nothing | Found::Stale => {
                share_names(None, &mut warnings)?;
                (self.create()?, true)
            }
            found @ (Found::Valid(_) | Found::Stacked(_)) => {
                if let Found::Stacked(all) = &found {
                    let (path, count) = (path.display(), all.len());
                    warnings.push(format!(
                        "{count} namespaces are pinned on top of each other at {path}; the last one counts, and who was \
                         started before it is in another: stop and start once nobody is inside"
                    ));
                }
                share_names(open(&path)?.as_ref(), &mut warnings)?;
                (found.joined().unwrap_or_default().to_owned(), false)
            }
        };
        self.write_env()?;
        Ok(Started {
            namespace,
            new,
            warnings,
        })
    }

    fn create(&self) -> Result<String, KubensError> {
        let bound = bind_onto_itself(self.directory())?;
        let made = self.create_pinned();
        if made.is_err() && bound {
            undo(self.directory());
        }
        made
    }

    fn create_pinned(&self) -> Result<String, KubensError> {
        let path = self.pin();
        match pin::create(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let found = fs::symlink_metadata(&path).map_err(fail("look at", &path))?;
                if !found.is_file() || found.len() > 0 {
                    let found = "something else than an empty file".to_owned();
                    return Err(KubensError::Taken { path, found });
                }
            }
            made => made.map_err(fail("create", &path))?,
        }
        // A pin is taken only in an older namespace, and from Linux 6.18 on each CPU numbers them from a batch of its own:
        // on the one where this namespace was made, every new one is younger.
        let mut refused = None;
        for cpu in cpus() {
            let (ns, ()) = MountNs::create_encapsulated(Some(cpu), || ())?;
            match ns.pin_on(&path) {
                Ok(()) => return Ok(name(&ns)),
                Err(error) if error.errno() == Some(Errno::EINVAL) => refused = Some(error),
                Err(error) => return Err(error.into()),
            }
        }
        Err(refused.map_or_else(
            || fail("find a CPU to work on for", &path)(Errno::EINVAL.into()),
            KubensError::from,
        ))
    }

    fn write_env(&self) -> Result<(), KubensError> {
        let path = self.env();
        let beside = self.directory().join(".env.new");
        let text = format!("KUBENSMNT={}\n", self.pin().display());
        fs::write(&beside, text)
            .and_then(|()| fs::rename(&beside, &path))
            .map_err(fail("write", path))
    }
}

/// One start or stop at a time.
pub(super) fn lock(directory: &Path) -> Result<File, KubensError> {
    let file = File::open(directory).map_err(fail("open", directory))?;
    file.lock().map_err(fail("lock", directory))?;
    Ok(file)
}

fn cpus() -> Vec<usize> {
    let allowed = sched_getaffinity(Pid::from_raw(0)).unwrap_or_else(|_| CpuSet::new());
    let cpus = 0..CpuSet::count();
    cpus.filter(|cpu| allowed.is_set(*cpu).unwrap_or(false))
        .collect()
}

/// Whether it was not a mount point before.
fn bind_onto_itself(directory: &Path) -> Result<bool, KubensError> {
    let none: Option<&str> = None;
    let failed = |call, source: Errno| fail(call, directory)(source.into());
    let new = !Mounts::here()?.is_mount_point(directory);
    if new {
        mount(Some(directory), directory, none, MsFlags::MS_BIND, none)
            .map_err(|source| failed("bind onto itself", source))?;
    }
    mount(none, directory, none, MsFlags::MS_UNBINDABLE, none).map_err(|source| {
        if new {
            undo(directory);
        }
        failed("make unbindable", source)
    })?;
    Ok(new)
}

/// The failure that led here is the one to report.
fn undo(directory: &Path) {
    umount2(directory, MntFlags::MNT_DETACH).unwrap_or_default();
}

/// Makes `/run/netns` a shared mount before the namespace is made: later the first `ip netns add` on the host would do it,
/// and that mount would come in and lie over what is pinned there inside. For the same reason it is not done any more
/// where something is pinned inside already.
fn share_names(inside: Option<&MountNs>, warnings: &mut Vec<String>) -> Result<(), KubensError> {
    let directory = Path::new(IPROUTE);
    if let Some(inside) = inside
        && !Mounts::here()?.is_mount_point(directory)
        && inside.run(Mounts::here)??.has_namespaces_below(directory)
    {
        warnings.push(format!(
            "{IPROUTE} is no mount point on the host, and network namespaces are pinned there inside: the first \"ip netns \
             add\" on the host will hide them; restart the node, or end all pods and restart this service"
        ));
        return Ok(());
    }
    pin::share(directory).map_err(|(call, source)| {
        let path = directory.to_owned();
        KubensError::File { call, path, source }
    })
}
