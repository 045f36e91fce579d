//! What somebody else has put before our programs: it sees packets first, and what it takes, ours never see.
//!
//! The kernel's order for what a device receives: XDP, TCX programs, filters, then netfilter's ingress hook, then bridges and
//! their like. For what is sent out of a device: netfilter's egress hook, TCX programs, filters. Netfilter's hook can drop and
//! mark there, but lead nothing past the two others.

use std::collections::BTreeMap;
use std::fmt;

use aya::programs::{SchedClassifier, TcAttachType, loaded_programs};

use crate::bpf::hooks::{self, Attachment, Hook};
use crate::netlink::hooks::{Filter, Xdp};
use crate::netlink::{Netlink, NetlinkError};

/// Something that stands before one of our programs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Foreign {
    /// The device.
    pub interface: String,
    /// Our program.
    pub before: &'static str,
    /// What it is: kind, preference, name and number of the program.
    pub what: String,
    /// What can be done about it.
    pub remedy: String,
}

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            interface,
            before,
            what,
            remedy,
        } = self;
        write!(
            f,
            "interface {interface}: {what}, which is not weft's, stands before {before}, and what it takes or accepts is not \
             judged by weft: {remedy}"
        )
    }
}

/// Asks the kernel, in the network namespace of the thread that opened it.
pub struct Lookout {
    netlink: Netlink,
    /// Whether this kernel has TCX.
    tcx: bool,
}

/// XDP programs by index of their device.
pub type XdpPrograms = BTreeMap<u32, Xdp>;

impl Lookout {
    /// Opens it.
    pub fn open() -> Result<Self, NetlinkError> {
        Ok(Self {
            netlink: Netlink::open()?,
            tcx: Attachment::probe() == Attachment::Tcx,
        })
    }

    /// XDP programs of all devices, or of one.
    pub fn xdp(&mut self, index: Option<u32>) -> Result<XdpPrograms, NetlinkError> {
        let found = self.netlink.xdp(index)?;
        Ok(found.into_iter().map(|it| (it.index, it)).collect())
    }

    /// What stands before our programs on a device; nothing if the device is gone. A hook that lacks ours has nothing before
    /// it: that is another trouble.
    pub fn before(
        &mut self,
        (interface, index): (&str, u32),
        how: Attachment,
        hooks: &[Hook],
        xdp: &XdpPrograms,
    ) -> Result<Vec<Foreign>, NetlinkError> {
        let mut found = Vec::new();
        for (name, direction) in hooks {
            let Some(side) = hooks::side(*direction) else {
                continue;
            };
            let direction_word = match direction {
                TcAttachType::Egress => "egress",
                _ => "ingress",
            };
            let foreign = |what, remedy| Foreign {
                interface: interface.to_owned(),
                before: name,
                what,
                remedy,
            };
            if *direction == TcAttachType::Ingress
                && let Some(xdp) = xdp.get(&index)
            {
                let remedy = format!("remove it (ip link show dev {interface} tells of it)");
                found.push(foreign(described_xdp(xdp), remedy));
            }
            let tcx = self.tcx_programs(interface, *direction);
            // All of them come before the filters.
            let (end, place) = match how {
                Attachment::Clsact => {
                    (tcx.len(), "attach it as a filter with a preference above 1")
                }
                Attachment::Tcx => (own_place(&tcx, name), "attach it behind weft's"),
            };
            found.extend(tcx[..end].iter().map(|(program, id)| {
                let program = described_program(program.as_deref(), Some(*id));
                let show = format!("bpftool net show dev {interface}");
                let remedy = format!("remove it, or {place} ({show} tells of it)");
                foreign(format!("TCX program{program}"), remedy)
            }));
            if how == Attachment::Clsact {
                let filters = self.netlink.filters(index, side)?;
                let show = format!("tc filter show dev {interface} {direction_word}");
                let remedy = format!(
                    "remove it, or give it a higher preference than weft's ({show} tells of both)"
                );
                let ahead = ahead(&filters, name);
                found.extend(ahead.into_iter().map(|it| foreign(it, remedy.clone())));
            }
        }
        found.dedup();
        Ok(found)
    }

