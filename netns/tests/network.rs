//! Network namespaces on the running kernel; needs root.
#![expect(clippy::unwrap_used, reason = "a failed preparation fails the test")]

use std::fs;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use weft_netns::{CommandNs as _, Error, MountNs, NetNs, sysctl, unpin};

mod scratch;
use scratch::Scratch;

fn current() -> weft_netns::NsId {
    NetNs::current().unwrap().id()
}

/// Interface names the calling thread sees.
fn interfaces() -> Vec<String> {
    let table = fs::read_to_string("/proc/thread-self/net/dev").unwrap();
    let name = |line: &str| line.split(':').next().unwrap().trim().to_owned();
    table.lines().skip(2).map(name).collect()
}

#[test]
fn work_runs_inside_and_the_caller_stays_outside() {
    let outside = current();
    let ns = NetNs::create().unwrap();
    let borrowed = String::from("borrowed");
    let (inside, links, length) = ns
        .run(|| (current(), interfaces(), borrowed.len()))
        .unwrap();
    assert_eq!(inside, ns.id(), "the closure ran in the namespace");
    assert_ne!(inside, outside, "the namespace is a new one");
    assert_eq!(links, ["lo"], "a new namespace holds the loopback only");
    assert_eq!(length, borrowed.len(), "the closure may borrow");
    assert_eq!(current(), outside, "the caller was not moved");
}

#[test]
fn a_panic_goes_on_in_the_caller_who_stays_outside() {
    let outside = current();
    let ns = NetNs::create().unwrap();
    let panic = catch_unwind(AssertUnwindSafe(|| ns.run(|| panic!("from inside")))).unwrap_err();
    assert_eq!(
        panic.downcast_ref(),
        Some(&"from inside"),
        "the payload is the closure's"
    );
    assert_eq!(current(), outside, "the caller was not moved");
}

#[test]
fn entering_nests_and_threads_do_not_meet() {
    let outside = current();
    let spaces: Vec<NetNs> = (0..4).map(|_| NetNs::create().unwrap()).collect();
    std::thread::scope(|scope| {
        for (a, b) in spaces.iter().zip(spaces.iter().cycle().skip(1)) {
            scope.spawn(move || {
                for _ in 0..50 {
                    let seen = a
                        .run(|| (current(), b.run(current).unwrap(), current()))
                        .unwrap();
                    assert_eq!(seen, (a.id(), b.id(), a.id()));
                    assert_eq!(current(), outside);
                }
            });
        }
    });
}

#[test]
fn a_socket_stays_in_the_namespace_it_was_opened_in() {
    let ns = NetNs::create().unwrap();
    let up = Command::new("ip")
        .args(["link", "set", "lo", "up"])
        .net_ns(&ns)
        .unwrap()
        .status();
    assert!(up.unwrap().success());
    let server = ns
        .run(|| TcpListener::bind("127.0.0.1:0"))
        .unwrap()
        .unwrap();
    let address = server.local_addr().unwrap();
    let connect = || std::net::TcpStream::connect_timeout(&address, Duration::from_secs(5));
    ns.run(connect).unwrap().expect("reachable from inside");
    connect().expect_err("the same address outside is another machine's loopback");
}

#[test]
fn a_child_process_starts_inside_and_is_found_by_its_number() {
    let ns = NetNs::create().unwrap();
    let mut child = Command::new("cat")
        .stdin(Stdio::piped())
        .net_ns(&ns)
        .unwrap()
        .spawn()
        .expect("spawn returns after exec, so the child has entered");
    let found = NetNs::of_pid(child.id()).unwrap();
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
    assert_eq!(found.id(), ns.id());
    let gone = NetNs::of_pid(child.id()).unwrap_err();
    assert_eq!(gone.errno(), Some(Errno::ENOENT), "{gone}");
}

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

#[test]
fn whatever_is_no_network_namespace_is_refused_by_name_and_reason() {
    let scratch = Scratch::new();
    let file = scratch.join("file");
    fs::write(&file, "").unwrap();
    let fifo = scratch.join("fifo");
    mkfifo(&fifo, Mode::S_IRWXU).unwrap();
    let cases = [
        (
            file.as_path(),
            "a regular file (no namespace is mounted on it)",
        ),
        (&fifo, "a FIFO"),
        (scratch.path(), "a directory"),
        (Path::new("/dev/null"), "a device"),
        (Path::new("/proc/self/ns/mnt"), "a mount namespace"),
        (Path::new("/proc/self/ns/pid"), "a PID namespace"),
    ];
    for (path, found) in cases {
        let path = path.to_str().unwrap();
        let refused = NetNs::open(path).unwrap_err().to_string();
        assert_eq!(
            refused,
            format!("{path} is no network namespace, but {found}")
        );
    }
    let missing = NetNs::open(scratch.join("missing")).unwrap_err();
    assert_eq!(missing.errno(), Some(Errno::ENOENT), "{missing}");
}

#[test]
fn a_descriptor_is_checked_like_a_path() {
    let ns = NetNs::create().unwrap();
    let fd = OwnedFd::from(ns.try_clone().unwrap());
    assert_eq!(NetNs::from_fd(fd).unwrap().id(), ns.id());
    let file = fs::File::open("/dev/null").unwrap();
    let refused = NetNs::from_fd(file.into()).unwrap_err();
    assert!(matches!(refused, Error::NoNamespace { .. }), "{refused}");
    let mounts = OwnedFd::from(MountNs::current().unwrap());
    let refused = NetNs::from_fd(mounts).unwrap_err();
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

#[test]
fn a_sysctl_is_the_namespaces_own() {
    let key = "net.ipv4.ip_default_ttl";
    let outside = sysctl::read(key).unwrap();
    let value = if outside == "77" { "78" } else { "77" };
    let ns = NetNs::create().unwrap();
    let inside = ns.run(|| sysctl::write(key, value).and_then(|()| sysctl::read(key)));
    assert_eq!(inside.unwrap().unwrap(), value);
    assert_eq!(
        sysctl::read(key).unwrap(),
        outside,
        "the machine's value is as before"
    );
    assert_eq!(
        ns.run(|| sysctl::read(key)).unwrap().unwrap(),
        value,
        "and it lasts"
    );
}

#[test]
fn a_sysctl_that_is_not_there_or_takes_no_such_value_is_named() {
    let ns = NetNs::create().unwrap();
    let missing = ns
        .run(|| sysctl::write("net.ipv4.conf.eth9.forwarding", "1"))
        .unwrap();
    let missing = missing.unwrap_err().to_string();
    let wanted = "write \"1\" to sysctl net.ipv4.conf.eth9.forwarding: No such file or directory";
    assert!(missing.starts_with(wanted), "{missing}");
    let refused = ns
        .run(|| sysctl::write("net.ipv4.ip_default_ttl", "many"))
        .unwrap();
    let refused = refused.unwrap_err().to_string();
    assert!(
        refused.contains("net.ipv4.ip_default_ttl: Invalid argument"),
        "{refused}"
    );
    let missing = ns
        .run(|| sysctl::read("net.ipv4.no_such_key"))
        .unwrap()
        .unwrap_err();
    assert!(matches!(missing, sysctl::Error::Read { .. }), "{missing}");
}
