//! Names of network namespaces, ours and iproute2's; needs root.
#![expect(clippy::unwrap_used, reason = "a failed preparation fails the test")]

use std::fs;
use std::path::Path;
use std::process::Command;

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use weft_netns::{Error, MountNs, NetNs, unpin};

mod scratch;
use scratch::Scratch;

#[test]
fn a_name_is_exclusive_and_outlives_the_handle_until_unpin() {
    let scratch = Scratch::new();
    let path = scratch.join("a");
    let id = NetNs::create_at(&path).unwrap().id();
    assert_eq!(
        NetNs::open(&path).unwrap().id(),
        id,
        "the handle is gone, the name is not"
    );

    let taken = NetNs::create_at(&path).unwrap_err();
    assert_eq!(taken.errno(), Some(Errno::EEXIST));
    assert!(
        taken.to_string().contains(path.to_str().unwrap()),
        "{taken}"
    );
    assert_eq!(
        NetNs::open(&path).unwrap().id(),
        id,
        "the first owner keeps the name"
    );

    let second = scratch.join("b");
    NetNs::open(&path).unwrap().pin(&second).unwrap();
    unpin(&path).unwrap();
    assert!(!path.exists());
    assert_eq!(
        NetNs::open(&second).unwrap().id(),
        id,
        "names are independent"
    );
    unpin(&second).unwrap();
    assert_eq!(unpin(&second).unwrap_err().errno(), Some(Errno::ENOENT));
}

#[test]
fn a_file_that_exists_is_never_pinned_over() {
    let scratch = Scratch::new();
    let path = scratch.join("precious");
    fs::write(&path, "content").unwrap();
    assert_eq!(
        NetNs::create_at(&path).unwrap_err().errno(),
        Some(Errno::EEXIST)
    );
    let missing = NetNs::create_at(scratch.join("no/such/directory")).unwrap_err();
    assert_eq!(missing.errno(), Some(Errno::ENOENT), "{missing}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "content");
}

#[test]
fn unpin_takes_only_pins_and_the_leftover_of_an_interrupted_one() {
    let scratch = Scratch::new();
    let precious = scratch.join("precious");
    fs::write(&precious, "content").unwrap();
    let link = scratch.join("link");
    std::os::unix::fs::symlink("/proc/self/ns/net", &link).unwrap();
    for path in [
        precious.as_path(),
        &link,
        scratch.path(),
        Path::new("/proc/self/ns/net"),
    ] {
        let refused = unpin(path).unwrap_err();
        assert!(matches!(refused, Error::NotPinned { .. }), "{refused}");
        assert!(
            fs::symlink_metadata(path).is_ok(),
            "{} stays",
            path.display()
        );
    }
    let leftover = scratch.join("leftover");
    fs::write(&leftover, "").unwrap();
    unpin(&leftover).unwrap();
    assert!(!leftover.exists());
}

#[test]
fn stacked_pins_of_one_name_go_together() {
    let scratch = Scratch::new();
    let path = scratch.join("a");
    let ns = NetNs::create_at(&path).unwrap();
    let none: Option<&str> = None;
    mount(
        Some("/proc/self/ns/net"),
        &path,
        none,
        MsFlags::MS_BIND,
        none,
    )
    .unwrap();
    assert_ne!(
        NetNs::open(&path).unwrap().id(),
        ns.id(),
        "the upper one is seen"
    );
    unpin(&path).unwrap();
    assert!(!path.exists());
}

/// The mounts on `/run/netns` that are bound from the tmpfs on `/run`, and shared.
fn shared_directories() -> Vec<String> {
    let mounts = fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
    let own = |line: &&str| line.contains(" /netns /run/netns ") && line.contains(" - tmpfs ");
    let shared = |line: &&str| line.contains(" shared:");
    mounts
        .lines()
        .filter(own)
        .filter(shared)
        .map(str::to_owned)
        .collect()
}

/// In a mount namespace with its own `/run`, so that the machine's names are not touched.
#[test]
fn names_are_iproute2s_both_ways() {
    let ip = |words: &[&str]| {
        let output = Command::new("ip")
            .arg("netns")
            .args(words)
            .output()
            .unwrap();
        assert!(output.status.success(), "ip netns {words:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    MountNs::create_private(|| {
        let none: Option<&str> = None;
        mount(Some("tmpfs"), "/run", Some("tmpfs"), MsFlags::empty(), none).unwrap();
        NetNs::create_at("/run/netns/ours").unwrap();
        assert_eq!(ip(&["list"]).trim(), "ours");
        assert_eq!(
            ip(&["exec", "ours", "cat", "/proc/self/net/dev"])
                .lines()
                .count(),
            3
        );
        ip(&["add", "theirs"]);
        NetNs::open("/run/netns/theirs").unwrap();
        NetNs::create_at("/run/netns/later").unwrap();
        let own = shared_directories();
        assert_eq!(
            own.len(),
            1,
            "bound onto itself once, whoever comes second: {own:?}"
        );
        ip(&["del", "ours"]);
        ip(&["del", "later"]);
        unpin("/run/netns/theirs").unwrap();
        assert_eq!(ip(&["list"]), "");
        assert_eq!(
            fs::read_dir("/run/netns").unwrap().count(),
            0,
            "no file is left"
        );
    })
    .unwrap();
}
