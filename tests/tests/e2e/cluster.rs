//! A lab under a random name, gone when dropped, and questions to its agents.

use std::fs;
use std::net::IpAddr;
use std::ops::Deref;
use std::thread;
use std::time::SystemTime;

use serde::de::DeserializeOwned;
use weft_agent::api::view;
use weft_lab::lab::{self, KubernetesMode, Lab, Options, PodSpec, Progress, state};
use weft_netns::NetNs;
use weft_wait::{SOON, poll};

/// Where a lab keeps its objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Store {
    /// In a directory of manifests.
    Manifests,
    /// On a Kubernetes API server.
    ApiServer,
}

/// A test for each store, `NAME::manifests` and `NAME::api_server`, of a function that takes the store. For what weft does by
/// way of its objects; what the data path does with them is the same whichever store they come from.
macro_rules! on_both_stores {
    ($test:ident) => {
        mod $test {
            use crate::cluster::Store;

            #[test]
            fn manifests() {
                super::$test(Store::Manifests);
            }

            #[test]
            fn api_server() {
                super::$test(Store::ApiServer);
            }
        }
    };
}
pub(crate) use on_both_stores;

/// A lab of its own for one test.
pub struct Cluster {
    lab: Lab,
}

/// A pod of the lab.
pub struct Pod {
    pub namespace: String,
    pub name: String,
    /// IPv4 first.
    pub ips: Vec<IpAddr>,
    pub netns: NetNs,
    /// What the lab knows of it.
    pub record: state::Pod,
}

impl Pod {
    /// `NAMESPACE/NAME`
    pub fn label(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}

/// What a command said.
#[derive(Debug)]
pub struct Said {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Said {
    pub fn of(command: &mut std::process::Command) -> Self {
        let output = command.output().unwrap();
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Its standard output, if it succeeded.
    pub fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.stdout
    }
}

/// Externals for tests that need one: single addresses of both families, and a prefix.
pub const WEB: &str = "web=203.0.113.7,2001:db8::7,198.51.100.0/24";

/// Two nodes, multitenant, with the external host [`WEB`].
pub fn two_nodes() -> Options {
    Options {
        externals: vec![WEB.parse().unwrap()],
        ..Options::default()
    }
}

impl Cluster {
    /// With its objects in a directory of manifests, the store that costs nothing.
    pub fn up(options: &Options) -> Self {
        Self::up_on(Store::Manifests, options)
    }

    pub fn up_on(store: Store, options: &Options) -> Self {
        let name = format!("e2e{:08x}", rand::random::<u32>()).parse().unwrap();
        let options = Options {
            kubernetes: (store == Store::ApiServer).then_some(KubernetesMode::Api),
            ..options.clone()
        };
        let lab = lab::up(&name, &options, Progress::SILENT).unwrap_or_else(|error| {
            panic!("the lab does not come up: {error}");
        });
        Self { lab }
    }

    /// Adds a pod, named `NAMESPACE/NAME`.
    pub fn pod(&self, label: &str, node: &str) -> Pod {
        let (namespace, name) = label.split_once('/').unwrap();
        let added = self.add_pod(&PodSpec::new(namespace, name, node));
        let record = added.unwrap_or_else(|error| panic!("pod {label}: {error}"));
        Pod {
            netns: self.pod_netns(namespace, name).unwrap(),
            namespace: record.namespace.clone(),
            name: record.name.clone(),
            ips: record.ips.clone(),
            record,
        }
    }

    /// Runs `weft ARGS` against a node's agent.
    pub fn ask(&self, node: &str, args: &[&str]) -> Said {
        Said::of(self.weft(Some(node)).unwrap().args(args))
    }

    fn view<T: DeserializeOwned>(&self, node: &str, args: &[&str]) -> T {
        let said = self.ask(node, &[args, &["-o", "json"]].concat());
        serde_json::from_str(&said.stdout)
            .unwrap_or_else(|error| panic!("weft {args:?} on {node}: {error}: {said:?}"))
    }

