//! Commands inside a lab's namespaces.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use weft_netns::{CommandNs as _, MountNs, NetNs};

use super::error::{Error, file};
use super::name::{LabName, netns_path};

/// A command that will run in a network namespace, with `/sys` as seen from there and, if the lab has name servers,
/// the lab's `/etc/resolv.conf`: what `ip netns exec` does, without files under `/etc/netns`.
pub fn command(lab: &LabName, netns: &str, program: impl AsRef<OsStr>) -> Result<Command, Error> {
    let net = NetNs::open(netns_path(netns))?;
    let resolver = lab.resolv_conf();
    let (private, mounted) = MountNs::create_private(|| -> Result<(), Error> {
        let none: Option<&str> = None;
        let sys = Path::new("/sys");
        // sysfs shows the network namespace of the thread that mounts it.
        net.run(|| mount(Some("sysfs"), sys, Some("sysfs"), MsFlags::empty(), none))?
            .map_err(|errno| file("mount sysfs on", sys)(errno.into()))?;
        match mount(
            Some(&resolver),
            "/etc/resolv.conf",
            none,
            MsFlags::MS_BIND,
            none,
        ) {
            Ok(()) => Ok(()),
            Err(Errno::ENOENT) if !resolver.exists() => Ok(()),
            Err(errno) => Err(file("bind on /etc/resolv.conf", &resolver)(errno.into())),
        }
    })?;
    mounted?;
    let mut command = Command::new(program);
    command.net_ns(&net)?.mount_ns(&private)?;
    Ok(command)
}
