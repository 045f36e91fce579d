//! Keys of connections, from the pod's side.

use crate::packet::Packet;
use crate::rows::flow::FlowKey;

/// Of a packet that the pod sends.
#[inline(always)]
pub(super) fn sent(packet: &Packet) -> FlowKey {
    FlowKey {
        pod: packet.src,
        remote: packet.dst,
        pod_port: packet.src_port,
        remote_port: packet.dst_port,
        proto: packet.proto,
        fragments: 0,
        translated: 0,
        reserved: 0,
    }
}

/// Of a packet that is for the pod.
#[inline(always)]
pub(super) fn received(packet: &Packet) -> FlowKey {
    FlowKey {
        pod: packet.dst,
        remote: packet.src,
        pod_port: packet.dst_port,
        remote_port: packet.src_port,
        proto: packet.proto,
        fragments: 0,
        translated: 0,
        reserved: 0,
    }
}

/// Turns a key into that of the fragments of one packet, whose identification stands in the place of the ports.
#[inline(always)]
pub(super) fn fragments(key: &mut FlowKey, packet: &Packet) {
    key.pod_port = packet.ident;
    key.remote_port = 0;
    key.fragments = 1;
}