    pub fn agent_status(&self, node: &str) -> view::Status {
        self.view(node, &["status"])
    }

    pub fn pods(&self, node: &str) -> Vec<view::Pod> {
        self.view(node, &["get", "pods"])
    }

    pub fn projects(&self, node: &str) -> Vec<view::Project> {
        self.view(node, &["get", "projects"])
    }

    pub fn drops(&self, node: &str) -> view::Drops {
        self.view(node, &["get", "drops"])
    }

    /// Packets a node dropped for a reason.
    pub fn count(&self, node: &str, reason: &str) -> u64 {
        let reasons = self.drops(node).reasons;
        let found = reasons.iter().find(|row| row.reason == reason);
        found.map_or(0, |row| row.packets)
    }

    /// Packets of one pod that its node dropped for a reason.
    pub fn pod_count(&self, node: &str, pod: &str, reason: &str) -> u64 {
        let rows = self.drops(node).pods;
        let found = rows
            .iter()
            .find(|row| row.pod == pod && row.reason == reason);
        found.map_or(0, |row| row.packets)
    }

    /// Waits for the event of a drop.
    pub fn dropped(&self, node: &str, what: &str, is: impl Fn(&view::Drop) -> bool) -> view::Drop {
        let mut seen = Vec::new();
        let found = poll(SOON, || {
            seen = self.drops(node).recent;
            seen.iter().rev().find(|drop| is(drop)).cloned()
        });
        found.unwrap_or_else(|| {
            let lines: Vec<String> = seen.iter().map(line).collect();
            panic!(
                "{node} tells of no drop of {what}; it tells of:\n{}",
                lines.join("\n")
            )
        })
    }

    /// Runs a program on a node or an external host.
    pub fn run(&self, host: &str, command: &[&str]) -> Said {
        Said::of(self.on_host(host, command[0]).unwrap().args(&command[1..]))
    }

    /// The node gateway of one family: what its pods are reached from.
    pub fn gateway(&self, node: &str, ipv6: bool) -> IpAddr {
        let status = self.status().unwrap();
        let node = status
            .nodes
            .iter()
            .find(|found| found.name == node)
            .unwrap();
        let subnet = node
            .subnets
            .iter()
            .find(|subnet| subnet.addr().is_ipv6() == ipv6);
        let mut hosts = subnet.unwrap().hosts();
        let first = hosts.next().unwrap();
        // An IPv6 subnet's own address counts as a host.
        if ipv6 { hosts.next().unwrap() } else { first }
    }

    /// Underlay address of one family.
    pub fn node_ip(&self, node: &str, ipv6: bool) -> IpAddr {
        self.state().unwrap().node(node).unwrap().addresses[usize::from(ipv6)]
    }
}

/// A drop as it is shown when a test fails.
pub fn line(drop: &view::Drop) -> String {
    serde_json::to_string(drop).unwrap()
}

impl Deref for Cluster {
    type Target = Lab;

    fn deref(&self) -> &Lab {
        &self.lab
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if thread::panicking() {
            for place in ["apiserver", "controller", "node1", "node2"] {
                let log = fs::read_to_string(self.log(place)).unwrap_or_default();
                let lines: Vec<&str> = log.lines().collect();
                let end = &lines[lines.len().saturating_sub(15)..];
                eprintln!("--- log of {place}\n{}", end.join("\n"));
            }
        }
        // A killed process waits for the kernel's network lock before it ends: long, on a busy machine.
        if let Err(error) = self.lab.down().or_else(|_| self.lab.down()) {
            eprintln!("{error}");
            assert!(thread::panicking(), "the lab is not wholly removed");
        }
    }
}

/// Nanoseconds since 1970, as events count them.
pub fn now() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    u64::try_from(now.unwrap().as_nanos()).unwrap()
}
