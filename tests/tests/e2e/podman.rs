//! A container runtime that knows nothing of pods: podman, with a network for each project.

use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use weft_lab::lab::status::NodeStatus;
use weft_netns::CommandNs as _;
use weft_wait::eventually;

use crate::cluster::{Cluster, Pod, Said, line, two_nodes};
use crate::icmp::ping;
use crate::residue::traces;

/// Everything of podman's that is not the container's goes to a folder of the lab, and `/run` and `/var/lib` are its own.
/// crun takes no machine that has control groups of both versions.
const SURROUNDINGS: &str = "set -e; mount --bind /run/weft-lab /mnt; mount -t tmpfs tmpfs /run; mkdir -p /run/weft-lab /run/netns; \
     mount --move /mnt /run/weft-lab; mount -t tmpfs tmpfs /var/lib; \
     mount -t cgroup2 cgroup2 /sys/fs/cgroup; echo ready; exec sleep infinity";

/// A podman on one node: its containers end with it, also when the test is killed.
struct Podman {
    dir: PathBuf,
    /// The first process of a PID namespace.
    holder: Child,
    /// That process, as everybody else sees it.
    pid: String,
}

impl Podman {
    fn on(cluster: &Cluster, node: &NodeStatus) -> Self {
        let dir = cluster.name().dir().join("podman");
        for folder in ["networks", "rootfs"] {
            fs::create_dir_all(dir.join(folder)).unwrap();
        }
        // The programs of this machine, so that no image is needed.
        for folder in ["dev", "etc", "proc", "run", "sys", "tmp", "usr", "var"] {
            fs::create_dir(dir.join("rootfs").join(folder)).unwrap();
        }
        for link in ["bin", "lib", "lib64", "sbin"] {
            let to = PathBuf::from("usr").join(link);
            std::os::unix::fs::symlink(to, dir.join("rootfs").join(link)).unwrap();
        }
        let at = |name: &str| dir.join(name).display().to_string();
        let plugins = node.cni_bin_dir.display();
        // Without limits of its own: to set those takes rights that a container with a test in it may lack.
        let config = format!(
            "[containers]\ncgroups = 'disabled'\ndefault_ulimits = []\npids_limit = 0\n\
             [engine]\ncgroup_manager = 'cgroupfs'\nevents_logger = 'none'\nlock_type = 'file'\nruntime = 'crun'\n\
             static_dir = '{}'\ntmp_dir = '{}'\nvolume_path = '{}'\n\
             [network]\nnetwork_backend = 'cni'\ncni_plugin_dirs = ['{plugins}']\nnetwork_config_dir = '{}'\n",
            at("static"),
            at("tmp"),
            at("volumes"),
            at("networks")
        );
        fs::write(dir.join("containers.conf"), config).unwrap();
        let storage = format!(
            "[storage]\ndriver = 'vfs'\ngraphroot = '{}'\nrunroot = '{}'\n",
            at("graph"),
            at("run")
        );
        fs::write(dir.join("storage.conf"), storage).unwrap();
        // With the machine's /sys, where crun looks for control groups.
        let mut command = Command::new("setpriv");
        command
            .net_ns(&cluster.host_netns(&node.name).unwrap())
            .unwrap();
        command.args(["--pdeathsig", "KILL", "--", "unshare", "--mount", "--pid"]);
        command.args(["--fork", "--kill-child=KILL", "--mount-proc"]);
        command.args(["sh", "-c", SURROUNDINGS]);
        let ready = fs::File::create(dir.join("ready")).unwrap();
        let holder = command.stdout(ready).spawn().unwrap();
        eventually("podman's surroundings are there", || {
            fs::read_to_string(dir.join("ready")).unwrap() == "ready\n"
        });
        let id = holder.id();
        let pid = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap();
        Self {
            dir,
            holder,
            pid: pid.trim().to_owned(),
        }
    }

