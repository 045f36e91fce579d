//! The network below the cluster: a bridge in a namespace of its own, one veth pair to each node and external host.

use std::process::Command;
use std::time::Duration;

use ipnet::IpNet;
use weft_netns::{CommandNs as _, NetNs, sysctl};
use weft_wait::patience::patient;

use super::error::Error;
use super::name::netns_path;
use super::output::output_within;
use super::plan::{UNDERLAY, UNDERLAY_MTU, shown, underlay_addresses};
use super::state::{External, Node, State};

/// Addresses are usable at once, and nobody advertises routers.
const SYSCTLS: [(&str, &str); 4] = [
    ("net.ipv6.conf.all.accept_dad", "0"),
    ("net.ipv6.conf.default.accept_dad", "0"),
    ("net.ipv6.conf.all.accept_ra", "0"),
    ("net.ipv6.conf.default.accept_ra", "0"),
];
/// The underlay routes; what has no route is answered "unreachable" rather than by silence. Nodes are left as a
/// machine is when it comes up: what forwarding needs there is the agent's business.
const ROUTER: [(&str, &str); 2] = [
    ("net.ipv4.ip_forward", "1"),
    ("net.ipv6.conf.all.forwarding", "1"),
];
/// A host that answers on a whole prefix may also speak from any address of it.
const HOST: [(&str, &str); 4] = [
    ("net.ipv4.ip_nonlocal_bind", "1"),
    ("net.ipv6.ip_nonlocal_bind", "1"),
    ("net.ipv4.conf.all.rp_filter", "0"),
    ("net.ipv4.conf.default.rp_filter", "0"),
];

/// Makes the namespaces of the underlay, the nodes and the external hosts, and connects them.
pub(super) fn make(state: &State) -> Result<(), Error> {
    let externals: Vec<&str> = state.externals.iter().map(|e| e.netns.as_str()).collect();
    let nodes: Vec<&str> = state.nodes.iter().map(|n| n.netns.as_str()).collect();
    for name in [state.underlay.as_str()]
        .iter()
        .chain(&nodes)
        .chain(&externals)
    {
        NetNs::create_at(netns_path(name))?;
        set(name, &SYSCTLS)?;
    }
    set(&state.underlay, &ROUTER)?;
    for name in &externals {
        set(name, &HOST)?;
    }
    ip(&state.underlay, &bridge(state))?;
    for node in &state.nodes {
        ip(&node.netns, &node_links(node, &state.externals))?;
    }
    for external in &state.externals {
        ip(&external.netns, &external_links(external))?;
    }
    Ok(())
}

fn set(netns: &str, values: &[(&str, &str)]) -> Result<(), Error> {
    NetNs::open(netns_path(netns))?
        .run(|| {
            values
                .iter()
                .try_for_each(|(key, value)| sysctl::write(key, value))
        })?
        .map_err(|source| Error::Sysctl {
            netns: netns.to_owned(),
            source,
        })
}

/// Runs `ip` commands inside a namespace; stops at the first that fails.
pub fn ip(netns: &str, commands: &[String]) -> Result<(), Error> {
    let ns = NetNs::open(netns_path(netns))?;
    let mut run = Command::new("ip");
    run.args(["-batch", "-"]).net_ns(&ns)?;
    let batch = commands.join("\n") + "\n";
    let output = output_within(&mut run, batch.as_bytes(), patient(Duration::from_secs(30)))?;
    if output.success {
        return Ok(());
    }
    // `ip` names the line by its number only.
    let number = output.stderr.rsplit_once("Command failed -:");
    let number = number.and_then(|(_, number)| number.trim().parse::<usize>().ok()?.checked_sub(1));
    let command = number.and_then(|number| commands.get(number));
    Err(Error::Ip {
        netns: netns.to_owned(),
        stderr: match command {
            Some(command) => format!("{command}: {}", output.stderr),
            None => output.stderr,
        },
    })
}

/// On an interface of the underlay, without duplicate address detection.
fn add_address(address: &str, interface: &str) -> String {
    let (underlay, nodad) = if address.contains(':') {
        (UNDERLAY[1], " nodad")
    } else {
        (UNDERLAY[0], "")
    };
    format!(
        "addr add {address}/{} dev {interface}{nodad}",
        underlay.prefix_len()
    )
}

fn bridge(state: &State) -> Vec<String> {
    let mut commands = vec![
        "link set lo up".to_owned(),
        format!(
            "link add br0 mtu {UNDERLAY_MTU} type bridge forward_delay 0 stp_state 0 mcast_snooping 0"
        ),
    ];
    commands.extend(underlay_addresses(1).map(|gateway| add_address(&gateway.to_string(), "br0")));
    commands.push("link set br0 up".into());
    let nodes = state.nodes.iter().map(|node| node.netns.as_str());
    let hosts = nodes.chain(
        state
            .externals
            .iter()
            .map(|external| external.netns.as_str()),
    );
    for (index, netns) in hosts.enumerate() {
        let peer = format!(
            "peer name eth0 mtu {UNDERLAY_MTU} netns {}",
            netns_path(netns).display()
        );
        commands.push(format!(
            "link add port{index} mtu {UNDERLAY_MTU} type veth {peer}"
        ));
        commands.push(format!("link set port{index} master br0 up"));
    }
    commands
}

fn host_links(addresses: impl IntoIterator<Item = String>) -> Vec<String> {
    let addresses = addresses
        .into_iter()
        .map(|address| add_address(&address, "eth0"));
    ["link set lo up".to_owned()]
        .into_iter()
        .chain(addresses)
        .chain(["link set eth0 up".to_owned()])
        .collect()
}

fn node_links(node: &Node, externals: &[External]) -> Vec<String> {
    let mut commands = host_links(node.addresses.map(|address| address.to_string()));
    commands.extend(
        underlay_addresses(1).map(|gateway| format!("route add default via {gateway} dev eth0")),
    );
    for external in externals {
        for addr in external.addrs.iter().filter(|addr| !on_underlay(addr)) {
            let next_hop = external.underlay[usize::from(addr.addr().is_ipv6())];
            commands.push(format!("route add {} via {next_hop} dev eth0", shown(addr)));
        }
    }
    commands
}

fn external_links(external: &External) -> Vec<String> {
    let (here, elsewhere): (Vec<&IpNet>, Vec<&IpNet>) =
        external.addrs.iter().partition(|addr| on_underlay(addr));
    let own = external.underlay.iter().map(ToString::to_string);
    let mut commands = host_links(own.chain(here.into_iter().map(shown)));
    // Every address of the prefix is the host's own, without being listed on an interface.
    commands.extend(
        elsewhere
            .iter()
            .map(|addr| format!("route add local {addr} dev lo")),
    );
    commands
}

fn on_underlay(addr: &IpNet) -> bool {
    UNDERLAY.iter().any(|net| net.contains(addr))
}

/// Takes a namespace's name away. One that is not there is no error.
pub(super) fn remove_netns(name: &str) -> Result<(), Error> {
    let path = netns_path(name);
    match weft_netns::unpin(&path) {
        Err(error) if path.symlink_metadata().is_ok() => Err(error.into()),
        _ => Ok(()),
    }
}
