//! Interface addresses.

use std::net::IpAddr;

use ipnet::IpNet;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::{AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage, AddressScope},
};

use super::request::Request;
use super::{Netlink, NetlinkError};

/// An address of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InterfaceAddress {
    /// Interface index.
    pub device: u32,
    /// The address with its prefix length; host bits set.
    pub address: IpNet,
    /// Valid beyond this link and this host.
    pub global: bool,
    /// Usable as a source: not tentative, not a failed duplicate, not deprecated, not a secondary address.
    pub preferred: bool,
}

impl Netlink {
    /// Every address of the namespace, in the kernel's order.
    pub fn addresses(&mut self) -> Result<Vec<InterfaceAddress>, NetlinkError> {
        let request = RouteNetlinkMessage::GetAddress(AddressMessage::default());
        let answers = self.dump(&request, "list addresses")?;
        Ok(answers.iter().filter_map(interface_address).collect())
    }

    /// Adds an address without duplicate address detection; success when it is there already.
    pub fn add_address(&mut self, device: u32, address: IpNet) -> Result<(), NetlinkError> {
        self.send(new_address(device, address))
    }

    /// Removes an address.
    pub fn remove_address(&mut self, device: u32, address: IpNet) -> Result<(), NetlinkError> {
        let request = RouteNetlinkMessage::DelAddress(address_message(device, address));
        self.change(request, 0, "remove address", address)
    }
}

/// See [`Netlink::add_address`].
pub(super) fn new_address(device: u32, address: IpNet) -> Request {
    let message = RouteNetlinkMessage::NewAddress(address_message(device, address));
    let flags = NLM_F_CREATE | NLM_F_EXCL;
    Request::new(message, flags, "add address", address).or(nix::errno::Errno::EEXIST)
}

fn address_message(device: u32, address: IpNet) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.index = device;
    message.header.prefix_len = address.prefix_len();
    message.header.family = match address {
        IpNet::V4(_) => AddressFamily::Inet,
        IpNet::V6(_) => {
            message.header.flags = AddressHeaderFlags::Nodad;
            AddressFamily::Inet6
        }
    };
    message.attributes = vec![
        AddressAttribute::Local(address.addr()),
        AddressAttribute::Address(address.addr()),
    ];
    message
}

fn interface_address(message: &RouteNetlinkMessage) -> Option<InterfaceAddress> {
    let RouteNetlinkMessage::NewAddress(message) = message else {
        return None;
    };
    let mut flags = AddressFlags::from_bits_retain(u32::from(message.header.flags.bits()));
    let (mut local, mut address): (Option<IpAddr>, Option<IpAddr>) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(a) => local = Some(*a),
            AddressAttribute::Address(a) => address = Some(*a),
            AddressAttribute::Flags(f) => flags = *f,
            _ => {}
        }
    }
    // On a point-to-point interface ADDRESS is the peer's.
    let address = IpNet::new(local.or(address)?, message.header.prefix_len).ok()?;
    let unusable = AddressFlags::Tentative
        | AddressFlags::Dadfailed
        | AddressFlags::Deprecated
        | AddressFlags::Secondary;
    Some(InterfaceAddress {
        device: message.header.index,
        address,
        global: matches!(
            message.header.scope,
            AddressScope::Universe | AddressScope::Site
        ),
        preferred: !flags.intersects(unusable),
    })
}
