//! veth pairs: made with one end in a pod's network namespace, looked at, deleted.

use std::os::fd::{AsRawFd as _, BorrowedFd};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{
    AfSpecInet6, AfSpecUnspec, In6AddrGenMode, InfoData, InfoKind, InfoVeth, LinkAttribute,
    LinkExtentMask, LinkFlags, LinkInfo, LinkMessage, State,
};
use nix::errno::Errno;

use super::request::Request;
use super::{Netlink, NetlinkError};

/// A veth pair to be made.
#[derive(Debug)]
pub struct VethPair<'a> {
    /// Name of this side.
    pub host_name: &'a str,
    /// MAC address of this side.
    pub host_mac: [u8; 6],
    /// Name of the pod's side.
    pub pod_name: &'a str,
    /// MAC address of the pod's side.
    pub pod_mac: [u8; 6],
    /// MTU of both.
    pub mtu: u16,
    /// The pod's network namespace.
    pub netns: BorrowedFd<'a>,
}

/// The two ends of a new veth pair.
#[derive(Clone, Copy, Debug)]
pub struct Ends {
    /// Index of this side.
    pub host: u32,
    /// Index of the pod's side, in its namespace.
    pub pod: u32,
}

pub(super) const CREATE: &str = "create veth";

/// A link, as far as attachment needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Name.
    pub name: String,
    /// Index in its namespace.
    pub index: u32,
    /// MAC address, empty for a link without one.
    pub mac: Vec<u8>,
    /// MTU in bytes.
    pub mtu: u32,
    /// Set up by an administrator.
    pub up: bool,
    /// Able to send: both sides of a veth pair are up, and the kernel has noticed.
    pub operational: bool,
    /// Index of the other side, in the other side's namespace.
    pub peer: Option<u32>,
    /// It is a veth.
    pub veth: bool,
}

impl Netlink {
    /// Makes a veth pair, the pod's side directly in its namespace: it is never visible here, and no name clashes.
    ///
    /// This side is left down, NOARP, without automatic IPv6 addresses.
    pub fn create_veth(&mut self, pair: &VethPair<'_>) -> Result<Ends, NetlinkError> {
        let mut peer = LinkMessage::default();
        peer.attributes = vec![
            LinkAttribute::IfName(pair.pod_name.to_owned()),
            LinkAttribute::Address(pair.pod_mac.to_vec()),
            LinkAttribute::Mtu(pair.mtu.into()),
            LinkAttribute::NetNsFd(pair.netns.as_raw_fd()),
        ];
        let mut host = LinkMessage::default();
        host.header.flags = LinkFlags::Noarp;
        host.header.change_mask = LinkFlags::Noarp;
        host.attributes = vec![
            LinkAttribute::IfName(pair.host_name.to_owned()),
            LinkAttribute::Address(pair.host_mac.to_vec()),
            LinkAttribute::Mtu(pair.mtu.into()),
            LinkAttribute::LinkInfo(vec![
                LinkInfo::Kind(InfoKind::Veth),
                LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
            ]),
        ];
        let names = format!("{} (peer {})", pair.host_name, pair.pod_name);
        let create = Request::new(
            RouteNetlinkMessage::NewLink(host),
            NLM_F_CREATE | NLM_F_EXCL,
            CREATE,
            names,
        );
        // The kernel ignores the mode of IPv6 addresses when a link is made.
        let by_name = LinkAttribute::IfName(pair.host_name.to_owned());
        let requests = vec![create, address_mode(0, Some(by_name)), get(pair.host_name)];
        let made = self.send_all(requests);
        let ends = made.and_then(|answers| {
            let link = answers.iter().find_map(Link::read);
            let ends = link.and_then(|it| {
                Some(Ends {
                    host: it.index,
                    pod: it.peer?,
                })
            });
            ends.ok_or_else(|| gone(pair.host_name))
        });
        if ends.as_ref().is_err_and(|e| e.call != CREATE) {
            // Half a link helps nobody; the first error is the one to report.
            drop(self.delete_link(pair.host_name));
        }
        ends
    }

    /// Sets a link up.
    pub fn set_link_up(&mut self, index: u32) -> Result<(), NetlinkError> {
        self.send(link_up(index))
    }

