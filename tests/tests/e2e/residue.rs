//! Everything an attachment leaves on a node while it is there, read without the agent.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use aya::maps::lpm_trie::LpmTrie;
use aya::maps::{HashMap, Map, MapData, PerCpuHashMap};
use serde_json::Value;
use weft_agent::apply::Row;
use weft_ebpf::addr::Addr;
use weft_ebpf::rows::{
    DropKey, DropRow, EndpointRow, PeerRow, PrefixRow, ProjectKey, ProjectRow, SubnetRow,
    TrafficRow, map,
};

use crate::cluster::Cluster;

/// One line for each thing: interfaces, routes, pins, files, rows.
pub fn traces(cluster: &Cluster, node: &str) -> BTreeSet<String> {
    let nodes = cluster.status().unwrap().nodes;
    let status = nodes.iter().find(|found| found.name == node).unwrap();
    let mut found = BTreeSet::new();
    let list = |args: &[&str]| -> Vec<Value> {
        let said = cluster.run(node, &[&["ip", "-j"], args].concat()).ok();
        serde_json::from_str(&said).unwrap()
    };
    for link in list(&["link"]) {
        found.insert(format!("interface {}", link["ifname"]));
    }
    for family in ["-4", "-6"] {
        for route in list(&[family, "route", "show", "table", "all", "proto", "119"]) {
            found.insert(format!("route {} {}", route["dst"], route["dev"]));
        }
        for neighbour in list(&[family, "neigh", "show", "nud", "permanent"]) {
            found.insert(format!(
                "neighbour {} {}",
                neighbour["dst"], neighbour["dev"]
            ));
        }
    }
    for folder in [&status.bpf_dir, &status.state_dir, &status.run_dir] {
        files(folder, &mut found);
    }
    let maps = format!("v{}/maps", weft_ebpf::ABI);
    rows(&status.bpf_dir.join(maps), &mut found);
    let pods = cluster.pods(node);
    found.extend(
        pods.iter()
            .map(|pod| format!("weft get pods: {}/{}", pod.namespace, pod.name)),
    );
    found
}

fn files(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        found.insert(format!("file {}", entry.path().display()));
        if entry.file_type().unwrap().is_dir() {
            files(&entry.path(), found);
        }
    }
}

/// Keys of the maps that have rows of pods. Drops by reason stay: they are the node's.
fn rows(maps: &Path, found: &mut BTreeSet<String>) {
    let open = |name: &str| MapData::from_pin(maps.join(name)).unwrap();
    let mut note = |map: &str, keys: Vec<String>| {
        found.extend(keys.into_iter().map(|key| format!("row {map} {key}")));
    };
    macro_rules! keys {
        ($name:expr, $kind:ident, $map:ident<$key:ty, $row:ty>) => {
            let pinned = Map::$kind(open($name));
            let table: $map<_, $key, $row> = pinned.try_into().unwrap();
            note(
                $name,
                table
                    .keys()
                    .map(|key| format!("{:?}", key.unwrap()))
                    .collect(),
            );
        };
    }
    keys!(
        map::ENDPOINTS,
        HashMap,
        HashMap<Row<Addr>, Row<EndpointRow>>
    );
    keys!(
        map::PROJECTS,
        HashMap,
        HashMap<Row<ProjectKey>, Row<ProjectRow>>
    );
    keys!(map::PEERS, HashMap, HashMap<Row<Addr>, Row<PeerRow>>);
    keys!(map::SUBNETS, HashMap, HashMap<Row<Addr>, Row<SubnetRow>>);
    keys!(map::TRAFFIC, PerCpuHashMap, PerCpuHashMap<u32, Row<TrafficRow>>);
    let drops: PerCpuHashMap<_, Row<DropKey>, Row<DropRow>> =
        Map::PerCpuLruHashMap(open(map::DROPS)).try_into().unwrap();
    // Interface 0 is no pod's: the node's own multicast on the overlay is dropped there, whenever the kernel sends it.
    let drops = drops.keys().map(|key| key.unwrap());
    note(
        map::DROPS,
        drops
            .filter(|key| key.0.ifindex != 0)
            .map(|key| format!("{key:?}"))
            .collect(),
    );
    let prefixes: LpmTrie<_, Row<Addr>, Row<PrefixRow>> =
        Map::LpmTrie(open(map::PREFIXES)).try_into().unwrap();
    let key =
        |key: aya::maps::lpm_trie::Key<Row<Addr>>| format!("{:?}/{}", key.data(), key.prefix_len());
    note(
        map::PREFIXES,
        prefixes.keys().map(|found| key(found.unwrap())).collect(),
    );
}
