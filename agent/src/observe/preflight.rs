//! What must be there before anything is tried, each with its remedy.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use aya::programs::ProgramType;
use aya::sys::{BpfHelper, is_helper_supported};
use nix::sys::statfs::{BPF_FS_MAGIC, statfs};

use crate::bpf::JIT_REMEDY;

/// Something that the agent needs is missing.
#[derive(Debug, thiserror::Error)]
pub enum PreflightError {
    /// No bpffs where maps and programs are to be pinned.
    #[error("bpfDir {}: {} is not on a BPF file system: mount one there (mount -t bpf bpf {})", dir.display(), parent.display(), parent.display())]
    NoBpffs {
        /// Configured.
        dir: PathBuf,
        /// Where it should be mounted.
        parent: PathBuf,
    },
    /// The parent cannot be looked at.
    #[error("bpfDir {}: {}: {source}: create it and mount a BPF file system there (mkdir -p {} && mount -t bpf bpf {})", dir.display(), parent.display(), parent.display(), parent.display())]
    NoParent {
        /// Configured.
        dir: PathBuf,
        /// Where it should be mounted.
        parent: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A privilege.
    #[error(
        "the agent lacks {capability}, which it needs to {what}: run it as root, or grant the capability (systemd: AmbientCapabilities=, Kubernetes: securityContext.capabilities.add)"
    )]
    Capability {
        /// Its name.
        capability: &'static str,
        /// What for.
        what: &'static str,
    },
    /// The kernel lacks what the programs call.
    #[error(
        "Linux {release} has no bpf_loop, which the eBPF programs call: weft needs Linux 5.17 or newer"
    )]
    Kernel {
        /// Of the running kernel.
        release: String,
    },
    /// The kernel interprets programs.
    #[error("{JIT_REMEDY}")]
    NoJit,
    /// The kernel does not tell the privileges.
    #[error("read the agent's capabilities from /proc/self/status: {0}: is /proc mounted?")]
    Status(#[source] io::Error),
}

/// What the agent needs of the privileges of root.
pub const NEEDED: [&str; 2] = [CAPABILITIES[0].1, CAPABILITIES[1].1];

/// Whether the sysctls below a folder can be written.
pub fn writable(folder: &Path) -> Result<(), nix::errno::Errno> {
    use nix::unistd::{AccessFlags, access};
    access(&folder.join("net/ipv4/ip_forward"), AccessFlags::W_OK)
}

/// Everything that is missing; empty when the agent can start.
pub fn preflight(bpf_dir: &Path) -> Vec<PreflightError> {
    let mut missing = Vec::new();
    match effective_capabilities() {
        Ok(mask) => missing.extend(missing_capabilities(mask)),
        Err(source) => missing.push(PreflightError::Status(source)),
    }
    missing.extend(bpffs(bpf_dir).err());
    missing.extend(kernel());
    missing
}

/// What of the kernel the agent needs that no module could bring. The kernel answers only those who may load programs.
fn kernel() -> Vec<PreflightError> {
    let mut missing = Vec::new();
    if let Ok(false) = is_helper_supported(ProgramType::SchedClassifier, BpfHelper::BPF_FUNC_loop) {
        let release = release();
        missing.push(PreflightError::Kernel { release });
    }
    // Only the machine's first network namespace has the setting; elsewhere loading tells.
    let jit = fs::read_to_string("/proc/sys/net/core/bpf_jit_enable");
    if jit.is_ok_and(|it| it.trim() == "0") {
        missing.push(PreflightError::NoJit);
    }
    missing
}

/// Version of the running kernel, as `uname -r` has it.
pub fn release() -> String {
    let kernel = nix::sys::utsname::uname();
    kernel.map_or_else(
        |_| "of unknown version".to_owned(),
        |it| it.release().to_string_lossy().into_owned(),
    )
}

fn bpffs(dir: &Path) -> Result<(), PreflightError> {
    // The folder itself may be the mount point.
    if statfs(dir).is_ok_and(|it| it.filesystem_type() == BPF_FS_MAGIC) {
        return Ok(());
    }
    let parent = dir.parent().unwrap_or(dir);
    let (dir, parent) = (dir.to_owned(), parent.to_owned());
    match statfs(&parent) {
        Ok(it) if it.filesystem_type() == BPF_FS_MAGIC => Ok(()),
        Ok(_) => Err(PreflightError::NoBpffs { dir, parent }),
        Err(errno) => Err(PreflightError::NoParent {
            dir,
            parent,
            source: errno.into(),
        }),
    }
}

fn effective_capabilities() -> io::Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    parse_capabilities(&status)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no CapEff line"))
}

fn parse_capabilities(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|l| l.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

/// Bit numbers of linux/capability.h, and what for.
const CAPABILITIES: [(u32, &str, &str); 2] = [
    (
        12,
        "CAP_NET_ADMIN",
        "set up devices, routes and firewall rules",
    ),
    // CAP_BPF and CAP_PERFMON would do for the programs: it is needed for `setns`, which no smaller capability allows.
    (
        21,
        "CAP_SYS_ADMIN",
        "enter the network namespaces of pods, and load programs and maps",
    ),
];

fn missing_capabilities(mask: u64) -> Vec<PreflightError> {
    let missing = CAPABILITIES
        .iter()
        .filter(|(bit, ..)| mask & (1 << bit) == 0);
    let missing =
        missing.map(|(_, capability, what)| PreflightError::Capability { capability, what });
    missing.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_missing_capability_is_named() {
        let all = (1 << 12) | (1 << 21);
        assert!(missing_capabilities(all).is_empty());
        let text: Vec<_> = missing_capabilities(0)
            .iter()
            .map(ToString::to_string)
            .collect();
        for (text, name) in text.iter().zip(NEEDED) {
            assert!(
                text.contains(name) && text.contains("run it as root"),
                "{text}"
            );
        }
        assert_eq!(missing_capabilities(1 << 12).len(), 1);
    }

    #[test]
    fn the_status_file_is_read() {
        assert_eq!(
            parse_capabilities("Name:\tx\nCapEff:\t000001fffeffffff\n"),
            Some(0x01ff_feff_ffff)
        );
        assert_eq!(parse_capabilities("CapPrm:\t0\n"), None);
        assert!(effective_capabilities().is_ok());
    }

    #[test]
    fn a_folder_elsewhere_gets_the_mount_command() {
        let error = bpffs(Path::new("/tmp/weft")).unwrap_err().to_string();
        assert!(error.contains("mount -t bpf bpf /tmp"), "{error}");
        let error = bpffs(Path::new("/nowhere/at/all")).unwrap_err().to_string();
        assert!(error.contains("mkdir -p /nowhere/at"), "{error}");
    }
}