    /// Looks a link up by name.
    pub fn link(&mut self, name: &str) -> Result<Option<Link>, NetlinkError> {
        match self.send_all(vec![get(name)]) {
            Ok(answers) => Ok(answers.iter().find_map(Link::read)),
            Err(e) if e.errno() == Some(Errno::ENODEV) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Every veth of the namespace.
    pub fn veths(&mut self) -> Result<Vec<Link>, NetlinkError> {
        let mut query = LinkMessage::default();
        query.attributes = vec![LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats])];
        let links = self.dump(&RouteNetlinkMessage::GetLink(query), "list links")?;
        Ok(links
            .iter()
            .filter_map(Link::read)
            .filter(|l| l.veth)
            .collect())
    }

    /// Deletes a link by name; for a veth, both sides. False if there was none.
    pub fn delete_link(&mut self, name: &str) -> Result<bool, NetlinkError> {
        let mut link = LinkMessage::default();
        link.attributes = vec![LinkAttribute::IfName(name.to_owned())];
        self.delete(link, name)
    }

    /// Deletes a link by index, which no later link has.
    pub fn delete_link_index(&mut self, index: u32) -> Result<bool, NetlinkError> {
        let mut link = LinkMessage::default();
        link.header.index = index;
        self.delete(link, &index.to_string())
    }

    fn delete(&mut self, link: LinkMessage, object: &str) -> Result<bool, NetlinkError> {
        match self.change(RouteNetlinkMessage::DelLink(link), 0, "delete link", object) {
            Ok(()) => Ok(true),
            Err(e) if e.errno() == Some(Errno::ENODEV) => Ok(false),
            Err(e) => Err(e),
        }
    }
}

/// See [`Netlink::set_link_up`].
pub fn link_up(index: u32) -> Request {
    let mut link = LinkMessage::default();
    link.header.index = index;
    link.header.flags = LinkFlags::Up;
    link.header.change_mask = LinkFlags::Up;
    Request::new(RouteNetlinkMessage::SetLink(link), 0, "set up link", index)
}

/// No IPv6 address of the kernel's choice on a link: none is ever needed, and each would be announced.
///
/// Must come before the link is set up.
pub(super) fn no_automatic_ipv6(index: u32) -> Request {
    address_mode(index, None)
}

/// The link is that with the index, or if this is 0 with the name.
fn address_mode(index: u32, name: Option<LinkAttribute>) -> Request {
    let mut link = LinkMessage::default();
    link.header.index = index;
    link.attributes.extend(name);
    let mode = AfSpecInet6::AddrGenMode(In6AddrGenMode::None);
    link.attributes
        .push(LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet6(
            vec![mode],
        )]));
    let message = RouteNetlinkMessage::SetLink(link);
    // A kernel without IPv6 gives no addresses either.
    Request::new(message, 0, "set addrgenmode none on link", index).or(Errno::EAFNOSUPPORT)
}

fn get(name: &str) -> Request {
    let mut query = LinkMessage::default();
    query.attributes = vec![
        LinkAttribute::IfName(name.to_owned()),
        LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]),
    ];
    Request::new(RouteNetlinkMessage::GetLink(query), 0, "get link", name)
}

fn gone(name: &str) -> NetlinkError {
    NetlinkError {
        call: "get link",
        object: name.to_owned(),
        source: Errno::ENODEV.into(),
    }
}

impl Link {
    fn read(message: &RouteNetlinkMessage) -> Option<Self> {
        let RouteNetlinkMessage::NewLink(message) = message else {
            return None;
        };
        let mut link = Self {
            name: String::new(),
            index: message.header.index,
            mac: Vec::new(),
            mtu: 0,
            up: message.header.flags.contains(LinkFlags::Up),
            operational: false,
            peer: None,
            veth: false,
        };
        for attribute in &message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => link.name.clone_from(name),
                LinkAttribute::Address(mac) => link.mac.clone_from(mac),
                LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
                LinkAttribute::OperState(state) => link.operational = *state == State::Up,
                LinkAttribute::Link(index) => link.peer = Some(*index),
                LinkAttribute::LinkInfo(info) => {
                    link.veth = info.contains(&LinkInfo::Kind(InfoKind::Veth));
                }
                _ => {}
            }
        }
        Some(link)
    }
}
