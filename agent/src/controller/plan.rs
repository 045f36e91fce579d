//! Objects -> writes.

use std::collections::BTreeSet;

use weft_core::model::{ClusterNetwork, Mode, ObjectRef, Problem};

use super::reports::News;
use super::subnet_allocator::SubnetAllocator;
use super::vnid_allocator::Random;
use super::{projects, subnets};
use crate::ingest::cluster_network;
use crate::store::{Listing, Object};

/// What a write does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Write {
    Create,
    Update,
    Delete,
}

/// One write.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) how: Write,
    pub(super) object: Object,
    /// For the log.
    pub(super) why: String,
    /// For the object's users, once it is written.
    pub(super) news: Option<News>,
}

/// What is to be written, in order, and what cannot be done.
#[derive(Clone, Debug, Default)]
pub(super) struct Plan {
    pub(super) writes: Vec<Step>,
    pub(super) problems: Vec<Problem>,
}

impl Plan {
    pub(super) fn write(&mut self, how: Write, object: Object, why: impl Into<String>) {
        let why = why.into();
        self.writes.push(Step {
            how,
            object,
            why,
            news: None,
        });
    }

    /// An update that the object's users are told of.
    pub(super) fn update_and_tell(&mut self, object: Object, why: String, news: News) {
        self.write(Write::Update, object, why);
        if let Some(step) = self.writes.last_mut() {
            step.news = Some(news);
        }
    }

    pub(super) fn problem(&mut self, object: impl Into<ObjectRef>, message: impl Into<String>) {
        self.problems.push(Problem::with(object, message));
    }
}

/// What outlives a pass; losing it in a restart does no harm.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// The last valid ClusterNetwork.
    network: Option<ClusterNetwork>,
    /// One a `clusterNetworks` entry: where to search next.
    pub(super) allocators: Vec<SubnetAllocator>,
    /// Namespaces that were there while this controller ran.
    pub(super) namespaces: BTreeSet<String>,
}

impl Memory {
    /// Plans what is missing.
    pub(super) fn plan(&mut self, listing: &Listing, random: Random<'_>) -> Plan {
        let mut plan = Plan::default();
        let default = ObjectRef::cluster_network();
        match listing.object(&default).map(|o| cluster_network(o)) {
            Some(Ok(network)) => self.network = Some(network),
            Some(Err(error)) => plan.problem(default, error.to_string()),
            None => {}
        }
        let Some(network) = self.network.clone() else {
            if plan.problems.is_empty() {
                plan.problem(ObjectRef::cluster_network(), "does not exist: create it");
            }
            return plan;
        };
        self.follow(&network);
        subnets::plan(listing, &network, &mut self.allocators, &mut plan);
        if network.mode == Mode::Multitenant {
            projects::plan(listing, &mut self.namespaces, random, &mut plan);
        } else {
            projects::refuse_all(listing, &mut plan);
        }
        plan
    }

    /// One allocator a range; those of ranges that stay go on where they are.
    fn follow(&mut self, network: &ClusterNetwork) {
        let old = std::mem::take(&mut self.allocators);
        let entries = network.networks.iter();
        self.allocators = entries
            .map(|entry| {
                let same = old.iter().find(|allocator| allocator.entry() == *entry);
                same.cloned()
                    .unwrap_or_else(|| SubnetAllocator::new(*entry))
            })
            .collect();
    }
}
