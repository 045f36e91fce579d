//! The `kubensenter` program; needs root.
#![expect(clippy::unwrap_used, reason = "a failed preparation fails the test")]

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use nix::mount::{MsFlags, mount};
use weft_netns::{CommandNs as _, MountNs, NetNs};

mod one_cpu;
mod scratch;
use scratch::Scratch;

/// A host (a mount namespace with its own tmpfs) with one file of each sort that a variable may name.
struct Host {
    scratch: Scratch,
    mounts: MountNs,
    kubelet: String,
}

impl Host {
    fn new() -> Self {
        one_cpu::stay();
        let scratch = Scratch::new();
        let (mounts, kubelet) = MountNs::create_private(|| {
            let none: Option<&str> = None;
            mount(
                Some("tmpfs"),
                scratch.path(),
                Some("tmpfs"),
                MsFlags::empty(),
                none,
            )
            .unwrap();
            let (kubelet, ()) = MountNs::create_private(|| ()).unwrap();
            kubelet.pin(scratch.join("good")).unwrap();
            NetNs::create_at(scratch.join("network")).unwrap();
            fs::write(scratch.join("plain"), "").unwrap();
            link(&kubelet)
        })
        .unwrap();
        Self {
            scratch,
            mounts,
            kubelet,
        }
    }

    /// Runs `kubensenter WORDS` with the two variables naming files of the host.
    fn run(&self, explicit: Option<&str>, default: &str, words: &[&str]) -> Output {
        let path = |name: &str| -> PathBuf { self.scratch.join(name) };
        let mut command = Command::new(env!("CARGO_BIN_EXE_kubensenter"));
        command
            .args(words)
            .env_remove("KUBENSMNT")
            .env_remove("KUBENSENTER_LOG");
        command.env("DEFAULT_KUBENSMNT", path(default));
        explicit.map(|name| command.env("KUBENSMNT", path(name)));
        command.mount_ns(&self.mounts).unwrap().output().unwrap()
    }

    /// The mount namespace a command ran in, and what was said about it.
    fn entered(&self, explicit: Option<&str>, default: &str) -> (String, String) {
        let output = self.run(explicit, default, &["readlink", "/proc/self/ns/mnt"]);
        assert!(output.status.success(), "{output:?}");
        (text(&output.stdout), text(&output.stderr))
    }
}

/// As `readlink /proc/PID/ns/mnt` shows it.
fn link(ns: &MountNs) -> String {
    format!("mnt:[{}]\n", ns.id().ino)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn the_named_namespace_is_entered_before_the_default_one() {
    let host = Host::new();
    for default in ["good", "plain", "missing", "network"] {
        let (ns, said) = host.entered(Some("good"), default);
        assert_eq!(ns, host.kubelet, "KUBENSMNT wins over {default}");
        assert_eq!(said, "", "nothing to report");
    }
}

#[test]
fn the_default_namespace_is_found_where_one_is_pinned() {
    let host = Host::new();
    let (ns, said) = host.entered(None, "good");
    assert_eq!(ns, host.kubelet);
    assert!(said.starts_with("kubensenter: found "), "{said}");
    assert_eq!(
        host.entered(None, "missing"),
        (link(&host.mounts), String::new())
    );
    for default in ["plain", "network"] {
        let (ns, said) = host.entered(None, default);
        assert_eq!(ns, link(&host.mounts), "{default} is passed over");
        assert!(
            said.contains("stale or mismatched") && said.contains(default),
            "{said}"
        );
    }
}

#[test]
fn a_name_without_a_namespace_warns_and_one_of_the_wrong_kind_fails() {
    let host = Host::new();
    for vacant in ["missing", "plain"] {
        let (ns, said) = host.entered(Some(vacant), "good");
        assert_eq!(ns, link(&host.mounts), "{vacant}: the default is not tried");
        assert!(said.contains("warning") && said.contains(vacant), "{said}");
    }
    let output = host.run(Some("network"), "good", &["true"]);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(
        said.contains("is no mount namespace, but a network namespace"),
        "{said}"
    );
}

#[test]
fn options_stop_at_the_command_and_set_how_much_is_said() {
    let host = Host::new();
    let said = |words: &[&str]| text(&host.run(None, "plain", words).stderr);
    assert_eq!(said(&["-q", "true"]), "", "quiet");
    assert!(
        said(&["-v", "-q", "true"]).contains("stale"),
        "options add up"
    );
    let chatty = text(&host.run(None, "missing", &["--verbose", "true"]).stderr);
    assert!(chatty.contains("nothing at"), "{chatty}");
    let output = host.run(None, "good", &["-q", "echo", "-v", "--help"]);
    assert_eq!(
        text(&output.stdout),
        "-v --help\n",
        "the command's own options are left to it"
    );
    let output = host.run(None, "good", &["--", "echo", "--"]);
    assert_eq!(text(&output.stdout), "--\n");
}

#[test]
fn exit_status_is_the_commands_or_says_what_failed() {
    let host = Host::new();
    let code = |words: &[&str]| host.run(None, "good", words).status.code();
    assert_eq!(code(&["sh", "-c", "exit 7"]), Some(7));
    assert_eq!(code(&["no-such-command-here"]), Some(127));
    assert_eq!(code(&["/"]), Some(126), "a directory cannot be run");
    assert_eq!(code(&["--frobnicate"]), Some(2));
    assert_eq!(code(&["--help"]), Some(0));
    assert_eq!(
        code(&[""]),
        Some(127),
        "an empty word ends the options and is no command"
    );
}

#[test]
fn the_process_stays_the_same_one() {
    let host = Host::new();
    let mut command = Command::new(env!("CARGO_BIN_EXE_kubensenter"));
    command
        .args(["sh", "-c", "echo $$"])
        .env_remove("KUBENSMNT");
    command.env("DEFAULT_KUBENSMNT", host.scratch.join("good"));
    command
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null());
    let child = command.mount_ns(&host.mounts).unwrap().spawn().unwrap();
    let id = child.id();
    let output = child.wait_with_output().unwrap();
    assert_eq!(
        text(&output.stdout).trim(),
        id.to_string(),
        "notify sockets look at the number"
    );
}
