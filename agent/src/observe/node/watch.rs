//! Notices when the node's addresses change.

use std::io;
use std::time::Duration;

use netlink_packet_core::{NetlinkMessage, NetlinkPayload};
use netlink_packet_route::{RouteNetlinkMessage, link::LinkAttribute};
use netlink_sys::protocols::NETLINK_ROUTE;
use weft_core::host::DEVICE_PREFIX;

use super::{Choice, NodeError, Underlay, observe};
use crate::netlink::Netlink;
use crate::netlink::announce::{Announcements, Watch};

/// RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR (linux/rtnetlink.h).
const GROUPS: [u32; 3] = [1, 5, 9];
/// A default route may arrive some time after the address that it makes the node's.
const PERIOD: Duration = Duration::from_secs(10);
/// Addresses come in bursts: a look is worth its while once they have settled.
const PACE: Duration = Duration::from_millis(100);

/// Starts a thread in the calling thread's network namespace that calls back with what [`observe`] says, at first and
/// whenever it says something else. Dropping the result ends it.
pub fn watch(
    choice: Choice,
    on_change: impl Fn(Result<Underlay, NodeError>) + Send + 'static,
) -> io::Result<Watch> {
    let announcements = Announcements::subscribe(NETLINK_ROUTE, &GROUPS)?;
    let mut netlink = Netlink::open().map_err(|e| e.source)?;
    Watch::start("node-address", move |end| {
        let mut last: Option<Result<Underlay, String>> = None;
        loop {
            let now = observe(&mut netlink, &choice);
            let comparable = match &now {
                Ok(underlay) => Ok(underlay.clone()),
                Err(error) => Err(error.to_string()),
            };
            if last.as_ref() != Some(&comparable) {
                last = Some(comparable);
                on_change(now);
            }
            let mut worth_a_look = false;
            while !worth_a_look {
                let before = std::time::Instant::now();
                if end.wait(Some(&announcements), PERIOD) {
                    return;
                }
                worth_a_look = before.elapsed() >= PERIOD;
                announcements.drain(|bytes| worth_a_look |= concerns_node(bytes));
            }
            if end.wait(None, PACE) {
                return;
            }
            announcements.drain(|_| ());
        }
    })
}

/// Whether an announcement is about more than our own devices, which come and go with every pod.
fn concerns_node(bytes: &[u8]) -> bool {
    let Ok(message) = NetlinkMessage::<RouteNetlinkMessage>::deserialize(bytes) else {
        return true;
    };
    let NetlinkPayload::InnerMessage(
        RouteNetlinkMessage::NewLink(link) | RouteNetlinkMessage::DelLink(link),
    ) = message.payload
    else {
        return true;
    };
    let ours = |a: &LinkAttribute| matches!(a, LinkAttribute::IfName(name) if name.starts_with(DEVICE_PREFIX));
    !link.attributes.iter().any(ours)
}
