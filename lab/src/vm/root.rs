//! The root file system: Debian 12, made from packages, for every kernel the same.

use std::fs;
use std::path::PathBuf;

use sha2::{Digest as _, Sha256};

use super::apt::{self, Suite};
use super::error::file;
use super::tool::{find, run, tool};
use super::{Cache, Error, Say, disk};

/// What weft and its lab need at run time, and what somebody who looks around would miss.
const PACKAGES: &[&str] = &[
    "bind9-dnsutils",
    "busybox-static",
    "conntrack",
    "dbus",
    "dnsmasq-base",
    "ethtool",
    "iproute2",
    "iptables",
    "iputils-ping",
    "jq",
    "kmod",
    "knot",
    "less",
    "nftables",
    "procps",
    "strace",
    "systemd-sysv",
    "tcpdump",
    "udev",
    "zstd",
];
const SUITES: [Suite; 3] = [
    "debian bookworm",
    "debian bookworm-updates",
    "debian-security bookworm-security",
];
/// Run on the host with the root as `$1`. Nothing starts by itself but what the machine is for; root needs no password
/// on the console.
const CUSTOMIZE: &str = r#"set -e
chroot "$1" passwd --quiet --delete root
mkdir -p "$1/weft" "$1/usr/lib/modules"
echo weft-vm > "$1/etc/hostname"
printf '127.0.0.1 localhost weft-vm\n::1 localhost\n' > "$1/etc/hosts"
: > "$1/etc/machine-id"
for unit in knot.service apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer \
    e2scrub_all.timer e2scrub_reap.service fstrim.timer systemd-networkd-wait-online.service; do
    ln -sf /dev/null "$1/etc/systemd/system/$unit"
done
rm -rf "$1"/var/cache/apt/archives/*.deb "$1"/var/lib/apt/lists/*_* "$1"/usr/share/doc/* "$1"/usr/share/locale/*
"#;
/// Room for what a run writes.
const ROOM: u64 = 1 << 30;

/// Its image in the cache, if it is there.
pub fn cached(cache: &Cache) -> Option<PathBuf> {
    let image = cache.path(name()).join("root.ext4");
    image.is_file().then_some(image)
}

/// Its image, made if the cache has none (`update`: made anew, with the packages of today).
pub fn fetch(cache: &Cache, update: bool, say: Say<'_>) -> Result<PathBuf, Error> {
    if update {
        let _lock = cache.lock(&name())?;
        super::cache::remove(&cache.path(name()))?;
    }
    let directory = cache.fill(&name(), |new| {
        if !nix::unistd::geteuid().is_root() {
            return Err(Error::NotRoot(new.join("root.ext4")));
        }
        say("root file system: making Debian 12 of its packages, about a minute");
        let (sources, script, tree) = (
            new.join("sources.list"),
            new.join("customize"),
            new.join("tree"),
        );
        for (path, text) in [
            (&sources, apt::sources(&SUITES)?),
            (&script, CUSTOMIZE.into()),
        ] {
            fs::write(path, text).map_err(file("write", path))?;
        }
        // In a mount namespace of its own: what mmdebstrap mounts goes with it, however it ends.
        let mut command = tool("unshare", "util-linux")?;
        command
            .arg("--mount")
            .arg(find("mmdebstrap", "mmdebstrap")?)
            .args([
                "--quiet",
                "--mode=root",
                "--variant=minbase",
                "--format=directory",
            ])
            .arg("--architectures=amd64")
            .arg(format!("--include={}", PACKAGES.join(",")))
            .arg(format!("--customize-hook=sh {} \"$1\"", script.display()))
            .args(["bookworm".as_ref(), tree.as_os_str(), sources.as_os_str()]);
        run(&mut command)?;
        say("root file system: writing its image");
        disk::ext4(&tree, &new.join("root.ext4"), ROOM)?;
        fs::remove_dir_all(&tree).map_err(file("remove", &tree))
    })?;
    Ok(directory.join("root.ext4"))
}

/// Named by its recipe: another recipe is another root.
fn name() -> String {
    let recipe = format!("{PACKAGES:?} {SUITES:?} {CUSTOMIZE} {ROOM}");
    let hash = Sha256::digest(recipe.as_bytes());
    let hash: Vec<_> = hash
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("roots/{}", hash.concat())
}
