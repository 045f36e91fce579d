//! Rows that come from the cluster's networks and nodes.

use std::net::IpAddr;

use ipnet::IpNet;
use weft_ebpf::addr::{Addr, mapped_bits};
use weft_ebpf::rows::{NodeRow, PeerRow, PrefixKey, PrefixRow, SubnetRow, class};

use super::Tables;
use crate::model::{ClusterNetwork, HostSubnet, World};

/// Nothing is classified before a valid ClusterNetwork is known: all pod traffic is then dropped or never started.
pub fn compile(world: &World, tables: &mut Tables) {
    let Some(network) = &world.network else {
        return;
    };
    tables.node = NodeRow {
        overlay_ifindex: world.overlay_ifindex,
        vxlan_port: u32::from(network.vxlan_port),
    };
    for entry in &network.networks {
        let bits = entry.cidr.max_prefix_len() - entry.host_bits;
        pods(&entry.cidr, bits, tables);
    }
    for service in &network.services {
        put(service, class::SERVICES, 0, tables);
    }
    for host in world.hosts.values() {
        let own = host.name == world.node.name;
        subnets(network, host, own, tables);
        if !own {
            tables.peers.insert(Addr::from(host.ip), PeerRow::default());
        }
    }
    let gateways = world.own_host().into_iter().flat_map(HostSubnet::gateways);
    for address in world.node.addresses.iter().copied().chain(gateways) {
        put(&IpNet::from(address), class::NODE, 0, tables);
    }
}

fn subnets(network: &ClusterNetwork, host: &HostSubnet, own: bool, tables: &mut Tables) {
    let node = if own {
        Addr::UNSPECIFIED
    } else {
        Addr::from(host.ip)
    };
    for subnet in &host.subnets {
        let regular = network.networks.iter().any(|entry| {
            entry.cidr.contains(subnet)
                && entry.cidr.max_prefix_len() - entry.host_bits == subnet.prefix_len()
        });
        // A subnet of another length than its network hands out (an adopted one) is found through a prefix of its own.
        if !regular {
            pods(subnet, subnet.prefix_len(), tables);
        }
        let len = u32::from(mapped_bits(&subnet.network(), subnet.prefix_len()));
        tables
            .subnets
            .insert(Addr::from(subnet.network()), SubnetRow { node, len });
    }
}

fn pods(net: &IpNet, subnet_bits: u8, tables: &mut Tables) {
    let subnet_len = u32::from(mapped_bits(&net.network(), subnet_bits));
    put(net, class::PODS, subnet_len, tables);
}

fn put(net: &IpNet, class: u32, subnet_len: u32, tables: &mut Tables) {
    let network: IpAddr = net.network();
    let key = PrefixKey {
        prefix_len: u32::from(mapped_bits(&network, net.prefix_len())),
        addr: Addr::from(network),
    };
    tables.prefixes.insert(key, PrefixRow { class, subnet_len });
}
