//! `cnitool` of the CNI project attaches, checks and detaches, given nothing but the paths of the lab's status.

use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use weft_lab::lab::name::netns_path;
use weft_netns::{CommandNs as _, NetNs};
use weft_wait::{SOON, eventually};

use crate::cluster::{Cluster, Said, two_nodes};
use crate::icmp::ping;

const MODULE: &str = "github.com/containernetworking/cni/cnitool@v1.3.0";

/// Builds it once into the target directory; why not, if it cannot be had.
fn cnitool() -> Result<PathBuf, String> {
    let bin = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("cnitool-1.3.0");
    let tool = bin.join("cnitool");
    if tool.is_file() {
        return Ok(tool);
    }
    let mut go = Command::new("go");
    go.args(["install", MODULE])
        .env("GOBIN", &bin)
        .env("GOFLAGS", "-modcacherw");
    let output = go
        .output()
        .map_err(|error| format!("go is not there: {error}"))?;
    if output.status.success() {
        Ok(tool)
    } else {
        let why = String::from_utf8_lossy(&output.stderr).into_owned();
        Err(format!("go install {MODULE}: {why}"))
    }
}

/// A namespace with a name, as a runtime makes one.
struct Container {
    name: String,
    netns: NetNs,
}

impl Container {
    fn new() -> Self {
        let name = format!("e2e-cnitool-{:08x}", rand::random::<u32>());
        let netns = NetNs::create_at(netns_path(&name)).unwrap();
        Self { name, netns }
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        drop(weft_netns::unpin(netns_path(&self.name)));
    }
}

#[test]
fn cnitool_attaches_checks_and_detaches() {
    let tool = match cnitool() {
        Ok(tool) => tool,
        Err(why) => {
            // Not a fault of the product: the rest of the suite says the same of the plugin without this program.
            println!("SKIPPED: cnitool cannot be built here: {why}");
            return;
        }
    };
    let cluster = Cluster::up(&two_nodes());
    let friend = cluster.pod("a/friend", "node1");
    let remote = cluster.pod("a/remote", "node2");
    let container = Container::new();
    let node = cluster.status().unwrap().nodes.remove(0);
    // cnitool keeps results under /var/lib/cni, with no way to say otherwise.
    let cache = cluster.name().dir().join("cnitool-cache");
    fs::create_dir(&cache).unwrap();
    let run = |verb: &str| {
        let mut command = cluster.on_host("node1", "sh").unwrap();
        let script = "mount --bind \"$1\" /var/lib && exec \"$2\" \"$3\" weft \"$4\"";
        command
            .args(["-c", script, "sh"])
            .arg(&cache)
            .arg(&tool)
            .arg(verb)
            .arg(netns_path(&container.name))
            .env("NETCONFPATH", &node.cni_conf_dir)
            .env("CNI_PATH", &node.cni_bin_dir)
            .env(
                "CNI_ARGS",
                "IgnoreUnknown=1;K8S_POD_NAMESPACE=a;K8S_POD_NAME=tool",
            );
        Said::of(&mut command)
    };

    let result: Value = serde_json::from_str(&run("add").ok()).unwrap();
    let address = |index: usize| -> IpAddr {
        let text = result["ips"][index]["address"].as_str().unwrap();
        text.split('/').next().unwrap().parse().unwrap()
    };
    let ips = [address(0), address(1)];
    let known = cluster.pods("node1");
    let row = known.iter().find(|pod| pod.name == "tool").unwrap();
    assert_eq!((&*row.namespace, &row.ips[..]), ("a", &ips[..]));
    run("check").ok();
    for (index, ip) in ips.into_iter().enumerate() {
        for pod in [&friend, &remote] {
            assert!(ping(&pod.netns, ip, SOON), "{} -> {ip}", pod.label());
            assert!(
                ping(&container.netns, pod.ips[index], SOON),
                "{ip} -> {}",
                pod.label()
            );
        }
    }

    // What the node loses the agent puts back by itself; what the container has lost CHECK tells.
    let address = ips[0].to_string();
    cluster.run("node1", &["ip", "route", "del", &address]).ok();
    eventually("the route is back", || run("check").code == Some(0));
    assert!(ping(&friend.netns, ips[0], SOON));
    let mut remove = Command::new("ip");
    remove.args(["address", "del", &address, "dev", "eth0"]);
    Said::of(remove.net_ns(&container.netns).unwrap()).ok();
    let said = run("check");
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(
        said.stderr.contains(&address),
        "it names what is missing: {said:?}"
    );

    run("del").ok();
    run("del").ok();
    assert!(cluster.pods("node1").iter().all(|pod| pod.name != "tool"));
    assert!(!ping(&friend.netns, ips[0], Duration::from_millis(50)));
}
