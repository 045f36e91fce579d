//! Routes of the main table.

use std::net::IpAddr;

use ipnet::IpNet;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    route::{
        RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope,
        RouteType,
    },
};
use weft_core::host::{InstalledRoute, metric};
use weft_core::host::{ROUTE_PROTOCOL, Route};

use super::request::Request;
use super::{Netlink, NetlinkError};

/// Whether a route may take the place of another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placing {
    /// Fails with EEXIST when a route to the same destination with the same metric is there.
    New,
    /// Takes its place in one step. Only for a place known to hold a route of ours: the kernel does not compare
    /// protocol numbers.
    Replace,
}

impl Netlink {
    /// The routes with our protocol number, both families.
    pub fn own_routes(&mut self) -> Result<Vec<InstalledRoute>, NetlinkError> {
        let mut routes = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            for message in self.routes(family, RouteProtocol::Other(ROUTE_PROTOCOL))? {
                routes.extend(installed(&message));
            }
        }
        Ok(routes)
    }

    /// Default routes of a family: output interface and metric.
    pub fn default_routes(
        &mut self,
        family: AddressFamily,
    ) -> Result<Vec<(u32, u32)>, NetlinkError> {
        let mut routes = Vec::new();
        for message in self.routes(family, RouteProtocol::Unspec)? {
            if message.header.destination_prefix_length == 0
                && message.header.kind == RouteType::Unicast
                && let Some(route) = installed(&message)
                && let Some(device) = route.device.or_else(|| first_hop(&message))
            {
                routes.push((device, route.metric));
            }
        }
        Ok(routes)
    }

    /// Routes that are not ours, both families: where to, and the output interface.
    pub fn foreign_routes(&mut self) -> Result<Vec<(IpNet, Option<u32>)>, NetlinkError> {
        let mut routes = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            for message in self.routes(family, RouteProtocol::Unspec)? {
                if message.header.protocol != RouteProtocol::Other(ROUTE_PROTOCOL)
                    && message.header.kind == RouteType::Unicast
                    && let Some(route) = installed(&message)
                {
                    routes.push((
                        route.destination,
                        route.device.or_else(|| first_hop(&message)),
                    ));
                }
            }
        }
        Ok(routes)
    }

    fn routes(
        &mut self,
        family: AddressFamily,
        protocol: RouteProtocol,
    ) -> Result<Vec<RouteMessage>, NetlinkError> {
        let mut message = RouteMessage::default();
        message.header.address_family = family;
        message.header.protocol = protocol;
        let request = RouteNetlinkMessage::GetRoute(message);
        let answers = self.dump(&request, "list routes")?;
        let routes = answers.into_iter().filter_map(|answer| match answer {
            RouteNetlinkMessage::NewRoute(route)
                if route.header.table == RouteHeader::RT_TABLE_MAIN =>
            {
                Some(route)
            }
            _ => None,
        });
        Ok(routes.collect())
    }

    /// Puts a route of ours over the device with index `device`.
    pub fn put_route(
        &mut self,
        route: &Route,
        device: u32,
        placing: Placing,
    ) -> Result<(), NetlinkError> {
        self.send(new_route(route, device, placing))
    }

    /// Removes a route of ours; one that is gone already is success.
    pub fn remove_route(&mut self, route: &InstalledRoute) -> Result<(), NetlinkError> {
        let mut message = own_message(route.destination, route.metric);
        message.header.scope = RouteScope::NoWhere;
        message
            .attributes
            .extend(route.device.map(RouteAttribute::Oif));
        let request = RouteNetlinkMessage::DelRoute(message);
        match self.change(request, 0, "remove route", route.destination) {
            Err(e) if e.errno() == Some(nix::errno::Errno::ESRCH) => Ok(()),
            other => other,
        }
    }
}

/// See [`Netlink::put_route`].
pub fn new_route(route: &Route, device: u32, placing: Placing) -> Request {
    let mut message = own_message(route.destination, metric(&route.destination));
    message.attributes.push(RouteAttribute::Oif(device));
    message
        .attributes
        .push(RouteAttribute::PrefSource(route.source.into()));
    let (flags, call) = match placing {
        Placing::New => (NLM_F_CREATE | NLM_F_EXCL, "add route"),
        Placing::Replace => (NLM_F_CREATE | NLM_F_REPLACE, "replace route"),
    };
    Request::new(RouteNetlinkMessage::NewRoute(message), flags, call, route)
}

/// Where a route leads to.
pub fn destination(message: &RouteMessage) -> Option<IpNet> {
    installed(message).map(|route| route.destination)
}

fn own_message(destination: IpNet, metric: u32) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header = RouteHeader {
        address_family: match destination {
            IpNet::V4(_) => AddressFamily::Inet,
            IpNet::V6(_) => AddressFamily::Inet6,
        },
        destination_prefix_length: destination.prefix_len(),
        table: RouteHeader::RT_TABLE_MAIN,
        protocol: RouteProtocol::Other(ROUTE_PROTOCOL),
        kind: RouteType::Unicast,
        // IPv6 routes have no scope.
        scope: match destination {
            IpNet::V4(_) => RouteScope::Link,
            IpNet::V6(_) => RouteScope::Universe,
        },
        ..RouteHeader::default()
    };
    message
        .attributes
        .push(RouteAttribute::Destination(destination.addr().into()));
    message.attributes.push(RouteAttribute::Priority(metric));
    message
}

fn installed(message: &RouteMessage) -> Option<InstalledRoute> {
    let unspecified = match message.header.address_family {
        AddressFamily::Inet => IpAddr::from([0; 4]),
        AddressFamily::Inet6 => IpAddr::from([0; 16]),
        _ => return None,
    };
    let mut destination = unspecified;
    let (mut device, mut source, mut gateway, mut metric) = (None, None, None, 0);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(a) => destination = address(a)?,
            RouteAttribute::Oif(index) => device = Some(*index),
            RouteAttribute::PrefSource(a) => source = address(a),
            RouteAttribute::Gateway(a) => gateway = address(a),
            RouteAttribute::Priority(value) => metric = *value,
            _ => {}
        }
    }
    Some(InstalledRoute {
        destination: IpNet::new(destination, message.header.destination_prefix_length).ok()?,
        device,
        source,
        gateway,
        metric,
    })
}

fn first_hop(message: &RouteMessage) -> Option<u32> {
    message.attributes.iter().find_map(|a| match a {
        RouteAttribute::MultiPath(hops) => hops.first().map(|hop| hop.interface_index),
        _ => None,
    })
}

fn address(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(a) => Some((*a).into()),
        RouteAddress::Inet6(a) => Some((*a).into()),
        _ => None,
    }
}
