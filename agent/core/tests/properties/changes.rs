//! Random changes to a world.

use std::collections::BTreeSet;
use std::net::IpAddr;

use proptest::prelude::*;
use proptest::sample::select;
use weft_core::model::{
    Change, ClusterNetwork, EgressSettings, Endpoint, LocalNode, NamePattern, World,
};

use crate::policies::{Draft, draft, policy, resolved, settings};
use crate::worlds::{
    ENDPOINTS, NODES, PROJECTS, Parts, Pod, endpoint, endpoint_id, host, network, node, parts, pod,
    project, vnid,
};

/// A change that is not yet tied to a world.
#[derive(Clone, Debug)]
pub enum Step {
    Node(LocalNode),
    Overlay(u32),
    ClusterNetwork(Option<ClusterNetwork>),
    HostSubnet(&'static str, Option<Parts>),
    Project(&'static str, Option<u32>),
    Endpoint(usize, Option<Pod>),
    EgressPolicy(&'static str, &'static str, Option<Draft>),
    EgressSettings(EgressSettings),
    Resolved(NamePattern, BTreeSet<IpAddr>),
}

pub fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        1 => node().prop_map(Step::Node),
        1 => (0..3_u32).prop_map(Step::Overlay),
        1 => proptest::option::weighted(0.8, network()).prop_map(Step::ClusterNetwork),
        3 => (select(NODES.to_vec()), proptest::option::weighted(0.7, parts()))
            .prop_map(|(name, parts)| Step::HostSubnet(name, parts)),
        4 => (select(PROJECTS.to_vec()), proptest::option::weighted(0.7, vnid()))
            .prop_map(|(name, vnid)| Step::Project(name, vnid)),
        6 => (0..ENDPOINTS, proptest::option::weighted(0.7, pod()))
            .prop_map(|(number, pod)| Step::Endpoint(number, pod)),
        6 => (
            select(PROJECTS.to_vec()),
            select(vec!["p", "p", "q"]),
            proptest::option::weighted(0.6, draft()),
        )
            .prop_map(|(project, name, draft)| Step::EgressPolicy(project, name, draft)),
        1 => settings().prop_map(Step::EgressSettings),
        3 => resolved().prop_map(|(name, addresses)| Step::Resolved(name, addresses)),
    ]
}

impl Step {
    /// The change to this world.
    pub fn change(&self, world: &World) -> Change {
        match self {
            Self::Node(node) => Change::Node(node.clone()),
            Self::Overlay(ifindex) => Change::Overlay(*ifindex),
            Self::ClusterNetwork(network) => Change::ClusterNetwork(network.clone()),
            Self::HostSubnet(name, parts) => {
                let others = world.hosts.values().filter(|h| h.name != *name);
                let others: Vec<_> = others.cloned().collect();
                let network = world.network.as_ref();
                let host = network
                    .zip(parts.as_ref())
                    .and_then(|(network, parts)| host(name, parts, network, &others));
                Change::HostSubnet((*name).into(), host)
            }
            Self::Project(name, vnid) => {
                Change::Project((*name).into(), vnid.map(|vnid| project(name, vnid)))
            }
            Self::EgressPolicy(project, name, draft) => Change::EgressPolicy(
                (*project).into(),
                (*name).into(),
                draft.as_ref().map(|draft| policy(project, draft)),
            ),
            Self::EgressSettings(settings) => Change::EgressSettings(settings.clone()),
            Self::Resolved(name, addresses) => Change::Resolved(name.clone(), addresses.clone()),
            Self::Endpoint(number, pod) => {
                let pod = pod.as_ref();
                let endpoint = pod.map(|pod| endpoint(*number, pod, world.own_host()));
                // An address is given out once it is free again.
                let free = |endpoint: &Endpoint| {
                    let mut others = world.endpoints.values().filter(|e| e.id != endpoint.id);
                    !others.any(|e| e.addresses.iter().any(|a| endpoint.addresses.contains(a)))
                };
                Change::Endpoint(endpoint_id(*number), endpoint.filter(free))
            }
        }
    }
}
