//! The mount namespace of kubelet and runtime, in a host of the test's own: a mount namespace with its own `/run`. Needs
//! root.
#![expect(clippy::unwrap_used, reason = "a failed preparation fails the test")]

use std::fs::{self, File};
use std::os::fd::AsFd as _;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use weft_netns::kubens::{Found, KubensError, Place, Stopped, in_namespaces};
use weft_netns::{CommandNs as _, MountNs, Mounts, NetNs, unpin};

const NOTHING: Option<&str> = None;

fn tmpfs(at: impl AsRef<Path>) {
    let kind = Some("tmpfs");
    mount(kind, at.as_ref(), kind, MsFlags::empty(), NOTHING).unwrap();
}

/// All that a host has, shared as systemd makes it, and an empty `/run` of its own.
fn host() -> MountNs {
    let setup = || {
        tmpfs("/run");
        for directory in ["/run/a", "/run/b", "/run/c"] {
            fs::create_dir(directory).unwrap();
        }
    };
    MountNs::create_encapsulated(None, setup).unwrap().0
}

fn on<T: Send>(ns: &MountNs, work: impl FnOnce() -> T + Send) -> T {
    ns.run(work).unwrap()
}

/// A host with the namespace, and the namespace.
fn started() -> (MountNs, MountNs) {
    let host = host();
    let inside = on(&host, || {
        Place::default().start().unwrap();
        MountNs::open("/run/kubens/mnt").unwrap()
    });
    (host, inside)
}

fn is_mounted(ns: &MountNs, path: &str) -> bool {
    on(ns, || {
        Mounts::here().unwrap().is_mount_point(Path::new(path))
    })
}

#[test]
fn it_is_a_slave_of_the_host_and_shared_inside() {
    let (host, inside) = started();
    let of =
        |ns: &MountNs, path: &str| on(ns, || Mounts::here().unwrap().propagation(Path::new(path)));
    assert_eq!(of(&host, "/run"), Some((false, true)), "the host's own");
    assert_eq!(of(&inside, "/run"), Some((true, true)), "shared:N master:M");
    assert_eq!(of(&host, "/run/kubens"), Some((false, false)));
    let mounts = on(&host, Mounts::here).unwrap();
    assert!(mounts.is_unbindable(Path::new("/run/kubens")));
    on(&host, || {
        let env = fs::read_to_string("/run/kubens/env").unwrap();
        assert_eq!(env, "KUBENSMNT=/run/kubens/mnt\n");
    });
}

/// What Kubernetes promises of mount propagation, and the one promise that is given up: a mount made by kubelet, runtime
/// or a container is not seen on the host.
#[test]
fn what_is_mounted_where_is_seen_where() {
    let (host, inside) = started();
    // Volumes of containers: HostToContainer is a slave of what the kubelet sees, Bidirectional its peer, None private.
    let container = |flags: MsFlags| {
        on(&inside, || {
            let setup = || mount(NOTHING, "/", NOTHING, flags | MsFlags::MS_REC, NOTHING);
            let (ns, done) = MountNs::create_peer(setup).unwrap();
            done.unwrap();
            ns
        })
    };
    let host_to_container = container(MsFlags::MS_SLAVE);
    let bidirectional = container(MsFlags::MS_SHARED);
    let none = container(MsFlags::MS_PRIVATE);
    let places = [&host, &inside, &host_to_container, &bidirectional, &none];
    let table = [
        // made on the host: in all but the container that asked for no propagation
        ("/run/a", &host, [true, true, true, true, false]),
        // made by kubelet or runtime: in the containers, not on the host
        ("/run/b", &inside, [false, true, true, true, false]),
        // made in a container with Bidirectional: for kubelet, runtime and other containers, not on the host
        ("/run/c", &bidirectional, [false, true, true, true, false]),
    ];
    for (path, maker, seen) in table {
        on(maker, || tmpfs(path));
        let found = places.map(|ns| is_mounted(ns, path));
        assert_eq!(
            found, seen,
            "{path} on host, inside, and in three containers"
        );
        on(maker, || umount2(path, MntFlags::empty())).unwrap();
        let found = places.map(|ns| is_mounted(ns, path));
        assert_eq!(found, [false; 5], "{path} is unmounted everywhere");
    }
}

#[test]
fn a_bpf_file_system_comes_in_and_does_not_get_out() {
    let (host, inside) = started();
    let bpf = |at: &str| mount(Some("bpf"), at, Some("bpf"), MsFlags::empty(), NOTHING).unwrap();
    on(&host, || bpf("/run/a"));
    on(&host, || fs::create_dir("/run/a/weft")).unwrap();
    assert!(on(&inside, || Path::new("/run/a/weft").exists()));
    on(&inside, || fs::create_dir("/run/a/weft/maps")).unwrap();
    assert!(
        on(&host, || Path::new("/run/a/weft/maps").exists()),
        "the same file system: pins made inside are pins outside"
    );
    on(&inside, || bpf("/run/b"));
    on(&inside, || fs::create_dir("/run/b/weft")).unwrap();
    assert!(!on(&host, || Path::new("/run/b/weft").exists()));
}

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
        let host = self::host();
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

/// Whoever watches a mount table is woken once for each change of it: `EPOLLPRI`, which is `POLLPRI` for poll(2).
struct Watcher(File);

impl Watcher {
    /// The table belongs to the namespace in which the file was opened.
    fn new(ns: &MountNs) -> Self {
        let watcher = Self(on(ns, || {
            File::open("/proc/thread-self/mountinfo").unwrap()
        }));
        watcher.is_woken();
        watcher
    }

    fn is_woken(&self) -> bool {
        let mut fds = [PollFd::new(self.0.as_fd(), PollFlags::POLLPRI)];
        poll(&mut fds, PollTimeout::ZERO).unwrap();
        fds[0].revents().unwrap().contains(PollFlags::POLLPRI)
    }
}

/// The measure of the whole thing: what kubelet and runtime mount wakes nobody on the host.
#[test]
fn mounts_inside_wake_no_watcher_outside() {
    const MOUNTS: usize = 200;
    let (host, inside) = started();
    let watchers = [Watcher::new(&host), Watcher::new(&inside)];
    let count = |maker: &MountNs| {
        let mut woken = [0; 2];
        for _ in 0..MOUNTS {
            let changes: [fn(); 2] = [
                || tmpfs("/run/a"),
                || umount2("/run/a", MntFlags::empty()).unwrap(),
            ];
            for change in changes {
                on(maker, change);
                for (count, watcher) in woken.iter_mut().zip(&watchers) {
                    *count += usize::from(watcher.is_woken());
                }
            }
        }
        woken
    };
    assert_eq!(count(&inside), [0, 2 * MOUNTS], "host, inside");
    assert_eq!(count(&host), [2 * MOUNTS; 2], "the host's mounts come in");
}
