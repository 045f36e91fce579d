//! ADD.

use std::net::IpAddr;
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use tracing::{debug, info, warn};
use weft_core::model::EndpointId;
use weft_ebpf::rows::GATEWAY_MAC;
use weft_netns::{NetNs, sysctl};

use super::check::{inspect_host, inspect_pod};
use super::{Done, Service, UNDO_GRACE};
use crate::cni::AttachError;
use crate::cni::journal::{Intent, Record, State};
use crate::cni::netconf::Bandwidth;
use crate::cni::protocol::{Call, Verb};
use crate::cni::result::next_hop;
use crate::cni::spec::{CniError, code};
use crate::netlink::pod::PodInterface;
use crate::netlink::veth::{Ends, VethPair};
use crate::netlink::{Netlink, NetlinkError};

impl Service {
    pub(super) fn add(
        &self,
        call: &Call,
        netns: &NetNs,
        deadline: Instant,
    ) -> Result<Done, CniError> {
        let Verb::Add {
            attachment,
            netns: netns_path,
            pod,
            bandwidth,
        } = &call.verb
        else {
            return Err(CniError::new(code::ATTACHMENT_FAILED, "no ADD request"));
        };
        let id = attachment.id();
        let _held = self.busy.hold(id, deadline)?;
        if let Some(record) = self.existing(id, netns, deadline)? {
            let result = record.attached(netns_path).to_json(call.version);
            return Ok(Some(result).into());
        }
        let pod_network = self
            .datapath
            .pod_network(pod.namespace(), deadline)
            .map_err(|e| {
                CniError::new(
                    code::TRY_AGAIN_LATER,
                    format!("pod {}/{}: {e}", pod.namespace(), pod.name()),
                )
            })?;
        if let Some(bandwidth) = bandwidth {
            warn_bandwidth(id, bandwidth);
        }
        let intent = self.journal.reserve(&Intent {
            id,
            pod,
            network: &call.network,
            netns: netns.id().into(),
            netns_path,
            pod_network: &pod_network,
            bandwidth: *bandwidth,
        })?;
        let made = self
            .make(intent.clone(), netns, netns_path, deadline)
            .map_err(|e| self.undone(&intent, e))?;
        info!(attachment = %id, pod = %format!("{}/{}", pod.namespace(), pod.name()),
            addresses = ?made.endpoint.addresses, interface = %made.endpoint.host_ifname, "attached");
        Ok(Done {
            result: Some(made.attached(netns_path).to_json(call.version)),
            made: Some(made),
        })
    }

    /// The attachment if it stands already, so that a repeated ADD gives the same result. What is left of a broken one
    /// is removed.
    fn existing(
        &self,
        id: &EndpointId,
        netns: &NetNs,
        deadline: Instant,
    ) -> Result<Option<Record>, CniError> {
        let Some(record) = self.journal.get(id) else {
            return Ok(None);
        };
        if record.state == State::Ready {
            let intact = inspect_host(&record);
            if intact.is_ok() && record.netns != netns.id().into() {
                return Err(CniError::new(
                    code::CONFLICT,
                    format!(
                        "attachment {id} exists in another network namespace ({}); DEL it first",
                        record.netns_path
                    ),
                ));
            }
            let endpoint = &record.endpoint;
            // The same namespace, both ends as they were made; the data path repairs its own part.
            if intact.and_then(|()| inspect_pod(&record, netns)).is_ok()
                && (self.datapath.verify(endpoint, deadline).is_ok()
                    || self.datapath.attach(endpoint.clone(), deadline).is_ok())
            {
                debug!(attachment = %id, "attached already");
                return Ok(Some(record));
            }
        }
        self.remove(&record, deadline)?;
        Ok(None)
    }

    /// Everything between the written intent and the answer.
    fn make(
        &self,
        mut record: Record,
        netns: &NetNs,
        netns_path: &str,
        deadline: Instant,
    ) -> Result<Record, CniError> {
        let id = record.endpoint.id.clone();
        let failed = |what: String| {
            let msg = format!("attach {id} in {netns_path}: {what}");
            CniError::new(code::ATTACHMENT_FAILED, msg)
        };
        let mut host = Netlink::open().map_err(|e| failed(e.to_string()))?;
        let ends = self.create_pair(&mut host, &record, netns, netns_path)?;
        record.endpoint.host_ifindex = ends.host;
        // Side by side: neither needs the other, and what one has done is undone if the other fails.
        let (pod, attached) = netns
            .run_beside(
                || configure(&record, ends.pod),
                || self.datapath.attach(record.endpoint.clone(), deadline),
            )
            .map_err(|e| failed(e.to_string()))?;
        let mut pod = pod.map_err(failed)?;
        attached.map_err(|e| {
            let error = failed(format!("data path: {e}"));
            match e {
                AttachError::Deadline(_) => CniError {
                    code: code::TRY_AGAIN_LATER,
                    ..error
                },
                _ => error,
            }
        })?;
        in_time(deadline, "interface configured").map_err(failed)?;
        wait_operational(&mut pod, &id.ifname, deadline).map_err(failed)?;
        self.journal.ready(&mut record)?;
        Ok(record)
    }

