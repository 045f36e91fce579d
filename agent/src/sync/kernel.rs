//! The data path in the kernel, and what it is known to hold.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use aya::maps::{MapData, RingBuf};
use serde::Serialize;
use weft_core::compile::egress::{Memo, Unfit};
use weft_core::compile::host::endpoint_routes;
use weft_core::compile::{Scope, Tables, compile_scope};
use weft_core::diff::{Write, diff};
use weft_core::model::{Change, Endpoint, EndpointId, HostSubnet, World};

use super::firewall::Asking;
use super::retired::{OnEnded, Retired, going, takes_set_away};
use super::room;
use super::shared::Shared;
use crate::apply::carried::Seen;
use crate::apply::host::{Host, HostError};
use crate::apply::iptables::{Iptables, Keeper, OnLook};
use crate::apply::links;
use crate::apply::object::{self, LoadError};
use crate::apply::pins::{PinError, Pins};
use crate::bpf::hooks::{Attachment, POD_ATTACHMENT, POD_HOOKS};
use crate::bpf::maps::{self, Maps, TableError};
use crate::{dns, observe};

/// The data path could not be opened or changed.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// The object could not be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// Pin folder trouble.
    #[error(transparent)]
    Pin(#[from] PinError),
    /// A map could not be written.
    #[error(transparent)]
    Table(#[from] TableError),
    /// A program could not be attached.
    #[error(transparent)]
    Attach(#[from] links::AttachError),
    /// A device, address or route could not be changed.
    #[error(transparent)]
    Host(#[from] HostError),
    /// The rows do not fit. Nothing was written.
    #[error("{table} would need {rows} rows, and {room} fit; the rows in force stay")]
    Full {
        /// The map.
        table: &'static str,
        /// Rows it would hold.
        rows: usize,
        /// Rows that it can hold.
        room: usize,
    },
    /// An egress policy is too large by itself. Nothing was written.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// The kernel does not tell when its programs have ended.
    #[error("wait for programs at work (membarrier): {0}")]
    Barrier(#[source] std::io::Error),
    /// The agent's own resolver cannot start.
    #[error(transparent)]
    Resolver(dns::ResolverError),
    /// Nobody can tell what stands before the programs.
    #[error(transparent)]
    Lookout(crate::netlink::NetlinkError),
    /// A thread could not be started.
    #[error("start a thread of the data path: {0}")]
    Thread(#[source] std::io::Error),
}

impl KernelError {
    /// With what is too long to be shown written into a folder.
    #[must_use]
    pub fn kept(self, folder: &Path) -> Self {
        match self {
            Self::Load(error) => Self::Load(error.kept(folder)),
            other => other,
        }
    }
}

/// How the data path is loaded.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Loaded {
    /// `tcx` or `clsact`.
    pub attachment: &'static str,
    /// Time to load programs and maps, microseconds.
    pub load_micros: u64,
    /// ABI number of the pins.
    pub abi: u32,
}

/// What the data path tells.
pub struct Rings {
    /// Drop events.
    pub drops: RingBuf<MapData>,
    /// Names to resolve.
    pub(super) names: RingBuf<MapData>,
}

/// Maps, programs and links of this node.
pub struct Kernel {
    pub(super) object: object::Object,
    pub(super) maps: Maps,
    pub(super) pins: Pins,
    pub(super) host: Host,
    pub(super) firewall: Keeper,
    pub(super) asking: Asking,
    pub(super) attachment: Attachment,
    /// What the maps hold: read in each full pass, kept by each write.
    pub(super) mirror: Tables,
    /// What of that nothing needs any more.
    pub(super) retired: Retired,
    /// Policies that were compiled before.
    pub(super) memo: Memo,
    /// A pass of this process has written every row.
    pub(super) filled: bool,
    /// What of another version's tables was looked at, to be taken over.
    pub(super) carried: Seen,
    /// Endpoints whose programs this process has attached or replaced.
    pub(super) attached: BTreeSet<EndpointId>,
    /// Index of the overlay device that has this process's programs; 0 for none.
    pub(super) overlay: u32,
}

impl Kernel {
    /// Loads the programs over the pins and reads what the maps hold. `on_look` hears of repairs of the firewall rules,
    /// `on_ended` of the end of programs that were at work.
    pub fn open(
        bpf_dir: &Path,
        on_look: OnLook,
        on_ended: OnEnded,
    ) -> Result<(Self, Rings), KernelError> {
        let pins = Pins::open(bpf_dir)?;
        for other in pins.others()? {
            if other.abi() > weft_ebpf::ABI {
                tracing::warn!(
                    abi = other.abi(),
                    own = weft_ebpf::ABI,
                    "a newer version ran here: taking over from it"
                );
            } else {
                tracing::info!(
                    abi = other.abi(),
                    own = weft_ebpf::ABI,
                    "taking over from an older version"
                );
            }
        }
        let mut object = object::load(&pins)?;
        for map in &object.replaced {
            tracing::warn!(map, "the pinned map had another shape and was replaced");
        }
        let maps = Maps::take(&mut object.ebpf)?;
        let rings = Rings {
            drops: maps::take_events(&mut object.ebpf)?,
            names: maps::take_name_events(&mut object.ebpf)?,
        };
        let mirror = observe::maps::tables(&maps)?;
        let kernel = Self {
            maps,
            pins,
            host: Host::open()?,
            firewall: Keeper::start(Iptables::new(), on_look).map_err(KernelError::Thread)?,
            asking: Asking::default(),
            attachment: Attachment::probe(),
            mirror,
            retired: Retired::start(on_ended).map_err(KernelError::Thread)?,
            memo: Memo::default(),
            filled: false,
            carried: Seen::default(),
            attached: BTreeSet::new(),
            overlay: 0,
            object,
        };
        Ok((kernel, rings))
    }

    pub(super) fn description(&self) -> Loaded {
        Loaded {
            attachment: match self.attachment {
                Attachment::Tcx => "tcx",
                Attachment::Clsact => "clsact",
            },
            load_micros: u64::try_from(self.object.took.as_micros()).unwrap_or(u64::MAX),
            abi: weft_ebpf::ABI,
        }
    }

    /// Folder of the pinned links.
    pub(super) fn links_folder(&self) -> PathBuf {
        self.pins.links_folder()
    }

    pub(super) fn maps(&self) -> &Maps {
        &self.maps
    }

    /// Takes a change into the world and writes the rows it alters.
    pub(super) fn change(
        &mut self,
        shared: &Shared,
        change: Change,
        scope: &Scope,
    ) -> Result<usize, KernelError> {
        self.change_all(shared, vec![change], scope)
    }

    /// Takes several changes in as one step. Nothing is taken if a policy is too large.
    pub(super) fn change_all(
        &mut self,
        shared: &Shared,
        changes: Vec<Change>,
        scope: &Scope,
    ) -> Result<usize, KernelError> {
        let policy = |change: &Change| matches!(change, Change::EgressPolicy(..));
        let has_policies = changes.iter().any(policy);
        for change in &changes {
            if let Change::EgressPolicy(.., Some(policy)) = change
                && policy.rules.is_ok()
            {
                self.memo.table(policy)?;
            }
        }
        if *scope == Scope::Everything {
            // Compared with all that the maps hold, they would be retired once more, and count as in the way.
            self.remove_retired()?;
        }
        // Nobody else changes the world, so it may be read meanwhile.
        let before = match scope {
            Scope::Everything => None,
            Scope::Part(_) => Some(compile_scope(&shared.world(), scope, &self.memo)),
        };
        shared.change(|world| {
            for change in changes {
                world.take(change);
            }
        });
        let wanted = compile_scope(&shared.world(), scope, &self.memo);
        let writes = diff(&wanted, before.as_ref().unwrap_or(&self.mirror));
        let written = self.write(&writes);
        drop((wanted, before, writes));
        if has_policies {
            self.memo.shrink();
        }
        written
    }

    /// Writes rows, all or (if they do not fit) none.
    pub(super) fn write(&mut self, writes: &[Write]) -> Result<usize, KernelError> {
        let fits = room::check(&self.mirror, writes);
        if (fits.is_err() && !self.retired.is_empty()) || self.retired.returns(writes) {
            self.remove_retired()?;
            room::check(&self.mirror, writes)?;
        } else {
            fits?;
        }
        let judged = self.newly_judged(writes);
        self.seed_flows(&judged);
        let going = going(writes);
        for write in writes {
            if takes_set_away(write, &going) {
                self.retired.take(write.clone());
                continue;
            }
            self.maps.write(write)?;
            self.mirror.write(write);
        }
        // What began while the rows were written; an answer to it must not pass for a beginning.
        self.seed_flows(&judged);
        Ok(writes.len())
    }

    /// Programs, counters, link up, routes, and the rows last: they open the endpoint. Undone as a whole on failure.
    pub(super) fn attach(
        &mut self,
        shared: &Shared,
        endpoint: &Endpoint,
    ) -> Result<(), KernelError> {
        let result = self.try_attach(shared, endpoint);
        if result.is_err()
            && let Err(undo) = self.remove(shared, &endpoint.id, Some(endpoint))
        {
            tracing::error!(endpoint = %endpoint.id, error = %undo, "a failed attachment could not be undone");
        }
        result
    }

    fn try_attach(&mut self, shared: &Shared, endpoint: &Endpoint) -> Result<(), KernelError> {
        let change = Change::Endpoint(endpoint.id.clone(), Some(endpoint.clone()));
        let (scope, gateways) = {
            let world = shared.world();
            (Scope::of(&world, &change), gateways(&world))
        };
        let interface = &endpoint.host_ifname;
        links::attach(
            &mut self.object.ebpf,
            &self.pins,
            POD_ATTACHMENT,
            interface,
            &POD_HOOKS,
            !self.attached.contains(&endpoint.id),
        )?;
        self.attached.insert(endpoint.id.clone());
        self.maps.count(endpoint.host_ifindex)?;
        let routes: Vec<_> = endpoint_routes(endpoint, &gateways).into_iter().collect();
        self.host.open_endpoint(endpoint.host_ifindex, &routes)?;
        self.change(shared, change, &scope).map(drop)
    }

    /// Takes an endpoint out; one that is not known is success.
    pub(super) fn detach(&mut self, shared: &Shared, id: &EndpointId) -> Result<(), KernelError> {
        let endpoint = shared.world().endpoints.get(id).cloned();
        self.remove(shared, id, endpoint.as_ref())
    }

    /// Rows first: the endpoint is closed before anything else goes.
    fn remove(
        &mut self,
        shared: &Shared,
        id: &EndpointId,
        endpoint: Option<&Endpoint>,
    ) -> Result<(), KernelError> {
        let change = Change::Endpoint(id.clone(), None);
        let (scope, gateways) = {
            let world = shared.world();
            (Scope::of(&world, &change), gateways(&world))
        };
        self.change(shared, change, &scope)?;
        self.attached.remove(id);
        let Some(endpoint) = endpoint else {
            return Ok(());
        };
        for route in endpoint_routes(endpoint, &gateways) {
            self.host.remove_endpoint_route(&route)?;
        }
        links::detach(&self.pins, &endpoint.host_ifname, &POD_HOOKS)?;
        self.maps.forget(endpoint.host_ifindex)?;
        Ok(())
    }
}

pub(super) fn gateways(world: &World) -> Vec<std::net::IpAddr> {
    world
        .own_host()
        .into_iter()
        .flat_map(HostSubnet::gateways)
        .collect()
}
