//! What ten thousand names cost. Run one by one, the figures are printed:
//! `cargo test --release -p weft-agent --test dns -- --ignored --nocapture ten_thousand`

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::time::Instant;

use super::rig::{Rig, name, settings};
use super::server::{Server, addresses};

/// The server's process serves until its input ends, so that it does not count.
const SERVE: &str = "size::serve_until_the_input_ends";

#[test]
#[ignore = "serves for the measurement"]
fn serve_until_the_input_ends() {
    if std::env::var_os("WEFT_TEST_SERVE").is_none() {
        return;
    }
    let server = Server::start(|asked| addresses(asked, 600, &["192.0.2.1", "192.0.2.2"]));
    println!("address {}", server.address);
    std::io::stdout().flush().unwrap();
    std::io::stdin().lines().for_each(drop);
}

#[test]
#[ignore = "a measurement; needs a quiet machine"]
fn ten_thousand_names_fit_and_are_quick() {
    let mut server = Command::new(std::env::current_exe().unwrap())
        .args([SERVE, "--exact", "--ignored", "--nocapture"])
        .env("WEFT_TEST_SERVE", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(server.stdout.take().unwrap()).lines();
    let mut addresses = lines.filter_map(|line| {
        let line = line.unwrap();
        line.split_once("address ")?.1.parse().ok()
    });
    let address = addresses.next().unwrap();

    let rig = Rig::start(settings(&[address]));
    rig.watch(&["warm.test"]);
    rig.wait_for("warm.test", &["192.0.2.1", "192.0.2.2"]);
    let before = resident();
    let names = (0..10_000).map(|i| name(&format!("host-{i}.region-1.example.test")));
    let begin = Instant::now();
    rig.resolver.watch(&names.collect());
    rig.wait("all names", |rig| {
        let snapshot = rig.resolver.snapshot();
        snapshot.values().all(|r| r.addresses.len() == 2)
    });
    let took = begin.elapsed();
    let grown = resident() - before;
    println!("10000 names: {took:?}, {grown} KiB (from {before} KiB), with a log of all events");
    drop(server.stdin.take());
    assert!(server.wait().unwrap().success());
    assert!(took.as_secs() < 20, "{took:?}");
    assert!(grown < 25 * 1024, "{grown} KiB");
}

/// Resident memory of this process, in KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let words = line.unwrap().split_whitespace().next();
    words.unwrap().parse().unwrap()
}
