//! Connections that are older than the first policy of their project.
//!
//! The data path notes who opened a connection only where a policy may ask for it. What was open before it is known to the host's
//! connection tracking, since all external traffic passes there.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use weft_ebpf::addr::Addr;
use weft_ebpf::packet::proto;
use weft_ebpf::rows::flow::{FlowKey, FlowRow, origin};

use crate::model::Connection;

/// The flows among `connections` that concern pods, given by address with the interface index of their endpoint.
///
/// Of TCP only what was opened from outside is needed: each packet of the others is judged by itself.
pub fn flows(
    connections: &[Connection],
    pods: &BTreeMap<Addr, u32>,
    now: u64,
) -> Vec<(FlowKey, FlowRow)> {
    let mut found = Vec::new();
    for connection in connections {
        let Connection {
            protocol,
            opened,
            answered,
        } = connection;
        let mut take = |pod: SocketAddr, remote: SocketAddr, kind| {
            if let Some(ifindex) = pods.get(&Addr::from(pod.ip())) {
                let key = FlowKey {
                    pod: pod.ip().into(),
                    remote: remote.ip().into(),
                    pod_port: pod.port(),
                    remote_port: remote.port(),
                    proto: *protocol,
                    fragments: 0,
                    translated: 0,
                    reserved: 0,
                };
                found.push((key, FlowRow::new(kind, *ifindex, 0, now)));
            }
        };
        if *protocol != proto::TCP {
            take(opened.from, opened.to, origin::OUT);
        }
        take(answered.from, answered.to, origin::IN);
    }
    found
}
