//! Starts, stops, and what is in their way.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::mount::{MntFlags, umount2};
use weft_netns::kubens::{Found, KubensError, Place, Stopped, in_namespaces};
use weft_netns::{CommandNs as _, MountNs, Mounts, NetNs, unpin};

use crate::{host, is_mounted, on, started};
#[test]
fn a_second_start_keeps_the_namespace() {
    let (host, inside) = started();
    let again = on(&host, || Place::default().start()).unwrap();
    assert!(!again.new && again.warnings.is_empty(), "{again:?}");
    assert_eq!(again.namespace, format!("mnt:[{}]", inside.id().ino));
    let found = on(&host, || Place::default().look()).unwrap();
    assert_eq!(found, Found::Valid(again.namespace));
}

/// The env file went with the runtime directory of a service manager that does not know our unit, the pin did not.
#[test]
fn a_start_completes_what_is_missing() {
    let (host, _inside) = started();
    on(&host, || fs::remove_file("/run/kubens/env")).unwrap();
    assert!(!on(&host, || Place::default().start()).unwrap().new);
    assert!(on(&host, || Path::new("/run/kubens/env").exists()));
}

#[test]
fn a_stale_pin_is_seen_and_replaced() {
    let (host, _) = started();
    let place = Place::default();
    on(&host, || umount2("/run/kubens/mnt", MntFlags::MNT_DETACH)).unwrap();
    assert_eq!(on(&host, || place.look()).unwrap(), Found::Stale);
    assert!(on(&host, || place.start()).unwrap().new);
    assert!(matches!(
        on(&host, || place.look()).unwrap(),
        Found::Valid(_)
    ));
    assert!(on(&host, || place.stop(false)).unwrap().left.is_empty());
    assert_eq!(on(&host, || place.look()).unwrap(), Found::Nothing);
}

#[test]
fn stacked_pins_are_named_and_not_added_to() {
    let (host, first) = started();
    let place = Place::default();
    let second = on(&host, || {
        // As `unshare --mount=` does on a second start of the original's unit.
        let mut last = None;
        for cpu in 0..nix::unistd::sysconf(nix::unistd::SysconfVar::_NPROCESSORS_ONLN)
            .unwrap()
            .unwrap()
        {
            let cpu = usize::try_from(cpu).unwrap();
            let (ns, ()) = MountNs::create_encapsulated(Some(cpu), || ()).unwrap();
            if ns.pin_on("/run/kubens/mnt").is_ok() {
                last = Some(ns);
                break;
            }
        }
        last.unwrap()
    });
    let names = [&first, &second].map(|ns| format!("mnt:[{}]", ns.id().ino));
    let found = on(&host, || place.look()).unwrap();
    assert_eq!(
        found,
        Found::Stacked(names.to_vec()),
        "the one that is joined last"
    );
    assert_eq!(found.joined(), Some(names[1].as_str()));
    let again = on(&host, || place.start()).unwrap();
    assert_eq!((again.new, &again.namespace), (false, &names[1]));
    assert!(
        again.warnings.concat().contains("2 namespaces"),
        "{again:?}"
    );
    let stopped = on(&host, || place.stop(false)).unwrap();
    assert_eq!(stopped.namespaces, names);
    assert!(!is_mounted(&host, "/run/kubens"));
}

#[test]
fn what_is_no_pin_is_refused_and_stays() {
    let host = host();
    let place = Place::default();
    let spoil: [(&str, fn()); 3] = [
        ("a file with content", || {
            fs::write("/run/kubens/mnt", "x").unwrap();
        }),
        ("a link", || symlink("/run/a", "/run/kubens/mnt").unwrap()),
        ("a network namespace", || {
            NetNs::create_at("/run/kubens/mnt").unwrap();
        }),
    ];
    for (what, spoil) in spoil {
        on(&host, || {
            fs::create_dir_all("/run/kubens").unwrap();
            spoil();
            let refused = place.start().unwrap_err();
            assert!(
                matches!(refused, KubensError::Taken { .. }),
                "{what}: {refused}"
            );
            assert!(fs::symlink_metadata("/run/kubens/mnt").is_ok(), "{what}");
            let left = Mounts::here()
                .unwrap()
                .is_mount_point(Path::new("/run/kubens"));
            assert!(!left, "{what}: no mount of ours is left");
            if unpin("/run/kubens/mnt").is_err() {
                fs::remove_file("/run/kubens/mnt").unwrap();
            }
        });
    }
}

#[test]
fn a_stop_refuses_while_somebody_is_inside_and_says_who() {
    let (host, inside) = started();
    let place = Place::default();
    let mut command = Command::new("cat");
    command.stdin(Stdio::piped()).stdout(Stdio::null());
    let mut child = command.mount_ns(&inside).unwrap().spawn().unwrap();
    let refused = on(&host, || place.stop(false)).unwrap_err();
    let KubensError::Busy { processes, .. } = &refused else {
        panic!("{refused}");
    };
    assert_eq!(processes.len(), 1);
    assert_eq!(
        (processes[0].pid, processes[0].name.as_str()),
        (child.id(), "cat")
    );
    assert!(
        refused
            .to_string()
            .contains(&format!("{} (cat)", child.id())),
        "{refused}"
    );
    assert!(is_mounted(&host, "/run/kubens/mnt"), "nothing was changed");
    assert!(on(&host, || Path::new("/run/kubens/env").exists()));

    let stopped = on(&host, || place.stop(true)).unwrap();
    assert_eq!(stopped.left, *processes);
    for path in ["/run/kubens/mnt", "/run/kubens/env"] {
        assert!(!on(&host, || Path::new(path).exists()), "{path}");
    }
    assert_eq!(
        on(&host, || place.stop(false)).unwrap(),
        Stopped::default(),
        "nothing is pinned"
    );
    let name = format!("mnt:[{}]", inside.id().ino);
    assert_eq!(
        in_namespaces(&[name], None).unwrap().len(),
        1,
        "it stays where it is"
    );
    drop(child.stdin.take());
    child.wait().unwrap();
    assert!(on(&host, || place.start()).unwrap().new);
}
