//! The servers of a resolv.conf, which is replaced in all the ways that files are.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use weft_agent::dns::{Event, Settings};

use super::rig::{Rig, settings};
use super::server::{Server, addresses, fresh_ip};

const WWW: &str = "www.test";

/// Ruins a file.
type Spoil = fn(&Path);

/// A directory that goes with the test.
struct Dir(PathBuf);

impl Dir {
    fn new() -> Self {
        let dir = std::env::temp_dir().join(format!("weft-dns-{:016x}", rand::random::<u64>()));
        std::fs::create_dir(&dir).unwrap();
        Self(dir)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

/// A server on port 53 of an address of its own, which answers with this one address for ever.
fn server(answer: &'static str) -> Server {
    Server::at((fresh_ip(), 53).into(), move |asked| {
        addresses(asked, 1800, &[answer])
    })
}

fn text(server: &Server) -> String {
    format!(
        "# comment\nsearch test\noptions ndots:5 unknown-to-us\nnameserver {}\n",
        server.address.ip()
    )
}

fn replace(path: &Path, text: &str) {
    let new = path.with_extension("new");
    std::fs::write(&new, text).unwrap();
    std::fs::rename(&new, path).unwrap();
}

fn following(path: &Path) -> Rig {
    Rig::start(Settings {
        servers: None,
        resolv_conf: path.into(),
        ..settings(&[])
    })
}

#[test]
fn a_file_replaced_by_rename_is_read_and_every_name_asked_anew() {
    let dir = Dir::new();
    let path = dir.path("resolv.conf");
    let (a, b) = (server("192.0.2.1"), server("192.0.2.2"));
    std::fs::write(&path, text(&a)).unwrap();
    let rig = following(&path);
    assert_eq!(
        rig.resolver.servers(),
        [a.address],
        "known from the start, port 53"
    );
    rig.watch(&[WWW, "other.test"]);
    rig.wait_for(WWW, &["192.0.2.1"]);
    rig.wait_for("other.test", &["192.0.2.1"]);

    replace(&path, &text(&b));
    rig.wait_for(WWW, &["192.0.2.1", "192.0.2.2"]);
    rig.wait_for("other.test", &["192.0.2.1", "192.0.2.2"]);
    let told = rig
        .events()
        .into_iter()
        .filter_map(|(_, event)| match event {
            Event::Servers(servers) => Some(servers),
            _ => None,
        });
    assert_eq!(told.collect::<Vec<_>>(), [vec![a.address], vec![b.address]]);
    assert!(rig.resolver.problems().is_empty());
}

#[test]
fn a_link_that_is_swapped_and_a_target_that_is_written_in_place() {
    let dir = Dir::new();
    let (path, run) = (dir.path("resolv.conf"), dir.path("run"));
    std::fs::create_dir(&run).unwrap();
    let (a, b, c) = (
        server("192.0.2.1"),
        server("192.0.2.2"),
        server("192.0.2.3"),
    );
    std::fs::write(run.join("stub"), text(&a)).unwrap();
    std::fs::write(dir.path("full"), text(&b)).unwrap();
    std::os::unix::fs::symlink("run/stub", &path).unwrap();
    let rig = following(&path);
    assert_eq!(rig.resolver.servers(), [a.address]);

    std::fs::write(run.join("stub"), text(&c)).unwrap();
    rig.wait("the new text", |rig| rig.resolver.servers() == [c.address]);
    std::os::unix::fs::symlink("full", dir.path("swap")).unwrap();
    std::fs::rename(dir.path("swap"), &path).unwrap();
    rig.wait("the new target", |rig| {
        rig.resolver.servers() == [b.address]
    });
}

#[test]
fn a_broken_empty_or_missing_file_keeps_the_servers_and_is_a_problem() {
    let dir = Dir::new();
    let path = dir.path("resolv.conf");
    let a = server("192.0.2.1");
    std::fs::write(&path, text(&a)).unwrap();
    let rig = following(&path);
    rig.watch(&[WWW]);
    rig.wait_for(WWW, &["192.0.2.1"]);
    let cases: [(&str, Spoil); 4] = [
        ("no usable name server", |path| replace(path, "")),
        ("\"nameserver one\"", |path| {
            replace(path, "nameserver one\n");
        }),
        ("no usable name server", |path| {
            replace(path, "\u{0}\u{1}\u{2}");
        }),
        ("cannot be read", |path| std::fs::remove_file(path).unwrap()),
    ];
    for (part, spoil) in cases {
        spoil(&path);
        rig.wait(part, |rig| {
            let problems = rig.resolver.problems();
            problems
                .iter()
                .any(|problem| problem.message.contains(part))
        });
        assert_eq!(
            rig.resolver.problems()[0].object.to_string(),
            path.display().to_string()
        );
        assert_eq!(rig.resolver.servers(), [a.address]);
        replace(&path, &text(&a));
        rig.wait("mended", |rig| rig.resolver.problems().is_empty());
    }
    assert_eq!(
        a.asked(WWW, false),
        2,
        "the servers never changed, so nothing was asked"
    );
    let told = rig.events();
    let problems = told
        .iter()
        .filter(|(_, event)| matches!(event, Event::Problems(_)));
    assert!(problems.count() >= 8, "each is told, and that it is mended");
}

#[test]
fn the_directory_may_come_later() {
    let dir = Dir::new();
    let path = dir.path("etc").join("resolv.conf");
    let a = server("192.0.2.1");
    let rig = following(&path);
    rig.watch(&[WWW]);
    assert!(rig.wait_for_error(WWW).contains("no name server"));
    assert!(
        rig.resolver.problems()[0]
            .message
            .contains("cannot be read")
    );
    std::fs::create_dir(dir.path("etc")).unwrap();
    std::fs::write(&path, text(&a)).unwrap();
    rig.wait_for(WWW, &["192.0.2.1"]);
    assert!(rig.resolver.problems().is_empty());
}

#[test]
fn configured_servers_leave_the_file_alone() {
    let dir = Dir::new();
    let path = dir.path("resolv.conf");
    let (a, b) = (server("192.0.2.1"), server("192.0.2.2"));
    std::fs::write(&path, text(&b)).unwrap();
    let rig = Rig::start(Settings {
        resolv_conf: path.clone(),
        ..settings(&[a.address])
    });
    rig.watch(&[WWW]);
    rig.wait_for(WWW, &["192.0.2.1"]);
    std::fs::remove_file(&path).unwrap();
    assert_eq!(rig.resolver.servers(), [a.address]);
    assert!(rig.resolver.problems().is_empty());
    assert_eq!(b.asked_in_all(), 0);
}

#[test]
fn ipv6_servers_count_and_each_counts_once() {
    let dir = Dir::new();
    let path = dir.path("resolv.conf");
    let lines = "nameserver 2001:db8::53\nnameserver 192.0.2.53\nnameserver 2001:db8::53\n\
                 nameserver fe80::1%eth0\n";
    std::fs::write(&path, lines).unwrap();
    let rig = following(&path);
    let expected = ["2001:db8::53", "192.0.2.53"].map(|text| {
        let ip: IpAddr = text.parse().unwrap();
        SocketAddr::new(ip, 53)
    });
    assert_eq!(rig.resolver.servers(), expected);
    let problems = rig.resolver.problems();
    assert!(problems[0].message.contains("fe80::1%eth0"), "{problems:?}");
}