    fn create_pair(
        &self,
        host: &mut Netlink,
        record: &Record,
        netns: &NetNs,
        netns_path: &str,
    ) -> Result<Ends, CniError> {
        let endpoint = &record.endpoint;
        let pair = VethPair {
            host_name: &endpoint.host_ifname,
            host_mac: GATEWAY_MAC,
            pod_name: &endpoint.id.ifname,
            pod_mac: endpoint.mac,
            mtu: record.mtu,
            netns: netns.as_fd(),
        };
        let made = match host.create_veth(&pair) {
            // An interface of our name that the journal did not know is a leftover: its file was lost.
            Err(e) if is_taken(&e) && host.delete_link(&endpoint.host_ifname).unwrap_or(false) => {
                warn!(interface = %endpoint.host_ifname, "leftover interface without attachment deleted");
                host.create_veth(&pair)
            }
            other => other,
        };
        made.map_err(|e| {
            if !is_taken(&e) {
                let msg = format!("attach {} in {netns_path}: {e}", endpoint.id);
                return CniError::new(code::ATTACHMENT_FAILED, msg);
            }
            let owner = match self.journal.in_netns(record.netns, &endpoint.id.ifname) {
                Some(other) => format!(
                    "container {} (pod {}/{}) has it; DEL that one first",
                    other.endpoint.id.container, other.endpoint.project, other.endpoint.pod
                ),
                None => "weft did not make it; remove it, or use another CNI_IFNAME".to_owned(),
            };
            CniError::new(
                code::CONFLICT,
                format!(
                    "interface {} exists already in {netns_path}: {owner}",
                    endpoint.id.ifname
                ),
            )
        })
    }

    /// Undoes what `make` did. If that fails too the file stays, and DEL, GC, the next ADD or the next start go on.
    fn undone(&self, intent: &Record, mut error: CniError) -> CniError {
        if let Err(undo) = self.remove(intent, Instant::now() + UNDO_GRACE) {
            error.details = format!("not everything could be undone: {undo}; DEL goes on with it");
        }
        warn!(attachment = %intent.endpoint.id, error = %error, details = %error.details, "not attached");
        error
    }
}

/// Runs inside the pod's namespace; the socket stays there.
fn configure(record: &Record, index: u32) -> Result<Netlink, String> {
    let endpoint = &record.endpoint;
    let ifname = &endpoint.id.ifname;
    if endpoint.addresses.iter().any(IpAddr::is_ipv6) {
        let key = |name| format!("net/ipv6/conf/{ifname}/{name}");
        // Routers are not listened to.
        for name in ["accept_ra", "router_solicitations"] {
            sysctl::write(&key(name), "0").map_err(|e| e.to_string())?;
        }
        // The runtime may have switched IPv6 off in new namespaces. Reading is cheap; a write wants the RTNL lock, and spins
        // as long as somebody else has it.
        let disabled = key("disable_ipv6");
        if sysctl::read(&disabled).map_err(|e| e.to_string())? != "0" {
            sysctl::write(&disabled, "0").map_err(|e| e.to_string())?;
        }
    }
    let next_hops: Vec<IpAddr> = endpoint.addresses.iter().map(next_hop).collect();
    let attempt = || -> Result<Netlink, NetlinkError> {
        let mut pod = Netlink::open()?;
        pod.configure_pod(&PodInterface {
            index,
            addresses: &endpoint.addresses,
            next_hops: &next_hops,
            next_hop_mac: GATEWAY_MAC,
            routes: &record.routes,
        })?;
        Ok(pod)
    };
    attempt().map_err(|e| format!("in the pod: {e}"))
}

/// The kernel starts an interface's queue a moment after its peer is set up, and drops packets until then.
fn wait_operational(pod: &mut Netlink, ifname: &str, deadline: Instant) -> Result<(), String> {
    let mut pause = Duration::from_micros(50);
    loop {
        match pod.link(ifname).map_err(|e| format!("in the pod: {e}"))? {
            Some(link) if link.operational => return Ok(()),
            Some(_) => {}
            None => return Err(format!("interface {ifname} vanished from the pod")),
        }
        in_time(deadline, "interface able to send")?;
        std::thread::sleep(pause); // no notification is cheaper than asking
        pause = (pause * 2).min(Duration::from_millis(1));
    }
}

fn in_time(deadline: Instant, step: &str) -> Result<(), String> {
    if Instant::now() < deadline {
        Ok(())
    } else {
        Err(format!("the deadline passed before: {step}"))
    }
}

fn is_taken(error: &NetlinkError) -> bool {
    error.errno() == Some(Errno::EEXIST)
}

fn warn_bandwidth(id: &EndpointId, bandwidth: &Bandwidth) {
    warn!(attachment = %id, ingress_bps = bandwidth.ingress_rate, egress_bps = bandwidth.egress_rate,
        "bandwidth limits are recorded and not enforced yet");
}
