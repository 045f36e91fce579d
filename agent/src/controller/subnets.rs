//! A HostSubnet for every Node.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::{Map, Value, json};
use weft_core::model::{ClusterNetwork, HostSubnet, Kind};

use super::annotations::{ASSIGN_SUBNET, NODE_UID};
use super::plan::{Plan, Write};
use super::projects::uid;
use super::reports::News;
use super::subnet_allocator::{SubnetAllocator, Taken};
use crate::ingest::{API_VERSION, fits, host_subnet};
use crate::store::{Listing, Object};

const KIND: Kind = Kind::HostSubnet;

struct Planner<'a> {
    network: &'a ClusterNetwork,
    allocators: &'a mut [SubnetAllocator],
    taken: Taken,
    plan: &'a mut Plan,
}

/// Plans HostSubnets.
pub(super) fn plan(
    listing: &Listing,
    network: &ClusterNetwork,
    allocators: &mut [SubnetAllocator],
    plan: &mut Plan,
) {
    let existing: BTreeMap<&str, &Object> = listing
        .of_kind(KIND)
        .map(|object| (object.key.name.as_str(), object.as_ref()))
        .collect();
    let mut planner = Planner {
        network,
        allocators,
        // Subnets of invalid objects, and of those deleted now, are not given away in this pass.
        taken: Taken::new(existing.values().flat_map(|object| raw_subnets(object))),
        plan,
    };
    let nodes: BTreeMap<&str, &Object> = listing
        .of_kind(Kind::Node)
        .map(|object| (object.key.name.as_str(), object.as_ref()))
        .collect();
    for (name, object) in &existing {
        if !nodes.contains_key(name) {
            planner.without_node(object);
        }
    }
    let owners = owners(&nodes, &existing);
    for (name, node) in &nodes {
        planner.node(node, existing.get(name).copied(), &owners);
    }
}

/// Who may have an address: the Node or HostSubnet that has it already, else the first by name that wants it.
fn owners(
    nodes: &BTreeMap<&str, &Object>,
    existing: &BTreeMap<&str, &Object>,
) -> BTreeMap<IpAddr, String> {
    let has = |name: &str| existing.get(name).and_then(|object| raw_ip(object));
    let names: BTreeSet<&str> = nodes.keys().chain(existing.keys()).copied().collect();
    let mut owners: BTreeMap<IpAddr, String> = BTreeMap::new();
    for name in names {
        let wants = match nodes.get(name) {
            Some(node) => internal_ip(node).ok(),
            None => has(name),
        };
        let Some(ip) = wants else { continue };
        if has(name) == Some(ip) || !owners.contains_key(&ip) {
            let taken = owners.get(&ip).is_some_and(|owner| has(owner) == Some(ip));
            if !taken {
                owners.insert(ip, name.to_owned());
            }
        }
    }
    owners
}