    /// Name and number of the TCX programs of a hook, in their order. None if the device is gone.
    fn tcx_programs(&self, interface: &str, direction: TcAttachType) -> Vec<(Option<String>, u32)> {
        if !self.tcx {
            return Vec::new();
        }
        let programs = SchedClassifier::query_tcx(interface, direction);
        let programs = programs.map(|(_, programs)| programs).unwrap_or_default();
        let name = |it: &aya::programs::ProgramInfo| it.name_as_str().map(str::to_owned);
        programs.iter().map(|it| (name(it), it.id())).collect()
    }
}

/// How many TCX programs come before ours.
fn own_place(programs: &[(Option<String>, u32)], name: &str) -> usize {
    let mut names = programs.iter().map(|(it, _)| it.as_deref());
    names.position(|it| it == Some(name)).unwrap_or_default()
}

/// The filters before ours, those of a kind and preference once.
fn ahead(filters: &[Filter], name: &str) -> Vec<String> {
    let entry: Vec<_> = filters.iter().filter(|it| it.chain == 0).collect();
    let own = entry.iter().position(|it| hooks::carries(it, name));
    let mut texts: Vec<_> = entry[..own.unwrap_or_default()]
        .iter()
        .map(|it| described(it))
        .collect();
    texts.dedup();
    texts
}

fn described(filter: &Filter) -> String {
    let Filter {
        kind,
        priority,
        name,
        program,
        ..
    } = filter;
    let program = described_program(name.as_deref(), *program);
    format!("filter {kind} with preference {priority}{program}")
}

fn described_xdp(xdp: &Xdp) -> String {
    let name = xdp.program.and_then(|id| {
        let mut loaded = loaded_programs().filter_map(Result::ok);
        let found = loaded.find(|it| it.id() == id)?;
        found.name_as_str().map(str::to_owned)
    });
    let program = described_program(name.as_deref(), xdp.program);
    let generic = if xdp.generic { "generic " } else { "" };
    format!("{generic}XDP program{program}")
}

fn described_program(name: Option<&str>, id: Option<u32>) -> String {
    match (name.filter(|name| !name.is_empty()), id) {
        (Some(name), Some(id)) => format!(" {name} (id {id})"),
        (Some(name), None) => format!(" {name}"),
        (None, Some(id)) => format!(" (id {id})"),
        (None, None) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::filter::{ALL_PROTOCOLS, BPF};

    fn filter(kind: &str, priority: u16, handle: u32, name: Option<&str>) -> Filter {
        Filter {
            kind: kind.into(),
            chain: 0,
            priority,
            protocol: ALL_PROTOCOLS,
            handle,
            name: name.map(str::to_owned),
            program: name.map(|_| 33),
        }
    }

    #[test]
    fn only_what_packets_meet_before_ours_is_told() {
        let ours = filter(BPF, 1, 1, Some("from_pod"));
        let observer = filter(BPF, 1, 2, Some("observer"));
        let elsewhere = Filter {
            chain: 5,
            ..filter("u32", 1, 1, None)
        };
        let behind = filter("flower", 2, 1, None);
        let all = [elsewhere, observer, ours.clone(), behind];
        let told = "filter bpf with preference 1 observer (id 33)";
        assert_eq!(ahead(&all, "from_pod"), [told]);
        let table = filter("u32", 1, 0x8000_0000, None);
        let node = filter("u32", 1, 0x8000_0800, None);
        let later = Filter {
            priority: 2,
            ..ours
        };
        let told = "filter u32 with preference 1";
        assert_eq!(ahead(&[table, node, later], "from_pod"), [told], "once");
        let none: [String; 0] = [];
        let alone = filter("u32", 1, 1, None);
        assert_eq!(ahead(&[alone], "from_pod"), none, "ours is missing");
    }
}
