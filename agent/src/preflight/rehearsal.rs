//! Does once, in a network namespace that nobody uses, what the agent does: probes by doing say more than version numbers.

use std::os::fd::AsFd as _;
use std::path::PathBuf;

use weft_core::compile::iptables::Family;
use weft_core::host::{OVERLAY, Overlay};
use weft_netns::NetNs;

use super::{Check, State};
use crate::apply::after_dnat;
use crate::apply::iptables::Iptables;
use crate::apply::links;
use crate::apply::object::{self, Object};
use crate::apply::pins::Pins;
use crate::bpf::hooks::{Attachment, OVERLAY_HOOKS, POD_ATTACHMENT, POD_HOOKS};
use crate::config::Config;
use crate::netlink::Netlink;
use crate::netlink::veth::VethPair;
use crate::sync::unjudged;

const PROGRAMS: &str = "eBPF programs";
const DEVICES: &str = "VXLAN, veth, clsact";
const FIREWALL: &str = "xt_bpf";

/// A folder of pins that goes with the value; and the one around it, if it is empty then.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::warn!(folder = %self.0.display(), %error, "a folder of pins stays");
        }
        if let Some(parent) = self.0.parent() {
            // Not empty: an agent was here.
            drop(std::fs::remove_dir(parent));
        }
    }
}

/// `possible` is whether privileges, the BPF file system and the kernel are there; without them nothing can be tried.
pub(super) fn rehearse(config: &Config, possible: bool) -> Vec<Check> {
    if !possible {
        let message = "not tried: something is missing that every program needs";
        return vec![Check::new(PROGRAMS, State::Warning, message)];
    }
    let mut checks = Vec::new();
    let folder = Folder(
        config
            .bpf_dir
            .join(format!("preflight-{:016x}", rand::random::<u64>())),
    );
    let pins = match Pins::open(&folder.0) {
        Ok(pins) => pins,
        Err(error) => {
            checks.push(Check::new(PROGRAMS, State::Failed, error.to_string()));
            return checks;
        }
    };
    match object::load(&pins) {
        Ok(mut object) => {
            let took = object.took.as_millis();
            checks.push(Check::new(
                PROGRAMS,
                State::Ok,
                format!("loaded in {took} ms"),
            ));
            checks.push(devices(&mut object, &pins));
            checks.push(firewall(&mut object, &pins));
        }
        Err(error) => {
            // Where no agent has started yet there is no such folder, and the end of the log has to do: a file of a known name
            // in a folder that everybody may write could be somebody else's link.
            let error = error.kept(&config.state_dir);
            checks.push(Check::new(PROGRAMS, State::Failed, error.to_string()));
        }
    }
    checks
}

fn devices(object: &mut Object, pins: &Pins) -> Check {
    let mut tried = || -> Result<Attachment, String> {
        let text = |error: &dyn std::fmt::Display| error.to_string();
        let node = NetNs::create().map_err(|e| text(&e))?;
        let pod = NetNs::create().map_err(|e| text(&e))?;
        node.run(|| attach(object, pins, &pod))
            .map_err(|e| text(&e))?
    };
    match tried() {
        Ok(Attachment::Tcx) => Check::new(
            DEVICES,
            State::Ok,
            "made and attached; TCX links for the overlay",
        ),
        Ok(Attachment::Clsact) => Check::new(
            DEVICES,
            State::Ok,
            "made and attached; filters for the overlay, since this kernel has no TCX links (Linux 6.6 has)",
        ),
        Err(error) => Check::new(DEVICES, State::Failed, error),
    }
}

/// The agent runs without it.
fn firewall(object: &mut Object, pins: &Pins) -> Check {
    let mut tried = || -> Result<(), String> {
        let program = after_dnat::pin(&mut object.ebpf, pins).map_err(|e| e.to_string())?;
        let node = NetNs::create().map_err(|e| e.to_string())?;
        let families = [Family::V4, Family::V6];
        let all = || {
            let mut families = families.into_iter();
            families.try_for_each(|family| Iptables::new().try_program(family, &program))
        };
        node.run(all)
            .map_err(|e| e.to_string())?
            .map_err(|e| e.to_string())
    };
    match tried() {
        Ok(()) => Check::new(
            FIREWALL,
            State::Ok,
            "the node's firewall can ask the data path",
        ),
        Err(error) => Check::new(FIREWALL, State::Warning, unjudged(&error).message),
    }
}

fn attach(object: &mut Object, pins: &Pins, pod: &NetNs) -> Result<Attachment, String> {
    const POD: &str = "weftpreflight";
    const MTU: u16 = 1450;
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let mut netlink = Netlink::open().map_err(|e| text(&e))?;
    let overlay = Overlay {
        name: OVERLAY.into(),
        mac: [2, 0, 0, 0, 0, 1],
        port: 4789,
        mtu: MTU.into(),
    };
    netlink.create_overlay(&overlay).map_err(|e| text(&e))?;
    let pair = VethPair {
        host_name: POD,
        host_mac: [2, 0, 0, 0, 0, 2],
        pod_name: "eth0",
        pod_mac: [2, 0, 0, 0, 0, 3],
        mtu: MTU,
        netns: pod.as_fd(),
    };
    netlink.create_veth(&pair).map_err(|e| text(&e))?;
    let how = Attachment::probe();
    for (how, interface, hooks) in [
        (how, OVERLAY, &OVERLAY_HOOKS),
        (POD_ATTACHMENT, POD, &POD_HOOKS),
    ] {
        links::attach(&mut object.ebpf, pins, how, interface, hooks, true).map_err(|e| text(&e))?;
    }
    Ok(how)
}
