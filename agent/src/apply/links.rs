//! Programs attached to interfaces.
//!
//! A pod's veth carries them as filters of the clsact qdisc. A TCX link would do the same, but making one waits for an
//! RCU grace period under the RTNL lock (about ten milliseconds, twice a pod, one pod after the other); a filter does
//! not. The filters live as long as the veth, and a start replaces the program in place.
//!
//! They have the first preference, so that whoever adds a filter with one of his own comes behind. The kernel takes no
//! other kind or protocol at a preference that is in use; a BPF filter it puts in front of those of the same preference.
//! What stands in front nevertheless is found ([`crate::observe::foreign`]) and left alone.
//!
//! The overlay device carries TCX links where the kernel has them (Linux 6.6): pinned, they outlive the agent and are
//! replaced in place (`BPF_LINK_UPDATE`), so that no packet passes without a program. Elsewhere it has filters too.

mod filters;
mod tcx;

use aya::Ebpf;
use aya::programs::{ProgramError, SchedClassifier};
use weft_core::host::OVERLAY;

use super::pins::{PinError, Pins};
use crate::bpf::hooks::{Attachment, Hook, OVERLAY_HOOKS};
use crate::netlink::NetlinkError;

/// A program could not be attached or detached.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// The object lacks the program.
    #[error("the eBPF object has no program {0}")]
    Missing(&'static str),
    /// The kernel refused.
    #[error("attach {program} to {interface}: {source}")]
    Attach {
        /// The program.
        program: &'static str,
        /// The interface.
        interface: String,
        /// The cause.
        #[source]
        source: ProgramError,
    },
    /// The link could not be pinned or taken.
    #[error("pin the link of {program} on {interface}: {reason}")]
    Pin {
        /// The program.
        program: &'static str,
        /// The interface.
        interface: String,
        /// The cause.
        reason: String,
    },
    /// There is no such interface.
    #[error("attach programs to {interface}: {source}")]
    Gone {
        /// The interface.
        interface: String,
        /// The cause.
        #[source]
        source: nix::errno::Errno,
    },
    /// The filters could not be put on the clsact qdisc.
    #[error("attach programs to {interface}: {source}")]
    Filters {
        /// The interface.
        interface: String,
        /// The cause.
        #[source]
        source: NetlinkError,
    },
    /// Somebody's qdisc stands where ours must be.
    #[error(
        "attach programs to {interface}: its qdisc {kind} is not weft's, which needs clsact in its place: remove it (tc qdisc \
         del dev {interface} {kind}), then weft puts clsact there at once"
    )]
    Qdisc {
        /// The interface.
        interface: String,
        /// Kind of the qdisc: `ingress`.
        kind: String,
    },
    /// Filters of the hook belong to several devices.
    #[error(
        "attach {program} to {interface}: its qdisc clsact uses the shared block {block} of somebody else, to which no filter \
         of one device can be added: remove it (tc qdisc del dev {interface} clsact), then weft puts its own there at once"
    )]
    Shared {
        /// The program.
        program: &'static str,
        /// The interface.
        interface: String,
        /// Number of the block.
        block: u32,
    },
    /// Pin folder trouble.
    #[error(transparent)]
    Folder(#[from] PinError),
}

/// Attaches the programs of `hooks` to an interface, or replaces them in place where they are attached already.
///
/// `fresh` says that the interface was just made: what is pinned under its name belongs to one that is gone.
pub fn attach(
    ebpf: &mut Ebpf,
    pins: &Pins,
    how: Attachment,
    interface: &str,
    hooks: &[Hook],
    fresh: bool,
) -> Result<(), AttachError> {
    if how == Attachment::Clsact {
        return filters::attach(ebpf, interface, hooks, fresh);
    }
    for (name, direction) in hooks {
        let program = program(ebpf, name)?;
        tcx::attach(program, pins, interface, name, *direction, fresh)?;
    }
    Ok(())
}

/// Takes the programs of `hooks` off an interface that may be gone already.
///
/// A clsact filter goes with its interface, which is about to be deleted.
pub fn detach(pins: &Pins, interface: &str, hooks: &[Hook]) -> Result<(), AttachError> {
    for (name, _) in hooks {
        Pins::remove(&pins.link(interface, name))?;
    }
    Ok(())
}

/// Whether every program of `hooks` is attached; the first that is not is the error.
pub fn verify(how: Attachment, interface: &str, hooks: &[Hook]) -> Result<(), &'static str> {
    match missing(how, interface, hooks).first() {
        Some((name, _)) => Err(name),
        None => Ok(()),
    }
}

/// Those of `hooks` without their program.
pub fn missing(how: Attachment, interface: &str, hooks: &[Hook]) -> Vec<Hook> {
    let attached = |(name, direction): &Hook| match how {
        Attachment::Tcx => SchedClassifier::query_tcx(interface, *direction)
            .is_ok_and(|(_, programs)| programs.iter().any(|p| p.name_as_str() == Some(name))),
        Attachment::Clsact => filters::has(interface, *direction, name),
    };
    let hooks = hooks.iter().copied();
    hooks.filter(|hook| !attached(hook)).collect()
}

/// The same of the overlay device, whose links must be pinned too: one that is not goes in a moment, or with the agent.
pub fn verify_overlay(pins: &Pins, how: Attachment) -> Result<(), &'static str> {
    let pinned = |name: &str| how == Attachment::Clsact || pins.link(OVERLAY, name).exists();
    match OVERLAY_HOOKS.iter().find(|(name, _)| !pinned(name)) {
        Some((name, _)) => Err(name),
        None => verify(how, OVERLAY, &OVERLAY_HOOKS),
    }
}

/// Whether there is an interface of this name and index.
pub fn is_there(interface: &str, index: u32) -> bool {
    nix::net::if_::if_nametoindex(interface) == Ok(index)
}

fn program<'a>(
    ebpf: &'a mut Ebpf,
    name: &'static str,
) -> Result<&'a mut SchedClassifier, AttachError> {
    ebpf.program_mut(name)
        .and_then(|program| program.try_into().ok())
        .ok_or(AttachError::Missing(name))
}
