//! What a node of a real cluster sees of the machine: a mount namespace in which the folders that belong to a node are
//! the node's own.

use std::fs;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use weft_netns::{MountNs, NetNs};

use crate::lab::LabName;
use crate::lab::error::{Error, file};
use crate::lab::name::{Place, netns_path};
use crate::lab::state::Node;

/// Kernel settings that a kubelet writes if they differ. They are the whole machine's, so each node sees a file of its own
/// that has them already.
const TUNABLES: [(&str, &str); 6] = [
    ("vm/overcommit_memory", "1"),
    ("vm/panic_on_oom", "0"),
    ("kernel/panic", "10"),
    ("kernel/panic_on_oops", "1"),
    ("kernel/keys/root_maxkeys", "1000000"),
    ("kernel/keys/root_maxbytes", "25000000"),
];
/// Folders of a node's own below `/var`.
const VAR: [&str; 8] = [
    "lib/kubelet",
    "lib/containerd",
    "lib/cni",
    "lib/weft",
    "log/pods",
    "log/containers",
    "cache",
    "tmp",
];

/// Where a node finds the programs of Kubernetes.
pub const PROGRAMS: &str = "/run/kubernetes";
/// The folder of a node's own root folders, below its place.
pub fn root(place: &Place) -> PathBuf {
    place.dir().join("root")
}

/// Makes a node's folders and its mount namespace. Whoever holds the namespace (its daemons do) keeps the mounts.
pub fn make(lab: &LabName, node: &Node, programs: &Path) -> Result<MountNs, Error> {
    let place = lab.place(&node.name);
    let root = root(&place);
    let directory = |path: PathBuf| fs::create_dir_all(&path).map_err(file("create", &path));
    for own in [
        place.run(),
        place.state(),
        place.bpf_mount(),
        place.cni_conf(),
        place.cni_bin(),
        root.join("run/weft"),
        root.join("run/netns"),
        root.join("run/lock"),
        root.join("run/kubernetes"),
        root.join("opt/cni/bin"),
        root.join("etc/upper/cni/net.d"),
        root.join("etc/work"),
        root.join("proc"),
        root.join("cgroup"),
    ] {
        directory(own)?;
    }
    VAR.iter()
        .try_for_each(|own| directory(root.join("var").join(own)))?;
    let link = root.join("var/run");
    std::os::unix::fs::symlink("/run", &link).map_err(file("link", &link))?;
    let again = root.join("run").join(
        lab.dir()
            .strip_prefix("/run")
            .unwrap_or(Path::new("weft-lab")),
    );
    directory(again.clone())?;
    mount_bpf(&place)?;
    let net = NetNs::open(netns_path(&node.netns))?;
    let (space, mounted) = MountNs::create_private(|| -> Result<(), Error> {
        // The lab's own folder stays in sight below the node's /run.
        bind(&lab.dir(), &again)?;
        bind(programs, &root.join("run/kubernetes"))?;
        bind(&place.run(), &root.join("run/weft"))?;
        bind(&place.state(), &root.join("var/lib/weft"))?;
        bind(&place.cni_bin(), &root.join("opt/cni/bin"))?;
        sys(&net, &root)?;
        bind(&place.bpf_mount(), Path::new("/sys/fs/bpf"))?;
        for (name, value) in TUNABLES {
            let own = root.join("proc").join(name.replace('/', "."));
            fs::write(&own, format!("{value}\n")).map_err(file("write", &own))?;
            bind(&own, &Path::new("/proc/sys").join(name))?;
        }
        etc(&root)?;
        bind(&place.cni_conf(), Path::new("/etc/cni/net.d"))?;
        bind(&root.join("opt"), Path::new("/opt"))?;
        bind(&root.join("var"), Path::new("/var"))?;
        bind(&root.join("run"), Path::new("/run"))?;
        // Kubelet and runtime pass mounts on to containers and back. Last, or each bind above would have echoes.
        attempt(None, Path::new("/"), MsFlags::MS_REC | MsFlags::MS_SHARED)
    })?;
    mounted?;
    Ok(space)
}

fn mount_bpf(place: &Place) -> Result<(), Error> {
    let at = place.bpf_mount();
    mount(
        Some("bpf"),
        &at,
        Some("bpf"),
        MsFlags::empty(),
        Some("mode=0700"),
    )
    .map_err(|errno| file("mount a bpf file system on", &at)(errno.into()))
}

fn attempt(source: Option<&Path>, target: &Path, flags: MsFlags) -> Result<(), Error> {
    let none: Option<&str> = None;
    mount(source, target, none, flags, none).map_err(|errno| file("mount on", target)(errno.into()))
}

fn bind(source: &Path, target: &Path) -> Result<(), Error> {
    attempt(Some(source), target, MsFlags::MS_BIND | MsFlags::MS_REC)
}

/// `/sys` as seen from the node's network namespace, with the machine's cgroups, which a new one does not show.
fn sys(net: &NetNs, root: &Path) -> Result<(), Error> {
    let (sys, cgroups) = (Path::new("/sys"), Path::new("/sys/fs/cgroup"));
    let kept = root.join("cgroup");
    bind(cgroups, &kept)?;
    let none: Option<&str> = None;
    net.run(|| mount(Some("sysfs"), sys, Some("sysfs"), MsFlags::empty(), none))?
        .map_err(|errno| file("mount sysfs on", sys)(errno.into()))?;
    bind(&kept, cgroups)?;
    umount2(&kept, MntFlags::MNT_DETACH).map_err(|errno| file("unmount", &kept)(errno.into()))
}

/// The machine's `/etc`, what a node writes there kept apart.
fn etc(root: &Path) -> Result<(), Error> {
    let etc = Path::new("/etc");
    let options = format!(
        "lowerdir=/etc,upperdir={},workdir={}",
        root.join("etc/upper").display(),
        root.join("etc/work").display()
    );
    mount(
        Some("overlay"),
        etc,
        Some("overlay"),
        MsFlags::empty(),
        Some(options.as_str()),
    )
    .map_err(|errno| file("mount an overlay on", etc)(errno.into()))
}
