//! Typed maps, one write at a time.

use aya::Ebpf;
use aya::maps::lpm_trie::Key;
use aya::maps::{
    Array, HashMap, LpmTrie, Map, MapData, MapError, PerCpuArray, PerCpuHashMap, PerCpuValues,
    RingBuf,
};
use weft_core::diff::Write;
use weft_ebpf::addr::Addr;
use weft_ebpf::rows::dns::{self, LearningRow, NameKey, NameRow, RingKey};
use weft_ebpf::rows::egress::{
    self, FlowKey, FlowRow, HitKey, HitRow, LearnedKey, LearnedRow, PortKey, RuleKey, RuleRow,
    SearchKey, SearchRow,
};
use weft_ebpf::rows::service::{self, ServedRow};
use weft_ebpf::rows::{
    DropKey, DropRow, EndpointRow, EventBudget, FragmentsRow, NodeRow, PeerRow, PrefixKey,
    PrefixRow, ProjectKey, ProjectRow, SubnetRow, TrafficRow, map,
};

use super::Row;

/// A map could not be opened or written.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// The object lacks the map.
    #[error("the eBPF object has no map {0}")]
    Missing(&'static str),
    /// The map call failed.
    #[error("{call} map {map}: {source}")]
    Call {
        /// `open`, `write`, `read`.
        call: &'static str,
        /// The map.
        map: &'static str,
        /// The cause.
        #[source]
        source: MapError,
    },
    /// The number of processors could not be read.
    #[error("read the number of possible processors: {0}")]
    Cpus(String),
}

/// The maps that user space writes, and the counters it reads.
pub struct Maps {
    pub(crate) node: Array<MapData, Row<NodeRow>>,
    pub(crate) prefixes: LpmTrie<MapData, Row<Addr>, Row<PrefixRow>>,
    pub(crate) subnets: HashMap<MapData, Row<Addr>, Row<SubnetRow>>,
    pub(crate) peers: HashMap<MapData, Row<Addr>, Row<PeerRow>>,
    pub(crate) projects: HashMap<MapData, Row<ProjectKey>, Row<ProjectRow>>,
    pub(crate) senders: HashMap<MapData, u32, Row<ProjectKey>>,
    pub(crate) endpoints: HashMap<MapData, Row<Addr>, Row<EndpointRow>>,
    pub(crate) rules: HashMap<MapData, Row<RuleKey>, Row<RuleRow>>,
    pub(crate) resolved: HashMap<MapData, Row<RuleKey>, Row<RuleRow>>,
    pub(crate) searches: HashMap<MapData, Row<SearchKey>, Row<SearchRow>>,
    pub(crate) ports: LpmTrie<MapData, Row<PortKey>, u32>,
    pub(crate) hits: PerCpuHashMap<MapData, Row<HitKey>, Row<HitRow>>,
    pub(crate) flows: HashMap<MapData, Row<FlowKey>, Row<FlowRow>>,
    pub(crate) served: HashMap<MapData, Row<FlowKey>, Row<ServedRow>>,
    pub(crate) learned: HashMap<MapData, Row<LearnedKey>, Row<LearnedRow>>,
    pub(crate) names: HashMap<MapData, Row<NameKey>, Row<NameRow>>,
    pub(crate) trusted: HashMap<MapData, Row<Addr>, u32>,
    pub(crate) learning: HashMap<MapData, Row<ProjectKey>, Row<LearningRow>>,
    pub(crate) ring: HashMap<MapData, Row<RingKey>, Row<Addr>>,
    pub(crate) traffic: PerCpuHashMap<MapData, u32, Row<TrafficRow>>,
    pub(crate) fragments: HashMap<MapData, u32, Row<FragmentsRow>>,
    pub(crate) drops: PerCpuHashMap<MapData, Row<DropKey>, Row<DropRow>>,
    pub(crate) reasons: PerCpuArray<MapData, Row<DropRow>>,
    pub(crate) budget: PerCpuArray<MapData, Row<EventBudget>>,
    cpus: usize,
}

impl Maps {
    /// Takes the maps out of the loaded object, all but the event rings.
    pub fn take(ebpf: &mut Ebpf) -> Result<Self, TableError> {
        Ok(Self {
            node: take(ebpf, map::NODE)?,
            prefixes: take(ebpf, map::PREFIXES)?,
            subnets: take(ebpf, map::SUBNETS)?,
            peers: take(ebpf, map::PEERS)?,
            projects: take(ebpf, map::PROJECTS)?,
            senders: take(ebpf, map::SENDERS)?,
            endpoints: take(ebpf, map::ENDPOINTS)?,
            rules: take(ebpf, egress::map::RULES)?,
            resolved: take(ebpf, egress::map::RESOLVED)?,
            searches: take(ebpf, egress::map::SEARCHES)?,
            ports: take(ebpf, egress::map::PORTS)?,
            hits: take(ebpf, egress::map::HITS)?,
            flows: take(ebpf, egress::map::FLOWS)?,
            served: take(ebpf, service::map::SERVED)?,
            learned: take(ebpf, dns::map::LEARNED)?,
            names: take(ebpf, dns::map::NAMES)?,
            trusted: take(ebpf, dns::map::TRUSTED)?,
            learning: take(ebpf, dns::map::LEARNING)?,
            ring: take(ebpf, dns::map::RING)?,
            traffic: take(ebpf, map::TRAFFIC)?,
            fragments: take(ebpf, map::FRAGMENTS)?,
            drops: take(ebpf, map::DROPS)?,
            reasons: take(ebpf, map::REASONS)?,
            budget: take(ebpf, map::BUDGET)?,
            cpus: aya::util::nr_cpus().map_err(|(_, e)| TableError::Cpus(e.to_string()))?,
        })
    }

