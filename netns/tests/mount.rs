//! Mount namespaces on the running kernel; needs root.
#![expect(clippy::unwrap_used, reason = "a failed preparation fails the test")]

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use weft_netns::{CommandNs as _, Error, MountNs, NetNs, NsId, unpin};

mod one_cpu;
mod scratch;
use scratch::Scratch;

fn current() -> NsId {
    MountNs::current().unwrap().id()
}

fn mount_new(kind: &str, at: &Path) {
    let none: Option<&str> = None;
    mount(Some(kind), at, Some(kind), MsFlags::empty(), none).unwrap();
}

/// A namespace in which `file` stands on a tmpfs over `directory`.
fn private_file(directory: &Path, file: &Path) -> MountNs {
    let setup = || {
        mount_new("tmpfs", directory);
        fs::write(file, "inside").unwrap();
    };
    MountNs::create_private(setup).unwrap().0
}

#[test]
fn what_is_mounted_inside_is_seen_inside_only() {
    let scratch = Scratch::new();
    let file = scratch.join("file");
    let outside = current();
    let ns = private_file(scratch.path(), &file);
    assert!(!file.exists(), "nothing gets out");
    assert_eq!(current(), outside, "the caller was not moved");

    let (id, content) = ns.run(|| (current(), fs::read_to_string(&file))).unwrap();
    assert_eq!(id, ns.id());
    assert_eq!(content.unwrap(), "inside");
    assert_eq!(current(), outside, "the caller was not moved");

    let output = Command::new("cat")
        .arg(&file)
        .mount_ns(&ns)
        .unwrap()
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        "inside",
        "a child sees it too"
    );
}

#[test]
fn each_namespace_has_its_own_bpffs() {
    let scratch = Scratch::new();
    let make = || {
        MountNs::create_private(|| mount_new("bpf", scratch.path()))
            .unwrap()
            .0
    };
    let (a, b) = (make(), make());
    a.run(|| fs::create_dir(scratch.join("pins")))
        .unwrap()
        .unwrap();
    assert!(a.run(|| scratch.join("pins").exists()).unwrap());
    assert!(
        !b.run(|| scratch.join("pins").exists()).unwrap(),
        "pins cannot meet"
    );
    assert!(!scratch.join("pins").exists());
}

#[test]
fn setup_can_mount_for_a_network_namespace() {
    let scratch = Scratch::new();
    let net = NetNs::create().unwrap();
    let (ns, ()) = MountNs::create_private(|| {
        net.run(|| mount_new("sysfs", scratch.path())).unwrap();
    })
    .unwrap();
    let links = Command::new("ls")
        .arg(scratch.join("class/net"))
        .net_ns(&net)
        .and_then(|command| command.mount_ns(&ns))
        .unwrap()
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8(links.stdout).unwrap().trim(),
        "lo",
        "both were entered"
    );
    let nested = ns.run(|| {
        net.run(|| (current(), NetNs::current().unwrap().id()))
            .unwrap()
    });
    assert_eq!(nested.unwrap(), (ns.id(), net.id()), "runs nest");
}

#[test]
fn a_child_keeps_the_working_directory_by_name() {
    let scratch = Scratch::new();
    let ns = private_file(scratch.path(), &scratch.join("file"));
    let cat = |directory: Option<&Path>| {
        let mut command = Command::new("sh");
        command.args(["-c", "pwd; cat file"]).stderr(Stdio::null());
        directory.map(|directory| command.current_dir(directory));
        let output = command.mount_ns(&ns).unwrap().output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let path = scratch.path().to_str().unwrap();
    assert_eq!(
        cat(Some(scratch.path())),
        format!("{path}\ninside"),
        "the mount inside, not below"
    );
    let here = std::env::current_dir().unwrap();
    assert_eq!(cat(None), format!("{}\n", here.display()));

    fs::create_dir(scratch.join("outside-only")).unwrap();
    let mut command = Command::new("true");
    command.current_dir(scratch.join("outside-only"));
    let refused = command.mount_ns(&ns).unwrap().status().unwrap_err();
    assert_eq!(
        refused.raw_os_error(),
        Some(Errno::ENOENT as i32),
        "not silently elsewhere"
    );
}

#[test]
fn a_namespace_is_pinned_opened_and_unpinned() {
    one_cpu::stay();
    let scratch = Scratch::new();
    // A tmpfs of a private namespace, because the kernel takes no pin on a shared mount.
    let (host, ()) = MountNs::create_private(|| mount_new("tmpfs", scratch.path())).unwrap();
    let checks = || {
        let path = scratch.join("pin");
        let (ns, ()) = MountNs::create_private(|| ()).unwrap();
        ns.pin(&path).unwrap();
        let id = ns.id();
        drop(ns);
        assert_eq!(
            MountNs::open(&path).unwrap().id(),
            id,
            "the name keeps it alive"
        );
        let refused = NetNs::open(&path).unwrap_err();
        assert!(
            matches!(
                refused,
                Error::WrongKind {
                    found: "a mount namespace",
                    ..
                }
            ),
            "{refused}"
        );
        unpin(&path).unwrap();
        assert!(!path.exists());
    };
    host.run(checks).unwrap();
}

#[test]
fn a_failed_pin_leaves_no_file() {
    let scratch = Scratch::new();
    let path = scratch.join("loop");
    let refused = MountNs::current().unwrap().pin(&path).unwrap_err();
    assert_eq!(
        refused.errno(),
        Some(Errno::EINVAL),
        "a namespace cannot hold its own pin"
    );
    assert!(refused.to_string().contains("private mount"), "{refused}");
    assert!(!path.exists(), "the file went with it");
}

#[test]
fn a_failing_setup_hands_its_error_to_the_caller() {
    let setup = || fs::read("/no/such/file").map(drop);
    let (ns, failed) = MountNs::create_private(setup).unwrap();
    drop(ns);
    assert_eq!(failed.unwrap_err().kind(), std::io::ErrorKind::NotFound);
}

#[test]
fn a_process_is_found_by_its_number() {
    let (ns, ()) = MountNs::create_private(|| ()).unwrap();
    let mut command = Command::new("cat");
    let mut child = command
        .stdin(Stdio::piped())
        .mount_ns(&ns)
        .unwrap()
        .spawn()
        .unwrap();
    let found = MountNs::of_pid(child.id()).unwrap();
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
    assert_eq!(found.id(), ns.id());
    let refused = MountNs::open("/proc/self/ns/net").unwrap_err().to_string();
    assert_eq!(
        refused,
        "/proc/self/ns/net is no mount namespace, but a network namespace"
    );
}