impl Planner<'_> {
    fn without_node(&mut self, object: &Object) {
        if object.annotation(NODE_UID).is_some() {
            self.plan
                .write(Write::Delete, object.clone(), "its Node is gone");
        } else if object.annotation(ASSIGN_SUBNET).is_some() {
            let mut new = object.clone();
            new.set_annotation(ASSIGN_SUBNET, None);
            if self.assign(&mut new, Vec::new()) {
                self.plan
                    .write(Write::Update, new, "subnet assigned as asked");
            }
        }
    }

    fn node(
        &mut self,
        node: &Object,
        existing: Option<&Object>,
        owners: &BTreeMap<IpAddr, String>,
    ) {
        let name = &node.key.name;
        let ip = match self.node_ip(node, owners) {
            Ok(ip) => ip,
            Err(message) => return self.plan.problem(&node.key, message),
        };
        let Some(object) = existing else {
            let mut fields = Map::new();
            fields.insert("host".into(), name.as_str().into());
            fields.insert("hostIP".into(), ip.to_string().into());
            let mut object = Object::cluster(API_VERSION, KIND, name, fields);
            object.set_annotation(NODE_UID, Some(uid(node)));
            if self.assign(&mut object, Vec::new()) {
                self.plan.write(Write::Create, object, "new node");
            }
            return;
        };
        let mut new = object.clone();
        new.set_annotation(NODE_UID, Some(uid(node)));
        if raw_ip(object) != Some(ip) {
            new.set_field("hostIP", ip.to_string().into());
        }
        let has_subnet = object
            .value
            .get("subnet")
            .is_some_and(|subnet| subnet != "");
        let assigned = match host_subnet(object) {
            Ok(valid) => self.assign(&mut new, valid.value.subnets),
            Err(_) if !has_subnet => self.assign(&mut new, Vec::new()),
            Err(_) => true,
        };
        match host_subnet(&new) {
            Err(error) => {
                let message = format!("{error}: mend it, or remove it and a new one is made");
                self.plan.problem(&object.key, message);
            }
            Ok(_) if assigned && new.value != object.value => {
                let why = "as its Node".to_owned();
                match repaired(object, &new) {
                    Some(news) => self.plan.update_and_tell(new, why, news),
                    None => self.plan.write(Write::Update, new, why),
                }
            }
            Ok(_) => {}
        }
    }

    /// The node's underlay address, if it can be one.
    fn node_ip(&self, node: &Object, owners: &BTreeMap<IpAddr, String>) -> Result<IpAddr, String> {
        let name = &node.key.name;
        let ip = internal_ip(node)?;
        if let Some(owner) = owners.get(&ip).filter(|owner| *owner != name) {
            return Err(format!(
                "its InternalIP {ip} is that of node {owner}: it has no place in the pod network until one changes"
            ));
        }
        let host = HostSubnet {
            name: name.clone(),
            ip,
            subnets: Vec::new(),
        };
        fits(&host, self.network).map_err(|e| e.to_string())?;
        Ok(ip)
    }

    /// Adds a subnet for each family that the cluster has and the object lacks; false if a range is full.
    fn assign(&mut self, object: &mut Object, mut subnets: Vec<IpNet>) -> bool {
        let before = subnets.len();
        for ipv4 in [true, false] {
            let of_family = |net: &IpNet| net.addr().is_ipv4() == ipv4;
            let mut ranges = self.network.networks.iter().map(|entry| entry.cidr);
            if !ranges.any(|range| of_family(&range)) || subnets.iter().any(of_family) {
                continue;
            }
            let mut allocators = self.allocators.iter_mut();
            let found = allocators
                .by_ref()
                .filter(|allocator| of_family(&allocator.entry().cidr))
                .find_map(|allocator| allocator.allocate(&mut self.taken));
            let Some(found) = found else {
                let message = format!(
                    "no {} subnet is free: add a range to clusterNetworks of ClusterNetwork/default, or remove nodes",
                    if ipv4 { "IPv4" } else { "IPv6" }
                );
                self.plan.problem(&object.key, message);
                return false;
            };
            subnets.push(found);
        }
        let texts: Vec<String> = subnets.iter().map(ToString::to_string).collect();
        if let Some(first) = texts.first().filter(|_| subnets.len() > before) {
            object.set_field("subnet", json!(first));
            if texts.len() > 1 {
                object.set_field("subnets", json!(texts));
            }
        }
        true
    }
}

/// What of a HostSubnet did not agree with its Node, or was not there.
fn repaired(old: &Object, new: &Object) -> Option<News> {
    let text = |object: &Object, field: &str| object.value.get(field).map(ToString::to_string);
    let changed: Vec<String> = ["hostIP", "subnet", "subnets"]
        .iter()
        .filter(|field| text(old, field) != text(new, field))
        .map(|field| {
            let none = || "nothing".to_owned();
            let was = text(old, field).unwrap_or_else(none);
            format!(
                "{field} was {was} and is {} now",
                text(new, field).unwrap_or_else(none)
            )
        })
        .collect();
    let note = format!("made to agree with its Node: {}", changed.join(", "));
    (!changed.is_empty()).then(|| News::warning("Repaired", note, old.version.clone()))
}

/// The first address of type InternalIP.
fn internal_ip(node: &Object) -> Result<IpAddr, String> {
    let addresses = node.value.pointer("/status/addresses");
    let addresses = addresses.and_then(Value::as_array).into_iter().flatten();
    let mut internal = addresses.filter(|a| a.get("type").is_some_and(|t| t == "InternalIP"));
    let text = internal.next().and_then(|a| a.get("address")?.as_str());
    let Some(text) = text else {
        return Err(
            "has no InternalIP in status.addresses: the node has no place in the pod network"
                .into(),
        );
    };
    crate::ingest::host_address("InternalIP", text).map_err(|e| e.to_string())
}

fn raw_ip(object: &Object) -> Option<IpAddr> {
    object.value.get("hostIP")?.as_str()?.parse().ok()
}

/// Everything that an object claims, valid or not in other respects.
fn raw_subnets(object: &Object) -> Vec<IpNet> {
    let first = object.value.get("subnet").into_iter();
    let all = object.value.get("subnets").and_then(Value::as_array);
    first
        .chain(all.into_iter().flatten())
        .filter_map(|text| text.as_str()?.parse::<IpNet>().ok())
        .map(|net| net.trunc())
        .collect()
}
