//! A large cluster: how long until everything is told, and what it takes to hold it.

use std::path::Path;
use std::process::Command;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use kube::api::{Api, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use serde_json::{Value, json};
use weft_agent::ingest::{self, Event};
use weft_agent::store::Reader;
use weft_core::model::{LocalNode, World};

use crate::rig::{Process, Server, until};

const NODES: u32 = 5_000;
const PROJECTS: u32 = 10_000;

/// Resident memory of a process, in KiB.
fn resident(process: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
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

/// A network of its own for this test: the agent changes the one that it runs in.
const SETUP: &str = "set -e; ip link set lo up; ip link add eth0 type veth peer name other; ip link set other up; ip addr add 192.168.0.1/16 dev eth0; \
                     ip link set eth0 up; ip route add default via 192.168.255.254; mount -t bpf bpf /sys/fs/bpf; \
                     exec \"$0\" --ignored --exact --nocapture scale::a_large_cluster_takes_little_memory";
const INSIDE: &str = "WEFT_TEST_INSIDE";

#[test]
#[ignore = "a minute of work of both processors (root): make soak"]
fn a_large_cluster_takes_little_memory() {
    if std::env::var_os(INSIDE).is_some() {
        return measure();
    }
    let mut command = Command::new("unshare");
    command
        .args(["--net", "--mount", "sh", "-c", SETUP])
        .arg(std::env::current_exe().unwrap());
    let status = command.env(INSIDE, "1").status().unwrap();
    assert!(status.success(), "{status}");
}

fn measure() {
    let server = Server::new();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let start = Instant::now();
    runtime.block_on(fill(&server));
    drop(runtime);
    println!("written in {:?}", start.elapsed());
    let network = json!({
        "apiVersion": "network.openshift.io/v1", "kind": "ClusterNetwork", "metadata": {"name": "default"},
        "clusterNetworks": [{"CIDR": "10.0.0.0/8", "hostSubnetLength": 8}], "serviceNetwork": "172.30.0.0/16",
        "pluginName": "multitenant",
    });
    server.apply(&network.to_string());
    store_alone(&server);
    whole_agent(&server);
}

/// Processor time of a process up to now.
fn processor_time(process: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    // proc(5): behind the name in parentheses is field 3; 14 and 15 count clock ticks.
    let fields = stat.rsplit_once(')').unwrap().1.split_whitespace();
    let ticks: u64 = fields
        .skip(11)
        .take(2)
        .map(|it| it.parse::<u64>().unwrap())
        .sum();
    let rate = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK);
    Duration::from_millis(ticks * 1_000 / u64::try_from(rate.unwrap().unwrap()).unwrap())
}

/// The store and the ingest, in this process.
fn store_alone(server: &Server) {
    let before = resident("self");
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
            // A server that has just learned a kind asks for patience.
            Event::Problems(_) => {}
            Event::Synced => break,
        }
    }
    let took = start.elapsed();
    assert_eq!(
        (world.hosts.len(), world.projects.len()),
        (NODES as usize, PROJECTS as usize)
    );
    let grown = resident("self") - before;
    println!("store, ingest and world: told after {took:?}, {grown} KiB");
    drop(running);
}

/// The agent as it runs on a node, with its rows in the kernel.
fn whole_agent(server: &Server) {
    let dir = server.kubeconfig("admin").with_file_name("agent");
    let weft = || Command::new(env!("CARGO_BIN_EXE_weft"));
    let start = Instant::now();
    let mut command = weft();
    command.args([
        "agent",
        "--node-name",
        "node-1.region-1.example.test",
        "--kubeconfig",
    ]);
    command.arg(server.kubeconfig("admin"));
    command
        .arg("--run-dir")
        .arg(dir.join("run"))
        .arg("--state-dir")
        .arg(dir.join("state"));
    let log = std::fs::File::create(dir.with_extension("log")).unwrap();
    let mut agent = Process::start(&mut command, Some(log));
    let status = until("the agent is ready", || {
        let log = || std::fs::read_to_string(dir.with_extension("log")).unwrap();
        assert!(!agent.ended(), "the agent ended: {}", log());
        let output = weft()
            .args(["status", "-o", "json", "--run-dir"])
            .arg(dir.join("run"))
            .output()
            .unwrap();
        let status: Value = serde_json::from_slice(&output.stdout).ok()?;
        (status["ready"] == true && status["projects"] == PROJECTS).then_some(status)
    });
    let took = start.elapsed();
    assert_eq!(status["nodes"], NODES, "{status}");
    let resident = resident(&agent.id().to_string());
    let busy = processor_time(agent.id());
    println!(
        "the whole agent: ready after {took:?}, {busy:?} of a processor, {resident} KiB resident"
    );
    let figures = json!({
        "case": "scale", "hostSubnets": NODES, "netNamespaces": PROJECTS, "readySeconds": took.as_secs_f64(),
        "processorSeconds": busy.as_secs_f64(), "residentKiB": resident, "residentKiBAtMost": 64 << 10,
    });
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("soak");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("scale.json"), format!("{figures:#}\n")).unwrap();
    assert!(resident < 64 << 10, "{resident} KiB");
}
