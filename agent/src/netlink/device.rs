//! Network devices.

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{
        AfSpecInet6, AfSpecUnspec, In6AddrGenMode, InfoData, InfoKind, InfoVxlan, LinkAttribute,
        LinkFlags, LinkInfo, LinkMessage,
    },
};
use weft_core::host::Overlay;
use weft_core::host::{Device, Vxlan};

use super::{Netlink, NetlinkError};

/// Names the request in errors.
pub(super) const CREATE_OVERLAY: &str = "create device";

impl Netlink {
    /// Every device of the namespace.
    pub fn devices(&mut self) -> Result<Vec<Device>, NetlinkError> {
        let request = RouteNetlinkMessage::GetLink(LinkMessage::default());
        let answers = self.dump(&request, "list devices")?;
        Ok(answers.iter().filter_map(device).collect())
    }

    /// A device by name; `None` when there is none.
    pub fn device(&mut self, name: &str) -> Result<Option<Device>, NetlinkError> {
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::IfName(name.into()));
        let request = RouteNetlinkMessage::GetLink(message);
        match self.get(request, "look up device", name) {
            Ok(answers) => Ok(answers.iter().find_map(device)),
            Err(e) if e.errno() == Some(nix::errno::Errno::ENODEV) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Makes the overlay device, down.
    pub fn create_overlay(&mut self, overlay: &Overlay) -> Result<(), NetlinkError> {
        let mut message = LinkMessage::default();
        no_arp(&mut message);
        message.attributes = vec![
            LinkAttribute::IfName(overlay.name.clone()),
            LinkAttribute::Address(overlay.mac.to_vec()),
            LinkAttribute::Mtu(overlay.mtu),
            vxlan(vec![
                InfoVxlan::CollectMetadata(true),
                InfoVxlan::Learning(false),
                InfoVxlan::Port(overlay.port),
            ]),
        ];
        self.change(
            RouteNetlinkMessage::NewLink(message),
            NLM_F_CREATE | NLM_F_EXCL,
            CREATE_OVERLAY,
            format_args!("{} (VXLAN, UDP port {})", overlay.name, overlay.port),
        )
    }

    /// Brings what can be changed in place of the overlay device in line.
    pub fn adjust_overlay(&mut self, index: u32, overlay: &Overlay) -> Result<(), NetlinkError> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        no_arp(&mut message);
        message.attributes = vec![
            LinkAttribute::Address(overlay.mac.to_vec()),
            LinkAttribute::Mtu(overlay.mtu),
        ];
        self.change(
            RouteNetlinkMessage::SetLink(message),
            0,
            "adjust device",
            &overlay.name,
        )?;
        // Apart from the MTU: the VXLAN driver refuses a change of its parameters that carries one.
        let mut message = LinkMessage::default();
        message.header.index = index;
        message.attributes = vec![vxlan(vec![InfoVxlan::Learning(false)])];
        self.change(
            RouteNetlinkMessage::NewLink(message),
            0,
            "switch off learning of",
            &overlay.name,
        )
    }

    /// Keeps the kernel from making an IPv6 link-local address on a device, and with it router solicitations. It takes
    /// this only after the creation of a device. Success where there is no IPv6.
    pub fn no_link_local_address(&mut self, index: u32, name: &str) -> Result<(), NetlinkError> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        let mode = AfSpecInet6::AddrGenMode(In6AddrGenMode::None);
        let families = vec![AfSpecUnspec::Inet6(vec![mode])];
        message
            .attributes
            .push(LinkAttribute::AfSpecUnspec(families));
        let request = RouteNetlinkMessage::SetLink(message);
        match self.change(request, 0, "set address generation mode of", name) {
            Err(e) if e.errno() == Some(nix::errno::Errno::EAFNOSUPPORT) => Ok(()),
            other => other,
        }
    }

    /// Sets a device up.
    pub fn set_up(&mut self, index: u32, name: &str) -> Result<(), NetlinkError> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        message.header.flags = LinkFlags::Up;
        message.header.change_mask = LinkFlags::Up;
        self.change(
            RouteNetlinkMessage::SetLink(message),
            0,
            "set up device",
            name,
        )
    }

    /// Deletes a device.
    pub fn delete_device(&mut self, index: u32, name: &str) -> Result<(), NetlinkError> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        let request = RouteNetlinkMessage::DelLink(message);
        self.change(request, 0, "delete device", name)
    }
}

fn no_arp(message: &mut LinkMessage) {
    message.header.flags |= LinkFlags::Noarp;
    message.header.change_mask |= LinkFlags::Noarp;
}

fn vxlan(data: Vec<InfoVxlan>) -> LinkAttribute {
    LinkAttribute::LinkInfo(vec![
        LinkInfo::Kind(InfoKind::Vxlan),
        LinkInfo::Data(InfoData::Vxlan(data)),
    ])
}

fn device(message: &RouteNetlinkMessage) -> Option<Device> {
    let RouteNetlinkMessage::NewLink(link) = message else {
        return None;
    };
    let mut device = Device {
        name: String::new(),
        index: link.header.index,
        mac: Vec::new(),
        mtu: 0,
        up: link.header.flags.contains(LinkFlags::Up),
        noarp: link.header.flags.contains(LinkFlags::Noarp),
        kind: String::new(),
        vxlan: None,
    };
    for attribute in &link.attributes {
        match attribute {
            LinkAttribute::IfName(name) => device.name.clone_from(name),
            LinkAttribute::Address(mac) => device.mac.clone_from(mac),
            LinkAttribute::Mtu(mtu) => device.mtu = *mtu,
            LinkAttribute::LinkInfo(infos) => {
                for info in infos {
                    match info {
                        LinkInfo::Kind(kind) => device.kind = kind.to_string(),
                        LinkInfo::Data(InfoData::Vxlan(data)) => {
                            device.vxlan = Some(vxlan_parameters(data));
                        }
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    (!device.name.is_empty()).then_some(device)
}

fn vxlan_parameters(data: &[InfoVxlan]) -> Vxlan {
    let mut vxlan = Vxlan {
        external: false,
        learning: false,
        port: 0,
    };
    for parameter in data {
        match parameter {
            InfoVxlan::CollectMetadata(on) => vxlan.external = *on,
            InfoVxlan::Learning(on) => vxlan.learning = *on,
            InfoVxlan::Port(port) => vxlan.port = *port,
            _ => {}
        }
    }
    vxlan
}
