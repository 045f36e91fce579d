//! The command line of qemu.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::tool::{find, tool};
use super::{Error, Init};

/// Virtio ports between host and machine; each a Unix socket of this name in the run's folder.
pub(super) const PORTS: [&str; 3] = ["control", "stdout", "stderr"];
/// The console's socket.
pub(super) const CONSOLE: &str = "console";

/// Files and figures of a machine.
pub(super) struct Machine<'a> {
    pub(super) kernel: PathBuf,
    pub(super) initramfs: PathBuf,
    /// Root, modules, payload.
    pub(super) disks: [PathBuf; 3],
    /// Where the sockets are; nothing if the console is this terminal.
    pub(super) sockets: Option<&'a Path>,
    pub(super) memory: u32,
    pub(super) cpus: u32,
    pub(super) init: Init,
    pub(super) append: &'a [String],
}

/// An error if qemu is not there.
pub(super) fn found() -> Result<PathBuf, Error> {
    find("qemu-system-x86_64", "qemu-system-x86")
}

/// `setpriv` ends qemu with the thread that started it, however that ends.
pub(super) fn command(machine: &Machine<'_>) -> Result<Command, Error> {
    let mut command = tool("setpriv", "util-linux")?;
    command
        .args(["--pdeathsig", "KILL"])
        .arg(found()?)
        .args(arguments(machine));
    Ok(command)
}

fn arguments(machine: &Machine<'_>) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = [
        "-no-user-config",
        "-nodefaults",
        "-display",
        "none",
        "-no-reboot",
        // A /dev/kvm may be there that cannot run this kernel, and figures are to be those of one way. One thread for all
        // processors: with several, qemu 7.2 now and then runs a breakpoint that the kernel has already taken out of its
        // own code on another processor (text_poke), and the kernel dies of it ("Oops: int3").
        "-accel",
        "tcg,thread=single",
        "-machine",
        "pc",
        // All that qemu emulates, but five-level page tables, which only cost time.
        "-cpu",
        "max,la57=off",
        // The images are the cache's: what a run writes goes into a file without a name.
        "-snapshot",
    ]
    .map(OsString::from)
    .into();
    let mut push = |name: &str, value: OsString| arguments.extend([name.into(), value]);
    push("-m", machine.memory.to_string().into());
    push("-smp", machine.cpus.to_string().into());
    push("-kernel", machine.kernel.clone().into());
    push("-initrd", machine.initramfs.clone().into());
    push("-append", parameters(machine).into());
    for disk in &machine.disks {
        push("-drive", option("format=raw,if=virtio,file=", disk));
    }
    let Some(sockets) = machine.sockets else {
        push("-serial", "mon:stdio".into());
        return arguments;
    };
    let socket = |name: &str| option(&format!("socket,id={name},path="), &sockets.join(name));
    push("-chardev", socket(CONSOLE));
    push("-serial", format!("chardev:{CONSOLE}").into());
    push("-device", "virtio-serial-pci".into());
    for port in PORTS {
        push("-chardev", socket(port));
        let device = format!("virtserialport,chardev={port},name=weft.{port}");
        push("-device", device.into());
    }
    arguments
}

/// A comma in a value is written twice.
fn option(prefix: &str, path: &Path) -> OsString {
    let path = path.display().to_string().replace(',', ",,");
    format!("{prefix}{path}").into()
}

/// Kernel parameters. RCU is left as it is: hurrying its grace periods would hide what weft waits for.
fn parameters(machine: &Machine<'_>) -> String {
    let own = "console=ttyS0 nokaslr tsc=reliable mitigations=off nowatchdog random.trust_cpu=on net.ifnames=0 \
               panic=-1 oops=panic";
    let init = match machine.init {
        Init::Simple => "simple",
        Init::Systemd => "systemd",
    };
    // The serial line is slow; a person at it sees the boot.
    let task = if machine.sockets.is_some() {
        "command quiet"
    } else {
        "shell"
    };
    let append = machine.append.join(" ");
    format!("{own} weft.init={init} weft.task={task} {append}")
        .trim_end()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;

    fn machine(append: &[String]) -> Machine<'_> {
        Machine {
            kernel: "k".into(),
            initramfs: "i".into(),
            disks: ["a,b", "m", "p"].map(PathBuf::from),
            sockets: Some(Path::new("/run")),
            memory: 512,
            cpus: 1,
            init: Init::Systemd,
            append,
        }
    }

    #[test]
    fn every_run_emulates_and_changes_no_image() {
        let line = arguments(&machine(&[])).join(OsStr::new(" "));
        let line = line.to_string_lossy();
        for part in ["-accel tcg,", "-snapshot", "-no-reboot", "file=a,,b"] {
            assert!(line.contains(part), "{part} in {line}");
        }
        assert!(!line.contains("kvm"), "{line}");
    }

    #[test]
    fn own_parameters_come_last_and_rcu_is_left_alone() {
        let append = ["quiet=no".to_owned(), "mem=1G".to_owned()];
        let text = parameters(&machine(&append));
        assert!(text.ends_with(" weft.init=systemd weft.task=command quiet quiet=no mem=1G"));
        assert!(!text.contains("rcu"), "{text}");
    }
}
