//! Where our programs are attached, and which filters are ours.

use aya::programs::{SchedClassifier, TcAttachType};

use crate::netlink::filter::{ALL_PROTOCOLS, BPF, Hook as Side};
use crate::netlink::hooks::Filter;

/// Names of the programs of interfaces, which are also their symbols.
pub const PROGRAMS: [&str; 4] = ["from_pod", "to_pod", "from_overlay", "to_overlay"];

/// A program and the hook it belongs to.
pub type Hook = (&'static str, TcAttachType);
/// What a pod's host-side veth carries. `to_pod` first: nothing may reach a pod before it is there.
pub const POD_HOOKS: [Hook; 2] = [
    ("to_pod", TcAttachType::Egress),
    ("from_pod", TcAttachType::Ingress),
];
/// What the overlay device carries.
pub const OVERLAY_HOOKS: [Hook; 2] = [
    ("to_overlay", TcAttachType::Egress),
    ("from_overlay", TcAttachType::Ingress),
];

/// How programs are attached on this kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attachment {
    /// TCX links (Linux 6.6).
    Tcx,
    /// Filters on the clsact qdisc.
    Clsact,
}

/// How the programs of pods are attached, on every kernel: see the module's comment.
pub const POD_ATTACHMENT: Attachment = Attachment::Clsact;

impl Attachment {
    /// Asks the kernel, by a query that needs nothing attached.
    pub fn probe() -> Self {
        match SchedClassifier::query_tcx("lo", TcAttachType::Ingress) {
            Ok(_) => Self::Tcx,
            Err(_) => Self::Clsact,
        }
    }
}

/// The clsact hook of a direction.
pub fn side(direction: TcAttachType) -> Option<Side> {
    match direction {
        TcAttachType::Ingress => Some(Side::Ingress),
        TcAttachType::Egress => Some(Side::Egress),
        TcAttachType::Custom(_) => None,
    }
}

/// Whether the kernel takes ours beside it at the same preference.
pub(crate) fn goes_with_ours(filter: &Filter) -> bool {
    filter.kind == BPF && filter.protocol == ALL_PROTOCOLS
}

/// Whether it is where packets come by, and runs the program of this name.
pub fn carries(filter: &Filter, name: &str) -> bool {
    filter.chain == 0 && goes_with_ours(filter) && filter.name.as_deref() == Some(name)
}

/// Whether a filter carries one of our programs.
pub fn is_ours(filter: &Filter) -> bool {
    PROGRAMS.iter().any(|name| carries(filter, name))
}
