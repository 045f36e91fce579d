//! Namespaces without names: nothing of them outlives this process, however it ends.

use std::io::Write as _;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use weft_netns::{CommandNs as _, NetNs, sysctl};

/// A path that other processes can open the namespace by, as long as this process keeps it.
pub fn path(ns: &NetNs) -> String {
    format!("/proc/{}/fd/{}", std::process::id(), ns.as_fd().as_raw_fd())
}

/// A namespace with `lo` up.
pub fn create() -> Result<NetNs> {
    let ns = NetNs::create()?;
    ip(&ns, "link set lo up\n")?;
    Ok(ns)
}

/// A namespace that forwards, as a node does.
pub fn create_node() -> Result<NetNs> {
    let ns = create()?;
    ns.run(|| {
        sysctl::write("net.ipv4.ip_forward", "1")?;
        sysctl::write("net.ipv6.conf.all.forwarding", "1")
    })??;
    Ok(ns)
}

/// Runs `ip -batch` inside.
pub fn ip(ns: &NetNs, batch: &str) -> Result<()> {
    let mut command = Command::new("ip");
    command.args(["-batch", "-"]).net_ns(ns)?;
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context("run ip")?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(batch.as_bytes()).context("write to ip")?;
    }
    let output = child.wait_with_output().context("wait for ip")?;
    ensure!(
        output.status.success(),
        "ip -batch: {}\n{batch}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}
