//! What a host's network is made of: our overlay device and routes as they are asked for, and devices and routes as the kernel has
//! them. Who speaks to the kernel knows these, and not what they are compared with.

use std::net::IpAddr;

use ipnet::IpNet;

/// Name of the overlay device.
pub const OVERLAY: &str = "weft0";
/// What the names of all our devices begin with; firewall rules match `weft+`.
pub const DEVICE_PREFIX: &str = "weft";
/// Route protocol number of every route that is ours. Other routes are never changed.
pub const ROUTE_PROTOCOL: u8 = 119;
/// Outer IPv4, UDP and VXLAN headers plus the inner Ethernet header, in bytes.
pub const OVERLAY_OVERHEAD: u32 = 50;

/// The overlay device: VXLAN in collect-metadata mode, no learning, no ARP, up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overlay {
    /// Name.
    pub name: String,
    /// MAC address, the same on every node: a frame routed into the overlay fits whichever node receives it.
    pub mac: [u8; 6],
    /// UDP port.
    pub port: u16,
    /// MTU of the inner packets.
    pub mtu: u32,
}

/// A directly connected route of ours in the main table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    /// Where to, no host bits set.
    pub destination: IpNet,
    /// Interface name.
    pub device: String,
    /// Address that the host's own packets carry.
    pub source: IpAddr,
}

impl std::fmt::Display for Route {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} dev {} src {} proto {ROUTE_PROTOCOL}",
            self.destination, self.device, self.source
        )
    }
}

/// A network device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Name.
    pub name: String,
    /// Index.
    pub index: u32,
    /// MAC address; empty for devices that have none.
    pub mac: Vec<u8>,
    /// MTU.
    pub mtu: u32,
    /// Administratively up.
    pub up: bool,
    /// IFF_NOARP.
    pub noarp: bool,
    /// The kernel's name of its kind (`vxlan`, `veth`); empty for real hardware.
    pub kind: String,
    /// Parameters, when it is a VXLAN device.
    pub vxlan: Option<Vxlan>,
}

/// Parameters of a VXLAN device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vxlan {
    /// Collect-metadata mode: programs and routes set the tunnel key, packet by packet.
    pub external: bool,
    /// Learns where MAC addresses are from what it receives.
    pub learning: bool,
    /// UDP port.
    pub port: u16,
}

/// A route with our protocol number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstalledRoute {
    /// Where to.
    pub destination: IpNet,
    /// Index of the output device; `None` when it has several or none.
    pub device: Option<u32>,
    /// Preferred source.
    pub source: Option<IpAddr>,
    /// Next hop: ours never have one.
    pub gateway: Option<IpAddr>,
    /// Metric.
    pub metric: u32,
}

/// The metric of a route of ours as the kernel prints it: IPv6 has no 0.
pub const fn metric(destination: &IpNet) -> u32 {
    match destination {
        IpNet::V4(_) => 0,
        IpNet::V6(_) => 1024,
    }
}
