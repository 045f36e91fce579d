//! Notices when something of ours is taken off the host's network: filters, routes, the overlay device, its links' pins; and
//! when somebody adds a filter.
//!
//! An announcement is a suspicion only: most are of the agent's own doing, and whoever is called back looks for himself.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use netlink_packet_core::{NLM_F_REPLACE, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::link::{LinkAttribute, LinkMessage};
use netlink_packet_route::route::RouteProtocol;
use netlink_packet_route::{RouteNetlinkMessage, tc::TcMessage};
use netlink_sys::protocols::NETLINK_ROUTE;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use weft_core::host::{OVERLAY, ROUTE_PROTOCOL};

use crate::bpf::hooks;
use crate::netlink::announce::{Announcements, Watch};
use crate::netlink::{hooks::Filter, route::destination};

/// RTNLGRP_LINK, RTNLGRP_TC, RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_ROUTE (linux/rtnetlink.h).
const GROUPS: [u32; 4] = [1, 4, 7, 11];
/// A TCX link that is detached, not unpinned, is announced nowhere; nor is a TCX or XDP program of somebody else. Found
/// within five seconds also by a busy machine.
const PERIOD: Duration = Duration::from_secs(3);
/// Least time between two calls: attaching many pods announces much, and a fight with another program must not take the
/// agent's whole time.
const PACE: Duration = Duration::from_millis(50);

/// What may be gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Suspect {
    /// Programs on the interface with this index, or their place before all others.
    Interface(u32),
    /// A host route.
    Route(IpNet),
    /// The overlay device, what belongs to it, or its programs.
    Overlay,
    /// What is announced nowhere: it is time to look.
    Unannounced,
    /// Any of it: announcements were lost, or not understood.
    Everything,
}

/// Starts a thread in the calling thread's network namespace that calls back with what may be gone. `links` is the folder
/// of pinned links. Dropping the result ends it.
pub fn watch(
    links: &Path,
    mut on_suspects: impl FnMut(BTreeSet<Suspect>) + Send + 'static,
) -> io::Result<Watch> {
    let announcements = Announcements::subscribe(NETLINK_ROUTE, &GROUPS)?;
    let pins = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
    let gone = AddWatchFlags::IN_DELETE | AddWatchFlags::IN_MOVED_FROM;
    pins.add_watch(links, gone | AddWatchFlags::IN_ONLYDIR)?;
    Watch::start("removals", move |end| {
        let mut look = Instant::now();
        loop {
            let wait = look.saturating_duration_since(Instant::now());
            if end.wait_any(&[announcements.as_fd(), pins.as_fd()], wait) {
                return;
            }
            let woken = Instant::now();
            let mut suspects = BTreeSet::new();
            announcements.drain(|bytes| suspects.extend(suspect(bytes)));
            if pins.read_events().is_ok() {
                suspects.insert(Suspect::Overlay);
            }
            if woken >= look {
                suspects.insert(Suspect::Unannounced);
                look = woken + PERIOD;
            }
            if !suspects.is_empty() {
                on_suspects(suspects);
            }
            if end.wait_any(&[], PACE.saturating_sub(woken.elapsed())) {
                return;
            }
        }
    })
}

fn suspect(bytes: &[u8]) -> Option<Suspect> {
    // What the agent attaches itself is no news.
    if let Some((index, filter)) = Filter::announced(bytes) {
        return (!hooks::is_ours(&filter)).then_some(Suspect::Interface(index));
    }
    let Ok(message) = NetlinkMessage::<RouteNetlinkMessage>::deserialize(bytes) else {
        return Some(Suspect::Everything);
    };
    let replaces = message.header.flags & NLM_F_REPLACE != 0;
    let NetlinkPayload::InnerMessage(message) = message.payload else {
        return None;
    };
    let ours = RouteProtocol::Other(ROUTE_PROTOCOL);
    match message {
        RouteNetlinkMessage::DelTrafficFilter(message)
        | RouteNetlinkMessage::DelTrafficChain(message)
        | RouteNetlinkMessage::DelQueueDiscipline(message) => interface(&message),
        RouteNetlinkMessage::DelRoute(route) if route.header.protocol == ours => {
            destination(&route).map(Suspect::Route)
        }
        RouteNetlinkMessage::NewRoute(route) if replaces && route.header.protocol != ours => {
            destination(&route).map(Suspect::Route)
        }
        RouteNetlinkMessage::NewLink(link) | RouteNetlinkMessage::DelLink(link) => {
            is_overlay(&link).then_some(Suspect::Overlay)
        }
        _ => None,
    }
}

fn interface(message: &TcMessage) -> Option<Suspect> {
    let index = u32::try_from(message.header.index).ok()?;
    Some(Suspect::Interface(index))
}

fn is_overlay(link: &LinkMessage) -> bool {
    let name = |a: &LinkAttribute| matches!(a, LinkAttribute::IfName(name) if name == OVERLAY);
    link.attributes.iter().any(name)
}
