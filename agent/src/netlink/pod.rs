//! The pod's side: addresses, neighbours and routes, by a socket inside the pod's network namespace.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net};
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteProtocol, RouteScope,
    RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use weft_core::host::ROUTE_PROTOCOL;

use super::address::new_address;
use super::neighbour::put_neighbour;
use super::request::Request;
use super::veth::{link_up, no_automatic_ipv6};
use super::{Netlink, NetlinkError};

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
    /// The explicit routes are there so that whoever replaces the default route keeps the cluster. After a failure the
    /// rest may be there or not.
    pub fn configure_pod(&mut self, pod: &PodInterface<'_>) -> Result<(), NetlinkError> {
        let mut requests = vec![link_up(LOOPBACK), no_automatic_ipv6(pod.index)];
        let addresses = pod.addresses.iter();
        requests.extend(addresses.map(|it| new_address(pod.index, IpNet::from(*it))));
        requests.push(link_up(pod.index));
        for hop in pod.next_hops {
            requests.push(put_neighbour(pod.index, *hop, pod.next_hop_mac));
            requests.push(pod_route(pod.index, IpNet::from(*hop), None));
            let default = match hop {
                IpAddr::V4(_) => IpNet::new_assert(Ipv4Addr::UNSPECIFIED.into(), 0),
                IpAddr::V6(_) => IpNet::new_assert(std::net::Ipv6Addr::UNSPECIFIED.into(), 0),
            };
            requests.push(pod_route(pod.index, default, Some(*hop)));
            for net in pod
                .routes
                .iter()
                .filter(|n| n.addr().is_ipv4() == hop.is_ipv4())
            {
                requests.push(pod_route(pod.index, *net, Some(*hop)));
            }
            if hop.is_ipv4() {
                requests.push(pod_route(pod.index, MULTICAST.into(), None));
            }
        }
        self.send_all(requests).map(drop)
    }
}

fn pod_route(index: u32, to: IpNet, via: Option<IpAddr>) -> Request {
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
    Request::new(
        RouteNetlinkMessage::NewRoute(message),
        NLM_F_CREATE | NLM_F_EXCL,
        "add route",
        to,
    )
}

fn family(address: &IpAddr) -> AddressFamily {
    match address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    }
}
