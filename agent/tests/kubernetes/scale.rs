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

/// How long the controller may take for all of it.
const WORK: Duration = Duration::from_mins(5);

/// Resident memory of a process now, and at most so far, in KiB.
fn resident(process: &str) -> [u64; 2] {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    ["VmRSS:", "VmHWM:"].map(|field| {
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let number = line.unwrap().trim().trim_end_matches(" kB");
        number.trim().parse().unwrap()
    })
}

/// Nodes and namespaces, of which a controller makes the rest.
async fn fill(server: &Server) {
    let file = Kubeconfig::read_from(server.kubeconfig("admin")).unwrap();
    let config = kube::Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await;
    let client = kube::Client::try_from(config.unwrap()).unwrap();
    let api = |kind: &str| {
        let kind = GroupVersionKind::gvk("", "v1", kind);
        Api::<DynamicObject>::all_with(client.clone(), &ApiResource::from_gvk(&kind))
    };
    let (nodes, projects) = (api("Node"), api("Namespace"));
    let node = |n: u32| {
        let [_, _, c, d] = n.to_be_bytes();
        json!({
            "apiVersion": "v1", "kind": "Node", "metadata": {"name": format!("node-{n}.region-1.example.test")},
            "status": {"addresses": [{"type": "InternalIP", "address": format!("192.168.{c}.{d}")}]},
        })
    };
    let project = |n: u32| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": format!("project-{n}-of-a-team")}});
    let objects = (0..NODES)
        .map(|n| (&nodes, node(n)))
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

/// How many objects there are.
fn count(server: &Server, path: &str) -> u64 {
    let list = server.kubectl(&["get", "--raw", &format!("{path}?limit=1")]);
    let list: Value = serde_json::from_str(&list).unwrap();
    let here = list["items"].as_array().unwrap().len() as u64;
    here + list["metadata"]["remainingItemCount"].as_u64().unwrap_or(0)
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
    server.kubectl(&["create", "namespace", "weft"]);
    let projects = count(&server, "/api/v1/namespaces");
    let controller = whole_controller(&server, projects);
    store_alone(&server, projects);
    let agent = whole_agent(&server, projects);
    let figures = json!({
        "case": "scale", "hostSubnets": NODES, "netNamespaces": projects, "agentKiBAtMost": BOUND,
        "controllerKiBAtMost": CONTROLLER_BOUND, "controller": controller, "agent": agent,
    });
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("soak");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("scale.json"), format!("{figures:#}\n")).unwrap();
    for (process, bound) in [(agent, BOUND), (controller, CONTROLLER_BOUND)] {
        let resident = process["residentKiB"].as_u64().unwrap();
        assert!(resident < bound, "{figures:#}");
    }
}

/// Resident memory, in KiB, of an agent; there is one on each node.
const BOUND: u64 = 64 << 10;
/// The same of a controller, which keeps each object whole: it writes them.
const CONTROLLER_BOUND: u64 = 192 << 10;

/// What it took a process so far.
fn figures(name: &str, process: &Process, took: Duration) -> Value {
    let [resident, peak] = resident(&process.id().to_string());
    let busy = processor_time(process.id());
    println!(
        "{name}: after {took:?}, {busy:?} of a processor, {resident} KiB resident, at most {peak}"
    );
    json!({
        "seconds": took.as_secs_f64(), "processorSeconds": busy.as_secs_f64(), "residentKiB": resident,
        "peakKiB": peak,
    })
}

/// A controller that finds nodes and projects without networks.
fn whole_controller(server: &Server, projects: u64) -> Value {
    let kubeconfig = server.kubeconfig("admin");
    let log = std::fs::File::create(kubeconfig.with_file_name("controller.log")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_weft"));
    command
        .args(["controller", "--kubeconfig"])
        .arg(&kubeconfig);
    let start = Instant::now();
    let mut controller = Process::start(&mut command, Some(log));
    let of = |resource: &str| count(server, &format!("/apis/network.openshift.io/v1/{resource}"));
    weft_wait::answer("all objects are there", WORK, || {
        assert!(!controller.ended());
        let made = (of("hostsubnets"), of("netnamespaces"));
        (made == (u64::from(NODES), projects)).then_some(())
    });
    let took = start.elapsed();
    figures("the controller", &controller, took)
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
fn store_alone(server: &Server, projects: u64) {
    let [before, _] = resident("self");
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
        (NODES as usize, usize::try_from(projects).unwrap())
    );
    let grown = resident("self")[0].saturating_sub(before);
    println!("store, ingest and world: told after {took:?}, {grown} KiB");
    drop(running);
}

/// The agent as it runs on a node, with its rows in the kernel.
fn whole_agent(server: &Server, projects: u64) -> Value {
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
        (status["ready"] == true && status["projects"] == projects).then_some(status)
    });
    let took = start.elapsed();
    assert_eq!(status["nodes"], NODES, "{status}");
    figures("the whole agent", &agent, took)
}
