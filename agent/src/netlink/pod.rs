//! The pod's side: addresses, neighbours and routes, by a socket inside the pod's network namespace.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net};
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteProtocol, RouteScope,
    RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::{Netlink, NetlinkError};

/// Route protocol number of every route that is ours.
const ROUTE_PROTOCOL: u8 = 119;
/// Index of `lo` in every network namespace.
const LOOPBACK: u32 = 1;
/// IPv4 multicast; in IPv6 the kernel routes it by itself.
const MULTICAST: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(224, 0, 0, 0), 4);

/// What the pod's interface shall have.
#[derive(Debug)]
pub struct PodInterface<'a> {
    /// Its index in the pod's namespace.
    pub index: u32,
    /// Addresses, at most one a family.
    pub addresses: &'a [IpAddr],
    /// Next hops, one for each of `addresses`.
    pub next_hops: &'a [IpAddr],
    /// MAC address behind every next hop.
    pub next_hop_mac: [u8; 6],
    /// Destinations beside the default route.
    pub routes: &'a [IpNet],
}

impl Netlink {
    /// Sets `lo` and the interface up, with addresses, permanent neighbours and routes. The interface must be down.
    ///
    /// The explicit routes are there so that whoever replaces the default route keeps the cluster.
    pub fn configure_pod(&mut self, pod: &PodInterface<'_>) -> Result<(), NetlinkError> {
        self.set_link_up(LOOPBACK)?;
        self.no_automatic_ipv6(pod.index)?;
        for address in pod.addresses {
            self.add_address(pod.index, IpNet::from(*address))?;
        }
        self.set_link_up(pod.index)?;
        for hop in pod.next_hops {
            self.add_neighbour(pod.index, *hop, pod.next_hop_mac)?;
            self.add_route(pod.index, IpNet::from(*hop), None)?;
            let default = match hop {
                IpAddr::V4(_) => IpNet::new_assert(Ipv4Addr::UNSPECIFIED.into(), 0),
                IpAddr::V6(_) => IpNet::new_assert(std::net::Ipv6Addr::UNSPECIFIED.into(), 0),
            };
            self.add_route(pod.index, default, Some(*hop))?;
            for net in pod
                .routes
                .iter()
                .filter(|n| n.addr().is_ipv4() == hop.is_ipv4())
            {
                self.add_route(pod.index, *net, Some(*hop))?;
            }
            if hop.is_ipv4() {
                self.add_route(pod.index, MULTICAST.into(), None)?;
            }
        }
        Ok(())
    }

    /// Addresses of one interface, with their prefix lengths.
    pub fn addresses_of(&mut self, index: u32) -> Result<Vec<IpNet>, NetlinkError> {
        let mut query = AddressMessage::default();
        query.header.index = index; // strict checking makes the kernel filter by it
        let answers = self.dump(&RouteNetlinkMessage::GetAddress(query), "list addresses")?;
        let address = |message: &RouteNetlinkMessage| {
            let RouteNetlinkMessage::NewAddress(message) = message else {
                return None;
            };
            let mut address = None;
            for attribute in &message.attributes {
                match attribute {
                    AddressAttribute::Local(a) => address = Some(*a),
                    AddressAttribute::Address(a) => address = address.or(Some(*a)),
                    _ => {}
                }
            }
            IpNet::new(address?, message.header.prefix_len).ok()
        };
        Ok(answers.iter().filter_map(address).collect())
    }

    fn add_neighbour(&mut self, index: u32, hop: IpAddr, mac: [u8; 6]) -> Result<(), NetlinkError> {
        let mut message = NeighbourMessage::default();
        message.header.family = family(&hop);
        message.header.ifindex = index;
        message.header.state = NeighbourState::Permanent;
        message.attributes = vec![
            NeighbourAttribute::Destination(match hop {
                IpAddr::V4(a) => NeighbourAddress::Inet(a),
                IpAddr::V6(a) => NeighbourAddress::Inet6(a),
            }),
            NeighbourAttribute::LinkLayerAddress(mac.to_vec()),
        ];
        self.change(
            RouteNetlinkMessage::NewNeighbour(message),
            NLM_F_CREATE | NLM_F_REPLACE,
            "add neighbour",
            hop,
        )
    }

    fn add_route(
        &mut self,
        index: u32,
        to: IpNet,
        via: Option<IpAddr>,
    ) -> Result<(), NetlinkError> {
        let mut message = RouteMessage::default();
        message.header.address_family = family(&to.addr());
        message.header.destination_prefix_length = to.prefix_len();
        message.header.table = RouteHeader::RT_TABLE_MAIN;
        message.header.protocol = RouteProtocol::Other(ROUTE_PROTOCOL);
        message.header.kind = RouteType::Unicast;
        if to.prefix_len() > 0 {
            let destination = RouteAttribute::Destination(RouteAddress::from(to.network()));
            message.attributes.push(destination);
        }
        message.attributes.push(RouteAttribute::Oif(index));
        match via {
            Some(hop) => {
                message.attributes.push(RouteAttribute::Gateway(hop.into()));
                message.header.flags = RouteFlags::Onlink;
            }
            None => message.header.scope = RouteScope::Link,
        }
        self.change(
            RouteNetlinkMessage::NewRoute(message),
            NLM_F_CREATE | NLM_F_EXCL,
            "add route",
            to,
        )
    }
}

fn family(address: &IpAddr) -> AddressFamily {
    match address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    }
}