    /// A network as its owner writes it, in a version that podman reads. `namespace` is what the plugin is told.
    fn network(&self, node: &NodeStatus, name: &str, namespace: Option<&str>) {
        let list = fs::read(node.cni_conf_dir.join("10-weft.conflist")).unwrap();
        let mut list: Value = serde_json::from_slice(&list).unwrap();
        list["cniVersion"] = "1.0.0".into();
        list["name"] = name.into();
        if let Some(namespace) = namespace {
            list["plugins"][0]["namespace"] = namespace.into();
        }
        let path = self.dir.join(format!("networks/{name}.conflist"));
        fs::write(path, list.to_string()).unwrap();
    }

    fn run(&self, args: &[&str]) -> Said {
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.pid, "--mount", "--pid", "--net", "podman"]);
        let config = self.dir.join("containers.conf");
        let storage = self.dir.join("storage.conf");
        command
            .env("CONTAINERS_CONF", config)
            .env("CONTAINERS_STORAGE_CONF", storage);
        Said::of(command.args(args).stdin(Stdio::null()))
    }

    /// Starts a container that answers iperf3.
    fn start(&self, name: &str, network: &str) -> Said {
        let rootfs = self.dir.join("rootfs").display().to_string();
        let options = ["--name", name, "--network", network];
        let run = ["run", "--detach", "--volume", "/usr:/usr:ro"];
        // The kernel of a test machine may lack seccomp's filters.
        let program = [
            "--security-opt=seccomp=unconfined",
            "--rootfs",
            &rootfs,
            "iperf3",
            "--server",
        ];
        self.run(&[&run[..], &options, &program].concat())
    }

    /// Its addresses, as podman knows them from the plugin's result.
    fn addresses(&self, name: &str, network: &str) -> [IpAddr; 2] {
        let said = self.run(&["inspect", name]).ok();
        let value: Value = serde_json::from_str(&said).unwrap();
        let network = &value[0]["NetworkSettings"]["Networks"][network];
        ["IPAddress", "GlobalIPv6Address"].map(|key| {
            let text = network[key].as_str().unwrap();
            text.parse().unwrap_or_else(|_| panic!("{key}: {network}"))
        })
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        drop(self.run(&["rm", "--force", "--all", "--time=0"]));
        drop(self.holder.kill());
        drop(self.holder.wait());
    }
}

const MEGABYTE: u64 = 1 << 20;

fn client(to: IpAddr) -> [String; 6] {
    let text = "iperf3 --json --connect-timeout=2000 --bytes=1M --client";
    let mut words = text.split(' ').map(str::to_owned).chain([to.to_string()]);
    std::array::from_fn(|_| words.next().unwrap())
}

/// What iperf3 measured, if it had its connection.
fn measured(said: &Said) -> Option<Value> {
    let value: Value = serde_json::from_str(&said.stdout).unwrap();
    value.get("error").is_none().then_some(value)
}

fn of_pod(cluster: &Cluster, pod: &Pod, to: IpAddr) -> Said {
    let words = client(to);
    let mut command = cluster
        .in_pod(&pod.namespace, &pod.name, &words[0])
        .unwrap();
    Said::of(command.args(&words[1..]))
}

fn of_container(podman: &Podman, name: &str, to: IpAddr) -> Said {
    let words = client(to);
    let words = words.each_ref().map(String::as_str);
    podman.run(&[&["exec", name][..], &words].concat())
}

/// A megabyte each way; each side sees the other's own address.
fn exchange(cluster: &Cluster, podman: &Podman, name: &str, container: IpAddr, pod: &Pod) {
    let ip = pod.ips[usize::from(container.is_ipv6())];
    eventually("the container's iperf3 takes a connection", || {
        let Some(value) = measured(&of_pod(cluster, pod, container)) else {
            return false;
        };
        assert_eq!(value["start"]["connected"][0]["local_host"], json!(ip));
        value["end"]["sum_received"]["bytes"].as_u64().unwrap() >= MEGABYTE
    });
    let logs = podman.run(&["logs", name]).ok();
    let accepted = format!("Accepted connection from {ip},");
    assert!(logs.contains(&accepted), "{accepted}: {logs}");

    let mut server = cluster.in_pod(&pod.namespace, &pod.name, "iperf3").unwrap();
    server
        .args(["--server", "--one-off", "--json"])
        .stdout(Stdio::piped());
    let server = server.spawn().unwrap();
    eventually("the container reaches the pod's iperf3", || {
        let value = measured(&of_container(podman, name, ip));
        value.is_some_and(|it| it["end"]["sum_sent"]["bytes"].as_u64().unwrap() >= MEGABYTE)
    });
    let output = server.wait_with_output().unwrap();
    let value: Value = serde_json::from_slice(&output.stdout).unwrap();
    let seen = &value["start"]["accepted_connection"]["host"];
    assert_eq!(*seen, json!(container), "the container's own address");
}

