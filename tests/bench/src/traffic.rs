//! Throughput and round trips, on one node and across two.

use anyhow::{Context as _, Result};
use weft_netns::NetNs;

use super::attach::{Attach as _, Plugin, Pod};
use super::cluster::Cluster;
use super::link::{self, Nodes, Way};
use super::load::{Load, measure};
use super::redirect::redirected;
use super::report::{Goal, Row, Table};
use super::{Options, PROJECTS, space};

/// Two pods, attached by plugins.
struct Pair<'a> {
    plugins: [&'a Plugin; 2],
    pods: [Pod; 2],
    way: Way,
}

impl<'a> Pair<'a> {
    fn create(client: &'a Plugin, server: &'a Plugin, through: Vec<NetNs>) -> Result<Self> {
        let pods = [Pod::create(PROJECTS[0])?, Pod::create(PROJECTS[0])?];
        client.add(&pods[0])?;
        let attached = server.add(&pods[1])?;
        let way = Way {
            client: pods[0].ns.try_clone()?,
            server: pods[1].ns.try_clone()?,
            address: *attached.ips.first().context("the pod got no address")?,
            through,
        };
        Ok(Self {
            plugins: [client, server],
            pods,
            way,
        })
    }

    fn remove(self) -> Result<()> {
        for (plugin, pod) in self.plugins.iter().zip(&self.pods) {
            plugin.del(pod)?;
        }
        Ok(())
    }
}

/// Pod to pod on one node.
pub fn same_node(options: &Options, weft: Option<&Cluster>) -> Result<Table> {
    let (veth, floor) = (link::veth()?, redirected()?);
    let node = space::create_node()?;
    let bridge = Plugin::bridge(node.try_clone()?, &options.scratch.join("traffic"))?;
    let bridge = Pair::create(&bridge, &bridge, vec![])?;
    let plugin = match weft {
        Some(cluster) => Some(cluster.node("node1")?.plugin()?),
        None => None,
    };
    let weft = plugin
        .as_ref()
        .map(|plugin| Pair::create(plugin, plugin, vec![]))
        .transpose()?;
    let ways = [
        Some(&veth),
        Some(&bridge.way),
        weft.as_ref().map(|p| &p.way),
        Some(&floor),
    ];
    let rows = compare(options, &ways)?;
    bridge.remove()?;
    weft.map(Pair::remove).transpose()?;
    let goals = rows.iter().flat_map(|row| {
        [
            Goal::at_least(
                format!("{}, weft / veth pair", row.name),
                row.ratio(2, 0),
                0.97,
            ),
            Goal::at_least(
                format!("{}, weft / bridge plugin", row.name),
                row.ratio(2, 1),
                1.0,
            ),
        ]
    });
    Ok(Table {
        title: "Pod to pod on one node".into(),
        how: format!(
            "{} The veth pair is a bare one between two namespaces; the bridge is the CNI plugin of \
             containernetworking-plugins. The last column is the least that an eBPF path like weft's costs: a program of four \
             instructions that redirects every packet.",
            how(options)
        ),
        subjects: ["veth pair", "bridge plugin", "weft", "redirect alone"]
            .map(String::from)
            .into(),
        ratios: vec![(2, 0), (2, 1), (3, 0), (2, 3)],
        goals: goals.collect(),
        rows,
    })
}

/// Pod to pod across two nodes.
pub fn cross_node(options: &Options, weft: Option<&Cluster>) -> Result<Table> {
    let bare = Nodes::create()?.vxlan()?;
    let routed = Nodes::create()?.vxlan_with_pods()?;
    let (mut device, mut plugins) = (None, None);
    if let Some(cluster) = weft {
        let nodes = [cluster.node("node1")?, cluster.node("node2")?];
        let ns = [nodes[0].ns()?, nodes[1].ns()?];
        let ips = [nodes[0].ip(), nodes[1].ip()];
        device = Some(
            Nodes {
                ns,
                ips,
                underlay: None,
            }
            .vxlan()?,
        );
        plugins = Some([nodes[0].plugin()?, nodes[1].plugin()?]);
    }
    let pair = plugins
        .as_ref()
        .map(|[client, server]| Pair::create(client, server, vec![]))
        .transpose()?;
    let ways = [
        device.as_ref(),
        Some(&bare),
        Some(&routed),
        pair.as_ref().map(|p| &p.way),
    ];
    let rows = compare(options, &ways)?;
    pair.map(Pair::remove).transpose()?;
    for ns in device.iter().flat_map(|way| [&way.client, &way.server]) {
        space::ip(ns, "link del bench0\n")?;
    }
    let goals = rows.iter().map(|row| {
        Goal::at_least(
            format!("{}, weft / VXLAN device on the same nodes", row.name),
            row.ratio(3, 0),
            0.95,
        )
    });
    Ok(Table {
        title: "Pod to pod across two nodes".into(),
        how: format!(
            "{} The VXLAN devices are made by hand and carry traffic from node to node, without pods: once between \
             the two nodes that weft runs on, once between two nodes without weft. The pods of the third column sit \
             behind such a device, a veth pair and plain routes.",
            how(options)
        ),
        subjects: [
            "VXLAN device",
            "VXLAN device, bare nodes",
            "VXLAN device and routed pods",
            "weft",
        ]
        .map(String::from)
        .into(),
        ratios: vec![(3, 0), (3, 1), (3, 2)],
        goals: goals.collect(),
        rows,
    })
}

fn how(options: &Options) -> String {
    format!(
        "TCP, one connection, client and server each tied to a CPU of its own; the same MTU ({}) everywhere; {} rounds \
         of {} s, the ways in turns within each; medians, and medians of the rounds' ratios.",
        link::POD_MTU,
        options.rounds,
        options.seconds
    )
}

/// Every way once a round, beginning with another one each time; the first round only warms up.
fn compare(options: &Options, ways: &[Option<&Way>]) -> Result<Vec<Row>> {
    let loads = [Load::Stream, Load::RequestResponse];
    let names = ["stream, Gbit/s", "64-byte request and response, 1/s"];
    let mut rows = names.map(|name| Row::new(name, ways.len()));
    for round in 0..=options.rounds {
        eprint!("\rround {round} of {} ", options.rounds);
        for turn in 0..ways.len() {
            let subject = (turn + round) % ways.len();
            let Some(way) = ways[subject] else { continue };
            for (row, load) in rows.iter_mut().zip(loads) {
                let value = measure(
                    &way.client,
                    &way.server,
                    way.address,
                    load,
                    options.duration(),
                )?;
                if round > 0 {
                    row.samples[subject].push(value);
                }
            }
        }
    }
    eprintln!();
    Ok(rows.into())
}
