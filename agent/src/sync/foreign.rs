//! What stands before our programs on the interfaces of this node, told to whoever asks. Nothing is done about it: it is
//! somebody's, and who removes what another puts back has a fight and no order.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use weft_core::host::OVERLAY;
use weft_core::model::{Endpoint, Problem, Subject, World};

use super::shared::Shared;
use crate::bpf::hooks::{Attachment, Hook, OVERLAY_HOOKS, POD_ATTACHMENT, POD_HOOKS};
use crate::netlink::NetlinkError;
use crate::observe::foreign::{Foreign, Lookout, XdpPrograms};
use crate::observe::removals::Suspect;

/// What was found on an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Whose it is: the pod, or the data path.
    pub object: Subject,
    /// At least one.
    pub foreign: Vec<Foreign>,
}

/// By interface name.
pub type Standings = BTreeMap<String, Standing>;

impl Standing {
    /// As problems of the object.
    pub fn problems(&self) -> impl Iterator<Item = Problem> {
        self.foreign.iter().map(|foreign| Problem {
            object: self.object.clone(),
            message: foreign.to_string(),
        })
    }
}

/// An interface with programs of ours.
struct Device {
    name: String,
    index: u32,
    object: Subject,
    how: Attachment,
    hooks: &'static [Hook],
}

impl Device {
    fn of_endpoint(endpoint: &Endpoint) -> Self {
        Self {
            name: endpoint.host_ifname.clone(),
            index: endpoint.host_ifindex,
            object: endpoint.object().into(),
            how: POD_ATTACHMENT,
            hooks: &POD_HOOKS,
        }
    }

    /// None while there is no overlay device.
    fn overlay(index: u32, how: Attachment) -> Option<Self> {
        (index != 0).then(|| Self {
            name: OVERLAY.into(),
            index,
            object: Subject::Part("data path".into()),
            how,
            hooks: &OVERLAY_HOOKS,
        })
    }

    fn look(&self, at: &mut Lookout, xdp: &XdpPrograms) -> Result<Vec<Foreign>, NetlinkError> {
        at.before((&self.name, self.index), self.how, self.hooks, xdp)
    }
}

/// What stands before our programs on an endpoint's way: its own interface and the overlay device.
pub(super) fn of_endpoint(endpoint: &Endpoint, overlay: u32) -> Result<Vec<Foreign>, NetlinkError> {
    let mut lookout = Lookout::open()?;
    let overlay = Device::overlay(overlay, Attachment::probe());
    let devices = std::iter::once(Device::of_endpoint(endpoint)).chain(overlay);
    let mut found = Vec::new();
    for device in devices {
        let xdp = lookout.xdp(Some(device.index))?;
        found.extend(device.look(&mut lookout, &xdp)?);
    }
    Ok(found)
}

/// Keeps what is told up to date.
pub(super) struct Keeper {
    shared: Arc<Shared>,
    lookout: Lookout,
    overlay: Attachment,
}

impl Keeper {
    pub fn new(shared: Arc<Shared>) -> Result<Self, NetlinkError> {
        Ok(Self {
            shared,
            lookout: Lookout::open()?,
            overlay: Attachment::probe(),
        })
    }

    /// Looks at the interfaces where something may have changed, at all of them when it is time. Of what cannot be told, what
    /// was told last stays.
    pub fn look(&mut self, suspects: &BTreeSet<Suspect>) {
        let all = [Suspect::Everything, Suspect::Unannounced];
        let all = all.iter().any(|it| suspects.contains(it));
        let is_due = |index| all || suspects.contains(&Suspect::Interface(index));
        let devices = self.devices(&self.shared.world());
        let overlay = suspects.contains(&Suspect::Overlay);
        let due = |it: &Device| is_due(it.index) || (overlay && it.name == OVERLAY);
        let mut standings = self.shared.standings();
        standings.retain(|name, _| devices.iter().any(|it| it.name == *name));
        let mut xdp = XdpPrograms::new();
        if all {
            match self.lookout.xdp(None) {
                Ok(found) => xdp = found,
                Err(error) => return unknown(&error),
            }
        }
        for device in devices.iter().filter(|it| due(it)) {
            let found = if all {
                device.look(&mut self.lookout, &xdp)
            } else {
                let xdp = self.lookout.xdp(Some(device.index));
                xdp.and_then(|xdp| device.look(&mut self.lookout, &xdp))
            };
            match found {
                Ok(foreign) if foreign.is_empty() => drop(standings.remove(&device.name)),
                Ok(foreign) => {
                    let object = device.object.clone();
                    standings.insert(device.name.clone(), Standing { object, foreign });
                }
                Err(error) => unknown(&error),
            }
        }
        self.shared.stand(&standings);
    }

    fn devices(&self, world: &World) -> Vec<Device> {
        let endpoints = world.endpoints.values().map(Device::of_endpoint);
        let overlay = Device::overlay(world.overlay_ifindex, self.overlay);
        endpoints.chain(overlay).collect()
    }
}

fn unknown(error: &NetlinkError) {
    tracing::warn!(%error, "cannot tell what stands before our programs");
}
