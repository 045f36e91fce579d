//! The least an attachment can cost: the same kernel objects as a weft pod's, made by one thread of a process that
//! runs already, with no plugin, no agent, no state on disk and no rows.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsFd as _;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use ipnet::IpNet;
use weft_agent::netlink::Netlink;
use weft_agent::netlink::pod::PodInterface;
use weft_agent::netlink::route::Placing;
use weft_agent::netlink::veth::VethPair;
use weft_core::host::Route;
use weft_ebpf::rows::GATEWAY_MAC;
use weft_netns::NetNs;

use super::attach::{Attach, Attached, Pod};
use super::link::POD_MTU;
use super::space;

/// Attaches by bare netlink.
#[derive(Debug)]
pub struct Floor {
    node: NetNs,
    /// As many addresses as weft gives its pods.
    ipv6: bool,
    next: AtomicU16,
}

impl Floor {
    /// A node of its own.
    pub fn create(ipv6: bool) -> Result<Self> {
        let node = space::create_node()?;
        space::ip(
            &node,
            "addr add 10.96.0.1/32 dev lo\naddr add fd96::1/128 dev lo\n",
        )?;
        Ok(Self {
            node,
            ipv6,
            next: AtomicU16::new(2),
        })
    }

    fn families<T>(&self, ipv4: T, ipv6: T) -> Vec<T> {
        let ipv6 = self.ipv6.then_some(ipv6);
        [Some(ipv4), ipv6].into_iter().flatten().collect()
    }
}

impl Attach for Floor {
    fn add(&self, pod: &Pod) -> Result<Attached> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let [high, low] = number.to_be_bytes();
        let ipv4: IpAddr = Ipv4Addr::new(10, 96, high, low).into();
        let ipv6: IpAddr = Ipv6Addr::new(0xfd96, 0, 0, 0, 0, 0, 1, number).into();
        let addresses = self.families(ipv4, ipv6);
        let next_hops = self.families(
            Ipv4Addr::new(169, 254, 1, 1).into(),
            Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1).into(),
        );
        let gateways = self.families(
            Ipv4Addr::new(10, 96, 0, 1).into(),
            Ipv6Addr::new(0xfd96, 0, 0, 0, 0, 0, 0, 1).into(),
        );
        let routes = self.families(
            ["10.128.0.0/14", "172.30.0.0/16"],
            ["fd01::/48", "fd02::/112"],
        );
        let routes: Vec<IpNet> = routes
            .concat()
            .iter()
            .map(|net| net.parse())
            .collect::<Result<_, _>>()?;
        let name = host_name(pod);

        let start = Instant::now();
        let mut host = self.node.run(Netlink::open)??;
        let ends = host.create_veth(&VethPair {
            host_name: &name,
            host_mac: GATEWAY_MAC,
            pod_name: "eth0",
            pod_mac: [0x0a, 0x58, 10, 96, high, low],
            mtu: POD_MTU,
            netns: pod.ns.as_fd(),
        })?;
        let mut inside = pod.ns.run(Netlink::open)??;
        inside.configure_pod(&PodInterface {
            index: ends.pod,
            addresses: &addresses,
            next_hops: &next_hops,
            next_hop_mac: GATEWAY_MAC,
            routes: &routes,
        })?;
        host.set_link_up(ends.host)?;
        for (address, source) in addresses.iter().zip(gateways) {
            let route = Route {
                destination: IpNet::from(*address),
                device: name.clone(),
                source,
            };
            host.put_route(&route, ends.host, Placing::New)?;
        }
        Ok(Attached {
            took: start.elapsed(),
            ips: addresses,
        })
    }

    fn del(&self, pod: &Pod) -> Result<Duration> {
        let start = Instant::now();
        let mut host = self.node.run(Netlink::open)??;
        host.delete_link(&host_name(pod))?;
        Ok(start.elapsed())
    }
}

fn host_name(pod: &Pod) -> String {
    format!("weft{}", &pod.id[..10])
}
