//! Everything an attachment leaves on a node while it is there, read without the agent.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::fs;
use std::path::Path;

use aya::maps::lpm_trie::LpmTrie;
use aya::maps::{HashMap, Map, MapData, MapError, PerCpuHashMap};
use serde_json::Value;
use weft_agent::bpf::Row;
use weft_ebpf::rows::{DropKey, DropRow};
use weft_ebpf::tables::{LpmKey, map};

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

/// Keys of a pinned map, where its rows stay until somebody removes them.
macro_rules! keys {
    (Hash, $key:ty, $row:ty, $pin:expr) => {{
        let map: HashMap<_, Row<$key>, Row<$row>> = Map::HashMap($pin).try_into().unwrap();
        lines(map.keys())
    }};
    (PerCpuHash, $key:ty, $row:ty, $pin:expr) => {{
        let map: PerCpuHashMap<_, Row<$key>, Row<$row>> =
            Map::PerCpuHashMap($pin).try_into().unwrap();
        lines(map.keys())
    }};
    (LpmTrie, $key:ty, $row:ty, $pin:expr) => {{
        let map: LpmTrie<_, Row<<$key as LpmKey>::Data>, Row<$row>> =
            Map::LpmTrie($pin).try_into().unwrap();
        let keys = map
            .keys()
            .map(|key| key.map(|key| (key.data(), key.prefix_len())));
        lines(keys)
    }};
    ($kind:ident, $key:ty, $row:ty, $pin:expr) => {
        Vec::new()
    };
}

fn lines<K: Debug>(keys: impl Iterator<Item = Result<K, MapError>>) -> Vec<String> {
    keys.map(|key| format!("{:?}", key.unwrap())).collect()
}

macro_rules! rows {
    (world { $($world:tt)* } sets { $(
        $(#[$doc:meta])*
        $set:ident $sets:ident ($write:ident) { $($rows:tt)* }
    )* } shared { $($shared:tt)* } kernel { $($kernel:tt)* }) => {
        rows! { $($world)* $($($rows)*)* $($shared)* }
    };
    ($(
        $(#[$doc:meta])*
        $name:ident $field:ident $(($($write:tt)*))?: $kind:ident<$key:ty => $row:ty> [$capacity:expr];
    )*) => {
        /// Keys of the maps, but for those whose rows give way by themselves. Drops by reason stay: they are the node's.
        fn rows(maps: &Path, found: &mut BTreeSet<String>) {
            let open = |name: &str| MapData::from_pin(maps.join(name)).unwrap();
            let mut note = |map: &str, keys: Vec<String>| {
                found.extend(keys.into_iter().map(|key| format!("row {map} {key}")));
            };
            $( note(map::$name, keys!($kind, $key, $row, open(map::$name))); )*
            let drops: PerCpuHashMap<_, Row<DropKey>, Row<DropRow>> =
                Map::PerCpuLruHashMap(open(map::DROPS)).try_into().unwrap();
            // Interface 0 is no pod's: the node's own multicast on the overlay is dropped there, whenever the kernel sends it.
            let of_pods = drops.keys().filter(|key| !matches!(key, Ok(Row(key)) if key.ifindex == 0));
            note(map::DROPS, lines(of_pods));
        }
    };
}

weft_ebpf::tables!(rows);
