//! What the node's address means to the loop.

use weft_core::model::{Change, Kind, ObjectRef, Problem};

use super::Sync;
use crate::observe::node::{self, NodeError, Underlay};

impl Sync {
    /// A node whose address is lost keeps what it has: its pods talk to each other, and the address may come back.
    pub(super) fn node(&mut self, found: Result<Underlay, NodeError>) {
        match found {
            Ok(underlay) => {
                let node = underlay.node.clone();
                self.underlay = underlay;
                self.judge_node(None);
                self.take(vec![Change::Node(node)]);
            }
            Err(error) => self.judge_node(Some(error)),
        }
    }

    /// What is wrong with the node, as far as the cluster's networks are known.
    pub(super) fn judge_node(&self, lost: Option<NodeError>) {
        let mut errors: Vec<_> = lost.into_iter().collect();
        let mut problems = Vec::new();
        if let Some(network) = &self.shared.world().network {
            errors.extend(node::check(&self.underlay.node, network).err());
            problems.extend(node::check_mtu(&self.underlay, network));
        }
        let object = ObjectRef::cluster(Kind::Node, &self.underlay.node.name);
        problems.extend(errors.iter().map(|e| Problem::with(&object, e.to_string())));
        self.shared.node_problems(problems);
    }
}
