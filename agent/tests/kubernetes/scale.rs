//! A large cluster: how long until everything is told, and what it takes to hold it.

use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use kube::api::{Api, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use serde_json::json;
use weft_agent::ingest::{self, Event};
use weft_agent::store::Reader;
use weft_core::model::{LocalNode, World};

use crate::rig::Server;

const NODES: u32 = 5_000;
const PROJECTS: u32 = 10_000;

/// Resident memory of this process, in KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    line.trim().trim_end_matches(" kB").trim().parse().unwrap()
}

async fn fill(server: &Server) {
    let file = Kubeconfig::read_from(server.kubeconfig("admin")).unwrap();
    let config = kube::Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await;
    let client = kube::Client::try_from(config.unwrap()).unwrap();
    let api = |kind: &str| {
        let kind = GroupVersionKind::gvk("network.openshift.io", "v1", kind);
        Api::<DynamicObject>::all_with(client.clone(), &ApiResource::from_gvk(&kind))
    };
    let (hosts, projects) = (api("HostSubnet"), api("NetNamespace"));
    let host = |n: u32| {
        let [_, _, c, d] = n.to_be_bytes();
        let [_, e, f, _] = (n << 8).to_be_bytes();
        json!({
            "apiVersion": "network.openshift.io/v1", "kind": "HostSubnet",
            "metadata": {"name": format!("node-{n}.region-1.example.test"),
                         "annotations": {"pod.network.openshift.io/node-uid": format!("{n:08}-89ab-cdef-0123-456789abcdef")}},
            "host": format!("node-{n}.region-1.example.test"), "hostIP": format!("192.168.{c}.{d}"),
            "subnet": format!("10.{e}.{f}.0/24"),
        })
    };
    let project = |n: u32| {
        json!({
            "apiVersion": "network.openshift.io/v1", "kind": "NetNamespace",
            "metadata": {"name": format!("project-{n}-of-a-team"),
                         "annotations": {"pod.network.openshift.io/namespace-uid": format!("{n:08}-89ab-cdef-0123-456789abcdef")}},
            "netname": format!("project-{n}-of-a-team"), "netid": n + 10,
        })
    };
    let objects = (0..NODES)
        .map(|n| (&hosts, host(n)))
        .chain((0..PROJECTS).map(|n| (&projects, project(n))));
    let params = PostParams::default();
    futures_util::stream::iter(objects)
        .for_each_concurrent(32, |(api, object)| {
            let params = &params;
            async move {
                let object = serde_json::from_value(object).unwrap();
                api.create(params, &object).await.unwrap();
            }
        })
        .await;
}

/// Alone in its process, or the figures are those of other tests.
#[test]
#[ignore = "a minute of work; run it alone: cargo test --release -p weft-agent --test kubernetes -- --ignored --nocapture"]
fn an_agent_holds_a_large_cluster_in_little_memory() {
    let server = Server::new();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(fill(&server));
    drop(runtime);
    let network = json!({
        "apiVersion": "network.openshift.io/v1", "kind": "ClusterNetwork", "metadata": {"name": "default"},
        "clusterNetworks": [{"CIDR": "10.0.0.0/8", "hostSubnetLength": 8}], "serviceNetwork": "172.30.0.0/16",
        "pluginName": "multitenant",
    });
    server.apply(&network.to_string());
    let before = resident();
    let start = Instant::now();
    let store = server.store(Reader::Agent);
    let (sender, events) = channel();
    let running = ingest::spawn(&store, sender).unwrap();
    let ip = [192, 0, 2, 1].into();
    let mut world = World::new(LocalNode {
        name: "n".into(),
        ip,
        addresses: vec![ip],
    });
    loop {
        match events.recv_timeout(Duration::from_mins(2)).unwrap() {
            Event::Changes(changes) => changes.into_iter().for_each(|change| world.take(change)),
            Event::Problems(problems) => assert!(problems.is_empty(), "{problems:?}"),
            Event::Synced => break,
        }
    }
    let took = start.elapsed();
    assert_eq!(
        (world.hosts.len(), world.projects.len()),
        (NODES as usize, PROJECTS as usize)
    );
    let after = resident();
    println!(
        "{NODES} nodes, {PROJECTS} projects: told after {took:?}; resident {before} KiB before, {after} KiB after"
    );
    assert!(after - before < 48 << 10, "{} KiB", after - before);
    drop(running);
}
