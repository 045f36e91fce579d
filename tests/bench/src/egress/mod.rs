//! The egress firewall: by the number of rules, from a change to the verdict, and what it needs.
//!
//! # Layout
//! - [`programs`]: one packet, and memory, as `weft bench-programs` measures them
//! - [`paths`]: traffic to the outside, beside iptables
//! - [`enforce`]: from a policy's file and from a name's records to the wire
//! - [`memory`]: the agent's memory with many policies

pub mod enforce;
pub mod memory;
pub mod paths;
pub mod programs;

use std::net::{IpAddr, Ipv4Addr};

use anyhow::Result;
use serde_json::{Value, json};
use weft_netns::NetNs;

use super::Options;
use super::attach::{Attach as _, Plugin, Pod};
use super::cluster::Cluster;
use super::report::Table;

/// The host outside, on every address of its prefixes; [`target`] is in the first.
pub const WEB: &str = "web=198.51.100.0/24,203.0.113.128/25";
/// The name server outside.
pub const DNS: &str = "203.0.113.53";
/// The zone of the names.
const ZONE: &str = "bench.test";
/// Where traffic goes.
const TARGET: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);

type Measure = fn(&Options, &Cluster) -> Result<Table>;

/// What is measured on a lab.
pub const MEASUREMENTS: [(&str, Measure); 4] = [
    ("egress paths", paths::run),
    ("egress policies", enforce::policies),
    ("egress names", enforce::names),
    ("egress memory", memory::run),
];

/// A pod in a project of its own.
struct Inmate<'a> {
    plugin: &'a Plugin,
    pod: Pod,
    address: IpAddr,
}

impl<'a> Inmate<'a> {
    fn create(cluster: &Cluster, plugin: &'a Plugin, project: &str) -> Result<Self> {
        cluster.apply(&[namespace(project)])?;
        Self::attach(plugin, project)
    }

    fn attach(plugin: &'a Plugin, project: &str) -> Result<Self> {
        let pod = Pod::create(project)?;
        let attached = plugin.add(&pod)?;
        let address = attached.ips.into_iter().find(IpAddr::is_ipv4);
        Ok(Self {
            plugin,
            pod,
            address: address.ok_or_else(|| anyhow::anyhow!("the pod got no IPv4 address"))?,
        })
    }

    fn remove(self) -> Result<()> {
        self.plugin.del(&self.pod).map(drop)
    }

    fn ns(&self) -> Result<NetNs> {
        Ok(self.pod.ns.try_clone()?)
    }
}

fn namespace(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
}

fn policy(project: &str, egress: &[Value]) -> Value {
    json!({
        "apiVersion": "network.openshift.io/v1", "kind": "EgressNetworkPolicy",
        "metadata": {"namespace": project, "name": "default"}, "spec": {"egress": egress},
    })
}

fn rule(kind: &str, field: &str, to: &str) -> Value {
    json!({"type": kind, "to": {field: to}})
}

/// So many prefixes, of which none has an address that traffic goes to: half of them single addresses, the others /16 to /31.
fn prefixes(count: usize) -> Vec<String> {
    (0..count)
        .map(|n| {
            let spread = u32::try_from(n)
                .unwrap_or_default()
                .wrapping_mul(0x9e37_79b1);
            let len = if n % 2 == 0 { 32 } else { 16 + n / 2 % 16 };
            let mask = u32::MAX << (32 - len);
            let address = Ipv4Addr::from((0x2000_0000 | spread >> 3) & mask);
            format!("{address}/{len}")
        })
        .collect()
}