    /// Makes one write.
    pub fn write(&mut self, write: &Write) -> Result<(), TableError> {
        let (map, result) = match *write {
            Write::Policy(ref write) => {
                return self.write_policy(write.new.as_deref(), write.old.as_deref());
            }
            Write::Resolved(key, row) => (egress::map::RESOLVED, put(&mut self.resolved, key, row)),
            Write::Name(ref key, row) => (dns::map::NAMES, put(&mut self.names, **key, row)),
            Write::Trusted(key, row) => {
                let result = match row {
                    Some(row) => self.trusted.insert(Row(key), row, 0),
                    None => ignore_missing(self.trusted.remove(&Row(key))),
                };
                (dns::map::TRUSTED, result)
            }
            Write::Node(row) => (map::NODE, self.node.set(0, Row(row), 0)),
            Write::Prefix(key, row) => {
                let key_of = |PrefixKey { prefix_len, addr }| Key::new(prefix_len, Row(addr));
                let result = match row {
                    Some(row) => self.prefixes.insert(&key_of(key), Row(row), 0),
                    None => self.prefixes.remove(&key_of(key)),
                };
                (map::PREFIXES, result)
            }
            Write::Subnet(key, row) => (map::SUBNETS, put(&mut self.subnets, key, row)),
            Write::Peer(key, row) => (map::PEERS, put(&mut self.peers, key, row)),
            Write::Project(key, row) => (map::PROJECTS, put(&mut self.projects, key, row)),
            Write::Sender(key, row) => {
                let result = match row {
                    Some(row) => self.senders.insert(key, Row(row), 0),
                    None => ignore_missing(self.senders.remove(&key)),
                };
                (map::SENDERS, result)
            }
            Write::Endpoint(key, row) => (map::ENDPOINTS, put(&mut self.endpoints, key, row)),
        };
        result.map_err(|source| TableError::Call {
            call: "write",
            map,
            source,
        })
    }

    /// Starts counting an endpoint's traffic from zero, and what it sends in fragments; one that is counted already goes on.
    pub fn count(&mut self, ifindex: u32) -> Result<(), TableError> {
        if self.fragments.get(&ifindex, 0).is_err() {
            let none = Row(FragmentsRow::default());
            let result = self.fragments.insert(ifindex, none, 0);
            result.map_err(writing(map::FRAGMENTS))?;
        }
        if self.traffic.get(&ifindex, 0).is_ok() {
            return Ok(());
        }
        let fail = writing(map::TRAFFIC);
        let zero = PerCpuValues::try_from(vec![Row(TrafficRow::default()); self.cpus])
            .map_err(|e| fail(MapError::IoError(e)))?;
        self.traffic.insert(ifindex, zero, 0).map_err(fail)
    }

    /// Forgets an endpoint's counters.
    pub fn forget(&mut self, ifindex: u32) -> Result<(), TableError> {
        ignore_missing(self.traffic.remove(&ifindex)).map_err(writing(map::TRAFFIC))?;
        ignore_missing(self.fragments.remove(&ifindex)).map_err(writing(map::FRAGMENTS))?;
        for reason in weft_ebpf::reason::DropReason::ALL {
            let key = Row(DropKey {
                ifindex,
                reason: *reason as u32,
            });
            ignore_missing(self.drops.remove(&key)).map_err(writing(map::DROPS))?;
        }
        Ok(())
    }
}

/// Takes the ring of names to resolve out of the loaded object.
pub fn take_name_events(ebpf: &mut Ebpf) -> Result<RingBuf<MapData>, TableError> {
    take(ebpf, dns::map::NAME_EVENTS)
}

/// Takes the event ring out of the loaded object.
pub fn take_events(ebpf: &mut Ebpf) -> Result<RingBuf<MapData>, TableError> {
    take(ebpf, map::EVENTS)
}

fn take<M: TryFrom<Map, Error = MapError>>(
    ebpf: &mut Ebpf,
    name: &'static str,
) -> Result<M, TableError> {
    let map = ebpf.take_map(name).ok_or(TableError::Missing(name))?;
    M::try_from(map).map_err(|source| TableError::Call {
        call: "open",
        map: name,
        source,
    })
}

fn writing(map: &'static str) -> impl Fn(MapError) -> TableError {
    move |source| TableError::Call {
        call: "write",
        map,
        source,
    }
}

fn put<K, V>(
    map: &mut HashMap<MapData, Row<K>, Row<V>>,
    key: K,
    row: Option<V>,
) -> Result<(), MapError>
where
    Row<K>: aya::Pod,
    Row<V>: aya::Pod,
{
    match row {
        Some(row) => map.insert(Row(key), Row(row), 0),
        None => ignore_missing(map.remove(&Row(key))),
    }
}

pub(crate) fn ignore_missing(result: Result<(), MapError>) -> Result<(), MapError> {
    match result {
        Err(MapError::KeyNotFound) => Ok(()),
        Err(MapError::SyscallError(e)) if e.io_error.raw_os_error() == Some(nix::libc::ENOENT) => {
            Ok(())
        }
        other => other,
    }
}
