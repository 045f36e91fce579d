//! The complete wanted content of the maps.

use std::collections::BTreeMap;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use weft_ebpf::addr::Addr;
use weft_ebpf::rows::dns::{NameKey, NameRow};
use weft_ebpf::rows::egress::{RuleKey, RuleRow};
use weft_ebpf::rows::{
    EndpointRow, NodeRow, PeerRow, PrefixKey, PrefixRow, ProjectKey, ProjectRow, SubnetRow,
};

use super::egress::PolicyTable;

/// Rows of every map that user space writes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tables {
    /// `NODE`
    pub node: NodeRow,
    /// `PREFIXES`
    pub prefixes: BTreeMap<PrefixKey, PrefixRow>,
    /// `SUBNETS`
    pub subnets: BTreeMap<Addr, SubnetRow>,
    /// `PEERS`
    pub peers: BTreeMap<Addr, PeerRow>,
    /// `PROJECTS`
    pub projects: BTreeMap<ProjectKey, ProjectRow>,
    /// `SENDERS`
    pub senders: BTreeMap<u32, ProjectKey>,
    /// `ENDPOINTS`
    pub endpoints: BTreeMap<Addr, EndpointRow>,
    /// `RULES`, `SEARCHES` and `PORTS` by the policy's number.
    pub policies: BTreeMap<u64, Arc<PolicyTable>>,
    /// `RESOLVED`
    pub resolved: BTreeMap<RuleKey, RuleRow>,
    /// `NAMES`
    pub names: BTreeMap<NameKey, NameRow>,
    /// `TRUSTED`
    pub trusted: BTreeMap<Addr, u32>,
}

/// The key of a project: the first eight bytes of its name's SHA-256.
///
/// Whoever may create projects can search two names of his own with one key, which joins them: he may join them anyway.
/// To meet somebody else's takes 2^64 tries.
pub fn project_key(name: &str) -> ProjectKey {
    let digest = Sha256::digest(name.as_bytes());
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    ProjectKey(u64::from_be_bytes(first))
}
