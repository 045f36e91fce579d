//! Names of network namespaces that are pinned inside.

use std::fs;
use std::path::Path;
use std::process::Command;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use weft_netns::kubens::Place;
use weft_netns::{MountNs, Mounts, NetNs, unpin};

use crate::{NOTHING, host, is_mounted, on, started, tmpfs};
/// The first `ip netns add` on a host mounts `/run/netns` on itself. That mount comes into a namespace that was made before,
/// and hides what is pinned there.
#[test]
fn names_pinned_inside_are_not_hidden_by_ip_netns_add_outside() {
    let ip = |words: &[&str]| {
        let output = Command::new("ip")
            .arg("netns")
            .args(words)
            .output()
            .unwrap();
        assert!(output.status.success(), "ip netns {words:?}: {output:?}");
    };
    let pin_inside = |inside: &MountNs| {
        on(inside, || {
            fs::create_dir_all("/run/netns").unwrap();
            fs::write("/run/netns/pod", "").unwrap();
            let source = Some("/proc/thread-self/ns/net");
            mount(source, "/run/netns/pod", NOTHING, MsFlags::MS_BIND, NOTHING).unwrap();
        });
    };
    let (host, inside) = started();
    pin_inside(&inside);
    on(&host, || ip(&["add", "outside"]));
    on(&inside, || {
        NetNs::open("/run/netns/pod").unwrap();
        NetNs::open("/run/netns/outside").unwrap();
    });
    assert!(
        on(&host, || NetNs::open("/run/netns/pod").is_err()),
        "pinned inside only"
    );
    on(&host, || ip(&["del", "outside"]));
    on(&inside, || unpin("/run/netns/pod")).unwrap();

    // The hazard itself, where nobody has prepared the host.
    let (host, unprepared) = {
        let host = crate::host();
        let unprepared = on(&host, || {
            MountNs::create_encapsulated(None, || ()).unwrap().0
        });
        (host, unprepared)
    };
    pin_inside(&unprepared);
    on(&host, || ip(&["add", "outside"]));
    assert!(
        on(&unprepared, || NetNs::open("/run/netns/pod").is_err()),
        "hidden"
    );
    on(&host, || ip(&["del", "outside"]));
}

#[test]
fn names_that_were_there_before_stay_and_can_be_removed() {
    let private = MountNs::create_private(|| tmpfs("/run")).unwrap().0;
    for host in [host(), private] {
        on(&host, || {
            // As a container runtime pins: without a mount on the directory.
            fs::create_dir("/run/netns").unwrap();
            fs::write("/run/netns/pod", "").unwrap();
            let source = Some("/proc/thread-self/ns/net");
            mount(source, "/run/netns/pod", NOTHING, MsFlags::MS_BIND, NOTHING).unwrap();
            Place::default().start().unwrap();
            let mounts = Mounts::here().unwrap();
            assert_eq!(
                mounts.propagation(Path::new("/run/netns")),
                Some((false, true))
            );
            NetNs::open("/run/netns/pod").unwrap();
        });
        let inside = on(&host, || MountNs::open("/run/kubens/mnt").unwrap());
        on(&inside, || NetNs::open("/run/netns/pod").unwrap());
        on(&host, || unpin("/run/netns/pod")).unwrap();
        assert!(!on(&inside, || Path::new("/run/netns/pod").exists()));
    }
}

/// A namespace of the original's unit was made before `/run/netns` was shared: a start does not do now what would hide pins.
#[test]
fn a_start_hides_nothing_that_is_pinned_inside() {
    let (host, inside) = started();
    on(&host, || umount2("/run/netns", MntFlags::MNT_DETACH)).unwrap();
    assert!(!is_mounted(&inside, "/run/netns"), "unmounted there, too");
    on(&inside, || {
        fs::write("/run/netns/pod", "").unwrap();
        let source = Some("/proc/thread-self/ns/net");
        mount(source, "/run/netns/pod", NOTHING, MsFlags::MS_BIND, NOTHING).unwrap();
    });
    let again = on(&host, || Place::default().start()).unwrap();
    assert!(again.warnings.concat().contains("/run/netns"), "{again:?}");
    on(&inside, || NetNs::open("/run/netns/pod").unwrap());
    on(&inside, || unpin("/run/netns/pod")).unwrap();
    let again = on(&host, || Place::default().start()).unwrap();
    assert!(again.warnings.is_empty() && is_mounted(&host, "/run/netns"));
}
