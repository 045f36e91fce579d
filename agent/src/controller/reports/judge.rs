//! Objects -> verdicts: one judge a kind.

mod cluster_network;
mod egress_network_policy;
mod net_namespace;
mod verdict;
mod whole;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use weft_core::compile::egress::Memo;
use weft_core::model::{Change, Conflicts, EgressSettings, Kind, LocalNode, World};

use crate::ingest::Intake;
use crate::store::{Delta, Object, ObjectRef};
pub(super) use verdict::{Status, Verdict};

const CLOSED: &str = "nothing of the project leaves the cluster";

/// What judges the objects of a kind.
#[derive(Clone, Copy)]
pub(super) struct OfKind {
    /// Type of the condition.
    pub(super) condition: &'static str,
    /// Whether each node has to follow each version, and those that may not have are named.
    pub(super) followed: bool,
    verdict: fn(&Judge, &ObjectRef, &'static str) -> Verdict,
}

/// What judges a kind; `None` for kinds that weft says nothing about.
pub(super) const fn of_kind(kind: &Kind) -> Option<OfKind> {
    Some(match kind {
        Kind::ClusterNetwork => OfKind {
            condition: "Accepted",
            followed: false,
            verdict: Judge::cluster_network,
        },
        Kind::EgressNetworkPolicy => OfKind {
            condition: "Enforced",
            followed: true,
            verdict: Judge::egress_network_policy,
        },
        Kind::HostSubnet => OfKind {
            condition: "Accepted",
            followed: false,
            verdict: Judge::whole,
        },
        Kind::NetNamespace => OfKind {
            condition: "Accepted",
            followed: false,
            verdict: Judge::net_namespace,
        },
        Kind::Node | Kind::Namespace | Kind::Pod | Kind::Lease | Kind::Event | Kind::Other(_) => {
            return None;
        }
    })
}

/// All objects, as every agent sees them.
pub(super) struct Judge {
    /// What the verdicts are about. The store may know newer ones.
    objects: BTreeMap<ObjectRef, Arc<Object>>,
    intake: Intake,
    world: World,
    /// What is too large for the data path of any node, and why.
    unfit: BTreeMap<ObjectRef, String>,
}

impl Judge {
    pub(super) fn new(conflicts: Conflicts) -> Self {
        // No verdict is about a node's own.
        let ip = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        let mut world = World::new(LocalNode {
            name: String::new(),
            ip,
            addresses: Vec::new(),
        });
        world.take(Change::EgressSettings(EgressSettings {
            conflicts,
            ..EgressSettings::default()
        }));
        Self {
            objects: BTreeMap::new(),
            intake: Intake::default(),
            world,
            unfit: BTreeMap::new(),
        }
    }

    /// Takes objects in.
    pub(super) fn take(&mut self, deltas: Vec<Delta>) {
        for delta in &deltas {
            match delta {
                Delta::Put(object) if of_kind(&object.key.kind).is_some() => {
                    self.objects.insert(object.key.clone(), Arc::clone(object));
                }
                Delta::Gone(key) => drop(self.objects.remove(key)),
                Delta::Put(_) => {}
            }
        }
        for change in self.intake.take(deltas) {
            if let Change::EgressPolicy(project, name, policy) = &change {
                let unfit = policy
                    .as_ref()
                    .and_then(|policy| Memo::default().table(policy).err());
                let object = ObjectRef::egress_policy(project, name);
                match unfit {
                    Some(unfit) => drop(self.unfit.insert(object, unfit.to_string())),
                    None => drop(self.unfit.remove(&object)),
                }
            }
            self.world.take(change);
        }
    }

    /// The objects that there are verdicts about, with what judges them.
    pub(super) fn objects(&self) -> impl Iterator<Item = (&Object, OfKind)> {
        let objects = self.objects.values();
        objects.filter_map(|it| Some((it.as_ref(), of_kind(&it.key.kind)?)))
    }

    /// What becomes of an object.
    pub(super) fn verdict(&self, object: &ObjectRef) -> Option<Verdict> {
        let OfKind {
            condition, verdict, ..
        } = of_kind(&object.kind)?;
        Some(verdict(self, object, condition))
    }
}
