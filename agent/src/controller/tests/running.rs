//! The controller at work on a directory.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::json;

use super::super::figures::Figures;
use super::super::run;
use super::{namespace, network, node};
use crate::config::{Config, SourceArgs, StoreArgs};
use crate::store::scratch::Scratch;
use crate::store::{Manifests, Store};

struct Running {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    fn new(config: Config) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&stop);
        let thread = std::thread::spawn(move || run(&config, &flag, &Figures::default()).unwrap());
        Self {
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
    }
}

fn config(dir: &std::path::Path) -> Config {
    let args = StoreArgs {
        config: None,
        source: SourceArgs {
            manifests: Some(dir.into()),
            ..SourceArgs::default()
        },
    };
    args.load().unwrap()
}

/// Polls the directory until it has an object; answers how long it took.
fn until(dir: &std::path::Path, kind: &str, name: &str) -> Duration {
    let (start, store) = (Instant::now(), Manifests::new(dir));
    loop {
        if store.list().is_ok_and(|l| l.get(kind, "", name).is_some()) {
            return start.elapsed();
        }
        assert!(
            start.elapsed() < Duration::from_secs(10),
            "no {kind}/{name}"
        );
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn cluster(dir: &Scratch) {
    let entries = json!([{"CIDR": "10.128.0.0/14", "hostSubnetLength": 9}]);
    dir.write(
        "network.json",
        network("multitenant", &entries).value.to_string(),
    );
}

#[test]
fn objects_are_answered_without_a_poll() {
    let dir = Scratch::new();
    cluster(&dir);
    dir.write("n1.json", node("n1", "192.0.2.1").value.to_string());
    let _running = Running::new(config(dir.path()));
    until(dir.path(), "HostSubnet", "n1");
    dir.write("a.json", namespace("a").value.to_string());
    let took = until(dir.path(), "NetNamespace", "a");
    // Far below the resynchronisation, so that it was the watch.
    assert!(took < Duration::from_secs(5), "{took:?}");
    std::fs::remove_file(dir.path().join("a.json")).unwrap();
    let start = Instant::now();
    while dir.names().contains(&"netnamespace-a.yaml".to_owned()) {
        assert!(start.elapsed() < Duration::from_secs(10));
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_standby_takes_over() {
    let dir = Scratch::new();
    cluster(&dir);
    let first = Running::new(config(dir.path()));
    dir.write("a.json", namespace("a").value.to_string());
    until(dir.path(), "NetNamespace", "a");
    let _second = Running::new(config(dir.path()));
    let third = Running::new(config(dir.path()));
    drop(third);
    drop(first);
    dir.write("b.json", namespace("b").value.to_string());
    until(dir.path(), "NetNamespace", "b");
}

#[test]
fn it_waits_for_its_directory() {
    let parent = Scratch::new();
    let dir = parent.path().join("later");
    let _running = Running::new(config(&dir));
    std::fs::create_dir(&dir).unwrap();
    let entries = json!([{"CIDR": "10.128.0.0/14", "hostSubnetLength": 9}]);
    let text = network("multitenant", &entries).value.to_string();
    std::fs::write(dir.join("network.json"), text).unwrap();
    std::fs::write(dir.join("a.json"), namespace("a").value.to_string()).unwrap();
    until(&dir, "NetNamespace", "a");
}
