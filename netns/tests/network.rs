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
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use weft_netns::{CommandNs as _, Error, MountNs, NetNs};

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