/// The other project's pod is not reached, nor does it reach; the node says why.
fn kept_apart(cluster: &Cluster, podman: &Podman, name: &str, container: IpAddr, pod: &Pod) {
    let ip = pod.ips[usize::from(container.is_ipv6())];
    for (from, to) in [(ip, container), (container, ip)] {
        let said = if from == ip {
            of_pod(cluster, pod, to)
        } else {
            of_container(podman, name, to)
        };
        assert!(measured(&said).is_none(), "{from} -> {to}: {said:?}");
        cluster.dropped("node1", &format!("{from} -> {to}"), |drop| {
            let text = line(drop);
            drop.reason == "Isolated"
                && text.contains(&format!("\"{from}\""))
                && text.contains(&format!("\"{to}\""))
        });
    }
}

#[test]
fn a_container_of_podman_is_a_member_of_its_project() {
    let cluster = Cluster::up(&two_nodes());
    let friends = [
        cluster.pod("a/friend", "node1"),
        cluster.pod("a/remote", "node2"),
    ];
    let stranger = cluster.pod("b/stranger", "node1");
    let node = cluster.status().unwrap().nodes.remove(0);
    let podman = Podman::on(&cluster, &node);
    podman.network(&node, "weft-a", Some("a"));
    // A row of its own that stays, as it is what the stranger does later.
    for ip in &friends[0].ips {
        assert!(!ping(&stranger.netns, *ip, Duration::from_millis(50)));
    }
    let before = traces(&cluster, "node1");

    let id = podman.start("Shop_Front", "weft-a").ok();
    let ips = podman.addresses("Shop_Front", "weft-a");
    for ip in ips {
        let within = node.subnets.iter().any(|subnet| subnet.contains(&ip));
        assert!(within, "{ip} of {:?}", node.subnets);
    }
    let known = cluster.pods("node1");
    let row = known.iter().find(|pod| pod.name == "shop-front").unwrap();
    assert_eq!((&*row.namespace, &row.ips[..]), ("a", &ips[..]), "{id}");
    for ip in ips {
        for pod in &friends {
            exchange(&cluster, &podman, "Shop_Front", ip, pod);
        }
        kept_apart(&cluster, &podman, "Shop_Front", ip, &stranger);
    }

    // Stopped and started again it is attached anew; removed, nothing of it is left.
    podman.run(&["stop", "--time=0", "Shop_Front"]).ok();
    assert_eq!(traces(&cluster, "node1"), before, "stopped");
    podman.run(&["start", "Shop_Front"]).ok();
    let ips = podman.addresses("Shop_Front", "weft-a");
    exchange(&cluster, &podman, "Shop_Front", ips[0], &friends[1]);
    podman
        .run(&["rm", "--force", "--time=0", "Shop_Front"])
        .ok();
    assert_eq!(traces(&cluster, "node1"), before, "removed");
}

#[test]
fn podman_is_told_what_its_network_lacks() {
    let cluster = Cluster::up(&two_nodes());
    let node = cluster.status().unwrap().nodes.remove(0);
    let podman = Podman::on(&cluster, &node);
    let before = traces(&cluster, "node1");
    let told = |network: &str, part: &str| {
        let said = podman.start(network, network);
        assert_ne!(said.code, Some(0), "{said:?}");
        assert!(said.stderr.contains(part), "{part}: {said:?}");
    };
    podman.network(&node, "nowhere", None);
    told(
        "nowhere",
        "the project of all its containers, as \"namespace\"",
    );
    podman.network(&node, "misspelt", Some("Team_A"));
    told(
        "misspelt",
        "namespace \"Team_A\" of the network configuration",
    );
    assert_eq!(
        traces(&cluster, "node1"),
        before,
        "nothing is left half-way"
    );
}
