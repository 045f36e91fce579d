//! What a lab shall be, worked out before anything is made: a plain value.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::error::Error;
use super::name::LabName;
use super::options::{MAX_NODES, Options};
use super::state::{External, Node, Phase, State};

/// The network that connects nodes and external hosts. Labs do not see one another, so all have the same.
pub const UNDERLAY: [IpNet; 2] = [
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(192, 168, 50, 0), 24)),
    IpNet::V6(Ipv6Net::new_assert(
        Ipv6Addr::new(0xfd00, 0x192, 0x168, 0x50, 0, 0, 0, 0),
        64,
    )),
];
/// MTU of the underlay.
pub const UNDERLAY_MTU: u16 = 1500;
/// Last byte of the address of the first node, and of the first external host.
const NODES: usize = 11;
const EXTERNALS: usize = 101;

/// The whole lab as it shall be; refuses what cannot work. No system calls.
pub fn plan(
    lab: &LabName,
    options: &Options,
    bin_dir: PathBuf,
    boot: String,
) -> Result<State, Error> {
    let refuse = |why: String| Err(Error::Invalid(why));
    if !(1..=MAX_NODES).contains(&options.nodes) {
        return refuse(format!(
            "{} nodes; a lab has 1 to {MAX_NODES}",
            options.nodes
        ));
    }
    let nodes: Vec<Node> = (0..options.nodes)
        .map(|index| {
            let name = format!("node{}", index + 1);
            Node {
                netns: lab.netns(&name),
                addresses: underlay_addresses(NODES + index),
                name,
                agent: None,
                programs: BTreeMap::new(),
            }
        })
        .collect();
    let externals: Vec<External> = options
        .externals
        .iter()
        .enumerate()
        .map(|(index, spec)| External {
            name: spec.name.clone(),
            netns: lab.netns(&spec.name),
            underlay: underlay_addresses(EXTERNALS + index),
            addrs: spec.addrs.clone(),
        })
        .collect();
    check_externals(options, &nodes, &externals)?;
    Ok(State {
        lab: lab.clone(),
        phase: Phase::Making,
        boot,
        mode: options.mode,
        bin_dir,
        underlay: lab.netns("net"),
        controller: None,
        kubernetes: None,
        nodes,
        externals,
        pods: Vec::new(),
    })
}

fn check_externals(options: &Options, nodes: &[Node], externals: &[External]) -> Result<(), Error> {
    let refuse = |why: String| Err(Error::Invalid(why));
    if externals.len() > 100 {
        return refuse(format!(
            "{} external hosts; a lab has at most 100",
            externals.len()
        ));
    }
    let (ranges, services) = options.networks();
    let cluster: Vec<IpNet> = ranges
        .iter()
        .map(|range| range.cidr)
        .chain(services)
        .collect();
    let mut names: BTreeSet<&str> = nodes.iter().map(|node| node.name.as_str()).collect();
    names.extend([
        "net",
        "controller",
        "manifests",
        "kubernetes",
        "apiserver",
        "etcd",
        "kube-controller-manager",
        "kube-scheduler",
        "images",
    ]);
    let taken = nodes.iter().flat_map(|node| &node.addresses);
    let taken = taken.chain(externals.iter().flat_map(|external| &external.underlay));
    let mut addrs: BTreeSet<IpNet> = taken.map(|address| IpNet::from(*address)).collect();
    addrs.extend(underlay_addresses(1).map(IpNet::from));
    for external in externals {
        let name = external.name.as_str();
        if !names.insert(name) {
            return refuse(format!("external host {name}: the name is taken"));
        }
        for addr in &external.addrs {
            let shown = shown(addr);
            if !addrs.insert(*addr) {
                return refuse(format!("external host {name}: {shown} is taken"));
            }
            if let Some(range) = cluster.iter().find(|range| overlap(range, addr)) {
                return refuse(format!(
                    "external host {name}: {shown} overlaps the cluster's {range}"
                ));
            }
            let underlay = UNDERLAY.iter().find(|net| overlap(net, addr));
            if underlay.is_some_and(|_| addr.prefix_len() != addr.max_prefix_len()) {
                return refuse(format!(
                    "external host {name}: {shown} overlaps the underlay, of which only single addresses can be had"
                ));
            }
        }
    }
    Ok(())
}

/// Whether one contains the other.
fn overlap(a: &IpNet, b: &IpNet) -> bool {
    a.contains(b) || b.contains(a)
}

/// As the user wrote it: a prefix of full length is an address.
pub fn shown(net: &IpNet) -> String {
    if net.prefix_len() == net.max_prefix_len() {
        net.addr().to_string()
    } else {
        net.to_string()
    }
}

/// IPv4 and IPv6 address number `host` of the underlay; the same digits end both. `host` < 256.
pub fn underlay_addresses(host: usize) -> [IpAddr; 2] {
    let last = u8::try_from(host).unwrap_or(u8::MAX);
    // fd00:...::11 beside 192.168.50.11: the decimal digits read as hexadecimal.
    let digits = u16::from_str_radix(&last.to_string(), 16).unwrap_or(u16::MAX);
    [
        Ipv4Addr::new(192, 168, 50, last).into(),
        Ipv6Addr::new(0xfd00, 0x192, 0x168, 0x50, 0, 0, 0, digits).into(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(externals: &[&str]) -> Result<State, String> {
        let externals = externals
            .iter()
            .map(|spec| spec.parse())
            .collect::<Result<_, _>>()?;
        let options = Options {
            externals,
            ..Options::default()
        };
        let lab = "t".parse().map_err(|error: Error| error.to_string())?;
        plan(&lab, &options, PathBuf::new(), String::new()).map_err(|error| error.to_string())
    }

    #[test]
    fn nodes_and_externals_have_the_promised_names_and_addresses() {
        let state = with(&["web=198.51.100.0/24,2001:db8::1"]).unwrap();
        let node = &state.nodes[1];
        assert_eq!(
            (node.name.as_str(), node.netns.as_str()),
            ("node2", "weft-t-node2")
        );
        assert_eq!(
            node.addresses,
            ["192.168.50.12", "fd00:192:168:50::12"].map(|a| a.parse::<IpAddr>().unwrap())
        );
        let web = &state.externals[0];
        assert_eq!(web.netns, "weft-t-web");
        assert_eq!(
            web.addrs.iter().map(shown).collect::<Vec<_>>(),
            ["198.51.100.0/24", "2001:db8::1"]
        );
    }

    #[test]
    fn externals_that_cannot_be_told_apart_are_refused_with_the_reason() {
        let cases: [(&[&str], &str); 8] = [
            (&["web"], "NAME=ADDR"),
            (&["web=198.51.100.7/24"], "host bits"),
            (&["web=nonsense"], "neither"),
            (&["node1=198.51.100.1"], "name is taken"),
            (
                &["a=198.51.100.1", "b=198.51.100.1"],
                "198.51.100.1 is taken",
            ),
            (&["a=192.168.50.11"], "192.168.50.11 is taken"),
            (&["a=192.168.0.0/16"], "overlaps the underlay"),
            (&["a=10.128.0.0/24"], "overlaps the cluster"),
        ];
        for (externals, reason) in cases {
            let error = with(externals).unwrap_err();
            assert!(error.contains(reason), "{externals:?}: {error}");
        }
    }
}
