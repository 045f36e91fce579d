//! Wanted tables x actual tables -> writes, as data.

pub mod host;
pub mod iptables;

use std::collections::BTreeMap;
use std::sync::Arc;

use weft_ebpf::addr::Addr;
use weft_ebpf::rows::dns::{NameKey, NameRow};
use weft_ebpf::rows::egress::{RuleKey, RuleRow};
use weft_ebpf::rows::{
    EndpointRow, NodeRow, PeerRow, PrefixKey, PrefixRow, ProjectKey, ProjectRow, SubnetRow,
};

use crate::compile::Tables;
use crate::compile::egress::PolicyTable;

/// One write to a map; `None` removes the row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// `NODE`
    Node(NodeRow),
    /// `PREFIXES`
    Prefix(PrefixKey, Option<PrefixRow>),
    /// `SUBNETS`
    Subnet(Addr, Option<SubnetRow>),
    /// `PEERS`
    Peer(Addr, Option<PeerRow>),
    /// `PROJECTS`
    Project(ProjectKey, Option<ProjectRow>),
    /// `SENDERS`
    Sender(u32, Option<ProjectKey>),
    /// `ENDPOINTS`
    Endpoint(Addr, Option<EndpointRow>),
    /// `RULES`, `SEARCHES` and `PORTS`: all rows of a policy.
    Policy(PolicyWrite),
    /// `RESOLVED`
    Resolved(RuleKey, Option<RuleRow>),
    /// `NAMES`; a box, for its size.
    Name(Box<NameKey>, Option<NameRow>),
    /// `TRUSTED`
    Trusted(Addr, Option<u32>),
}

/// All rows of a policy, under its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyWrite {
    /// The policy's number.
    pub number: u64,
    /// What there is to be; `None` removes the policy, once no packet is at work that may have found it.
    pub new: Option<Arc<PolicyTable>>,
    /// What there is of it.
    pub old: Option<Arc<PolicyTable>>,
}

/// The writes that turn `actual` into `wanted`, in the order in which they must be made.
///
/// Endpoints that go are closed first. Rows are put before those that point at them and removed after: whoever finds an endpoint finds its project, whoever
/// finds a prefix finds its subnets. Keys of both sides are walked, so leftovers are removed.
pub fn diff(wanted: &Tables, actual: &Tables) -> Vec<Write> {
    let Tables {
        node,
        prefixes,
        subnets,
        peers,
        projects,
        senders,
        endpoints,
        policies,
        resolved,
        names,
        trusted,
    } = wanted;
    let mut puts = Vec::new();
    let mut removes = Vec::new();
    if *node != actual.node {
        puts.push(Write::Node(*node));
    }
    policy_table(policies, &actual.policies, &mut puts, &mut removes);
    table(
        resolved,
        &actual.resolved,
        Write::Resolved,
        &mut puts,
        &mut removes,
    );
    table(
        names,
        &actual.names,
        |key, row| Write::Name(Box::new(key), row),
        &mut puts,
        &mut removes,
    );
    table(
        trusted,
        &actual.trusted,
        Write::Trusted,
        &mut puts,
        &mut removes,
    );
    table(
        projects,
        &actual.projects,
        Write::Project,
        &mut puts,
        &mut removes,
    );
    table(peers, &actual.peers, Write::Peer, &mut puts, &mut removes);
    table(
        subnets,
        &actual.subnets,
        Write::Subnet,
        &mut puts,
        &mut removes,
    );
    table(
        prefixes,
        &actual.prefixes,
        Write::Prefix,
        &mut puts,
        &mut removes,
    );
    table(
        senders,
        &actual.senders,
        Write::Sender,
        &mut puts,
        &mut removes,
    );
    table(
        endpoints,
        &actual.endpoints,
        Write::Endpoint,
        &mut puts,
        &mut removes,
    );
    // What closes comes first: an endpoint that goes is closed before its project loses the policy that holds only while it
    // has pods here.
    let (closing, removes): (Vec<_>, Vec<_>) = removes
        .into_iter()
        .rev()
        .partition(|write| matches!(write, Write::Endpoint(_, None)));
    [closing, puts, removes].concat()
}

fn policy_table(
    wanted: &BTreeMap<u64, Arc<PolicyTable>>,
    actual: &BTreeMap<u64, Arc<PolicyTable>>,
    puts: &mut Vec<Write>,
    removes: &mut Vec<Write>,
) {
    for (number, new) in wanted {
        let old = actual.get(number);
        if old != Some(new) {
            puts.push(Write::Policy(PolicyWrite {
                number: *number,
                new: Some(Arc::clone(new)),
                old: old.cloned(),
            }));
        }
    }
    for (number, old) in actual {
        if !wanted.contains_key(number) {
            removes.push(Write::Policy(PolicyWrite {
                number: *number,
                new: None,
                old: Some(Arc::clone(old)),
            }));
        }
    }
}

fn table<K: Copy + Ord, V: Clone + PartialEq>(
    wanted: &BTreeMap<K, V>,
    actual: &BTreeMap<K, V>,
    write: impl Fn(K, Option<V>) -> Write,
    puts: &mut Vec<Write>,
    removes: &mut Vec<Write>,
) {
    for (key, row) in wanted {
        if actual.get(key) != Some(row) {
            puts.push(write(*key, Some(row.clone())));
        }
    }
    for key in actual.keys().filter(|key| !wanted.contains_key(key)) {
        removes.push(write(*key, None));
    }
}

impl Tables {
    /// What the maps hold after a write: the tables' own copy of it.
    pub fn write(&mut self, write: &Write) {
        match *write {
            Write::Policy(ref write) => put(&mut self.policies, write.number, write.new.clone()),
            Write::Resolved(key, row) => put(&mut self.resolved, key, row),
            Write::Name(ref key, row) => put(&mut self.names, **key, row),
            Write::Trusted(key, row) => put(&mut self.trusted, key, row),
            Write::Node(row) => self.node = row,
            Write::Prefix(key, row) => put(&mut self.prefixes, key, row),
            Write::Subnet(key, row) => put(&mut self.subnets, key, row),
            Write::Peer(key, row) => put(&mut self.peers, key, row),
            Write::Project(key, row) => put(&mut self.projects, key, row),
            Write::Sender(key, row) => put(&mut self.senders, key, row),
            Write::Endpoint(key, row) => put(&mut self.endpoints, key, row),
        }
    }
}

fn put<K: Ord, V>(table: &mut BTreeMap<K, V>, key: K, row: Option<V>) {
    match row {
        Some(row) => {
            table.insert(key, row);
        }
        None => {
            table.remove(&key);
        }
    }
}
