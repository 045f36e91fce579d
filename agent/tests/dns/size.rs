//! What ten thousand names cost. Run one by one, the figures are printed:
//! `cargo test --release -p weft-agent --test dns -- --ignored --nocapture ten_thousand`

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use weft_agent::dns::{Event, spawn};
use weft_core::model::DnsName;

use super::rig::{name, settings};
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

    let answered = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&answered);
    // Nothing is kept of the events, and no snapshot taken: what is measured is what the resolver itself holds.
    let resolver = spawn(settings(&[address]), move |event| {
        if let Event::Changed(_, resolution) = event
            && resolution.addresses.len() == 2
        {
            count.fetch_add(1, Ordering::Relaxed);
        }
    });
    let resolver = resolver.unwrap();
    let wait_for = |names: usize| {
        let all = || (answered.load(Ordering::Relaxed) >= names).then_some(());
        let done = weft_wait::poll(Duration::from_mins(1), all);
        assert!(done.is_some(), "{answered:?} of {names} names");
    };
    resolver.watch(BTreeSet::from([name("warm.test")]));
    wait_for(1);
    let before = resident();
    let names = (0..10_000).map(|i| name(&format!("host-{i}.region-1.example.test")));
    let names: BTreeSet<DnsName> = names.collect();
    let named = resident();
    let begin = Instant::now();
    resolver.watch(names);
    wait_for(10_001);
    let took = begin.elapsed();
    let after = resident();
    let snapshot = resolver.snapshot();
    let with_snapshot = resident();
    assert_eq!(snapshot.len(), 10_000);
    let grown = after - before;
    println!(
        "10000 names in {took:?}: {grown} KiB, of them {} KiB the texts of the names; from {before} KiB; a snapshot \
         {} KiB more",
        named - before,
        with_snapshot - after,
    );
    drop(server.stdin.take());
    assert!(server.wait().unwrap().success());
    assert!(took.as_secs() < 20, "{took:?}");
    assert!(grown < 12 * 1024, "{grown} KiB");
}

/// Resident memory of this process, in KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let words = line.unwrap().split_whitespace().next();
    words.unwrap().parse().unwrap()
}
