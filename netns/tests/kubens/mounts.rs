//! What is mounted where is seen where.

use std::fs::{self, File};
use std::os::fd::AsFd as _;
use std::path::Path;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use weft_netns::{MountNs, Mounts};

use crate::{NOTHING, is_mounted, on, started, tmpfs};
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
