//! Rows that come from the cluster's networks and nodes.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;
use weft_ebpf::addr::{Addr, mapped_bits};
use weft_ebpf::rows::dns::LEARNED_CAPACITY;
use weft_ebpf::rows::flow;
use weft_ebpf::rows::{NodeRow, PeerRow, PrefixKey, PrefixRow, SUBNET_LENS, SubnetRow, class};

use super::Tables;
use crate::model::{ClusterNetwork, HostSubnet, NetworkEntry, World};

/// What addresses are. Nothing is classified before a valid ClusterNetwork is known: all pod traffic is then dropped or never
/// started.
pub fn prefixes(world: &World, tables: &mut Tables) {
    let Some(network) = &world.network else {
        return;
    };
    let ranges = ranges(world, network);
    for (cidr, subnet_lens) in &ranges {
        pods(cidr, *subnet_lens, tables);
    }
    for service in &network.services {
        put(service, class::SERVICES, NO_SUBNETS, tables);
    }
    for subnet in world.hosts.values().flat_map(|host| &host.subnets) {
        // One of more lengths than a row has room for is found through a prefix of its own.
        if !is_found(subnet, &ranges) {
            pods(subnet, [mapped_len(subnet), 0, 0, 0], tables);
        }
    }
    for address in &world.node.addresses {
        put(&IpNet::from(*address), class::NODE, NO_SUBNETS, tables);
    }
    // After the node's addresses, of which they are some.
    for gateway in world.own_host().into_iter().flat_map(HostSubnet::gateways) {
        put(&IpNet::from(gateway), class::GATEWAY, NO_SUBNETS, tables);
    }
}

/// Whether prefixes change when another node gets this HostSubnet, or loses the one it has.
pub fn alters_prefixes(world: &World, name: &str, new: Option<&HostSubnet>) -> bool {
    let Some(network) = &world.network else {
        return false;
    };
    let old = world.hosts.get(name);
    let before = ranges(world, network);
    let after = network.networks.iter().map(|entry| {
        let mut lengths = world.subnet_lengths(&entry.cidr, Some(name));
        let subnets = new.into_iter().flat_map(|host| &host.subnets);
        let inside = subnets.filter(|subnet| entry.cidr.contains(*subnet));
        lengths.extend(inside.map(IpNet::prefix_len));
        range(entry, lengths)
    });
    let after: Vec<Range> = after.collect();
    let mut subnets = old.into_iter().chain(new).flat_map(|host| &host.subnets);
    before != after || subnets.any(|subnet| !is_found(subnet, &before))
}

/// Name servers whose answers count.
pub fn trusted(world: &World, tables: &mut Tables) {
    if world.network.is_some() {
        let trusted = world.egress.trusted.iter();
        tables.trusted = trusted.map(|server| (Addr::from(*server), 1)).collect();
    }
}

/// A node's subnets, and itself as a peer.
pub fn host(world: &World, host: &HostSubnet, tables: &mut Tables) {
    if world.network.is_none() {
        return;
    }
    let own = host.name == world.node.name;
    let node = if own {
        Addr::UNSPECIFIED
    } else {
        Addr::from(host.ip)
    };
    for subnet in &host.subnets {
        let len = u32::from(mapped_len(subnet));
        let row = SubnetRow { node, len };
        tables.subnets.insert(subnet.network().into(), row);
    }
    if !own {
        tables.peers.insert(Addr::from(host.ip), PeerRow::default());
    }
}

/// What is true for the whole node. In every scope, since it has the projects' share of learned addresses.
pub fn node_row(world: &World) -> NodeRow {
    let Some(network) = &world.network else {
        return NodeRow::default();
    };
    let learning = u32::try_from(world.learning()).unwrap_or(u32::MAX);
    NodeRow {
        overlay_ifindex: world.overlay_ifindex,
        vxlan_port: u32::from(network.vxlan_port),
        dns_min_ttl: world.egress.min_ttl,
        // In the row 0 stands for the default.
        dns_grace: world.egress.grace.map_or(0, |seconds| seconds.max(1)),
        learned_limit: world.egress.learned_limit.min(learned_share(learning)),
        flow_share: flow::share(u32::try_from(world.endpoints.len()).unwrap_or(u32::MAX)),
    }
}

/// Addresses that each of so many projects may learn so that those of all fit. A power of two, so that it changes rarely.
fn learned_share(projects: u32) -> u32 {
    LEARNED_CAPACITY / projects.clamp(1, LEARNED_CAPACITY).next_power_of_two()
}

/// A range of pod addresses and the lengths of the subnets in it.
type Range = (IpNet, [u8; SUBNET_LENS]);

const NO_SUBNETS: [u8; SUBNET_LENS] = [0; SUBNET_LENS];

fn ranges(world: &World, network: &ClusterNetwork) -> Vec<Range> {
    let entries = network.networks.iter();
    entries
        .map(|entry| range(entry, world.subnet_lengths(&entry.cidr, None)))
        .collect()
}

/// The length that the network hands out, then those of subnets that nodes have adopted.
fn range(network: &NetworkEntry, lengths: BTreeSet<u8>) -> Range {
    let cidr = network.cidr;
    let regular = cidr.max_prefix_len() - network.host_bits;
    let adopted = lengths.into_iter().filter(|len| *len != regular);
    let mut lens = NO_SUBNETS;
    for (slot, len) in lens.iter_mut().zip(std::iter::once(regular).chain(adopted)) {
        *slot = mapped_bits(&cidr.network(), len);
    }
    (cidr, lens)
}

/// Whether a range's row leads to a subnet.
fn is_found(subnet: &IpNet, ranges: &[Range]) -> bool {
    let len = mapped_len(subnet);
    let mut ranges = ranges.iter();
    ranges.any(|(cidr, lens)| cidr.contains(subnet) && lens.contains(&len))
}

fn mapped_len(subnet: &IpNet) -> u8 {
    mapped_bits(&subnet.network(), subnet.prefix_len())
}

fn pods(net: &IpNet, subnet_lens: [u8; SUBNET_LENS], tables: &mut Tables) {
    put(net, class::PODS, subnet_lens, tables);
}

fn put(net: &IpNet, class: u32, subnet_lens: [u8; SUBNET_LENS], tables: &mut Tables) {
    let network: IpAddr = net.network();
    let key = PrefixKey {
        prefix_len: u32::from(mapped_bits(&network, net.prefix_len())),
        addr: Addr::from(network),
    };
    let row = PrefixRow { class, subnet_lens };
    tables.prefixes.insert(key, row);
}

#[cfg(test)]
mod tests {
    use super::{LEARNED_CAPACITY, learned_share};

    #[test]
    fn shares_of_learned_addresses_fit_and_waste_less_than_half() {
        for projects in 1..=LEARNED_CAPACITY {
            let all = learned_share(projects) * projects;
            assert!(all <= LEARNED_CAPACITY, "{projects}");
            assert!(all > LEARNED_CAPACITY / 2, "{projects}");
        }
        assert_eq!(learned_share(0), LEARNED_CAPACITY);
        assert_eq!(learned_share(u32::MAX), 1);
    }
}
