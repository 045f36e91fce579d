//! Packet sockets: frames as they are, in and out.

use std::os::fd::{AsRawFd as _, OwnedFd};

use nix::errno::Errno;
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{
    AddressFamily, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, bind, recv, send, socket,
};
use weft_netns::NetNs;

use crate::frame::Mac;

/// Sends frames out of one interface, whatever is in them.
pub struct Injector {
    socket: OwnedFd,
    /// The interface's own address.
    pub mac: Mac,
}

impl Injector {
    pub fn open(netns: &NetNs, interface: &str) -> Self {
        netns
            .run(|| {
                let link = link(interface);
                let kind = SockType::Raw;
                let flags = SockFlag::SOCK_CLOEXEC;
                let socket = socket(AddressFamily::Packet, kind, flags, None).unwrap();
                bind(socket.as_raw_fd(), &link).unwrap();
                Self {
                    socket,
                    mac: link.addr().unwrap(),
                }
            })
            .unwrap()
    }

    /// Whether the kernel took the frame: it refuses some by their length.
    pub fn try_send(&self, frame: &[u8]) -> bool {
        send(self.socket.as_raw_fd(), frame, MsgFlags::empty()).is_ok()
    }

    pub fn send(&self, frame: &[u8]) {
        assert!(self.try_send(frame), "a frame of {} bytes", frame.len());
    }
}

fn link(interface: &str) -> LinkAddr {
    let mut all = getifaddrs().unwrap();
    let found = all.find_map(|entry| {
        let link = entry.address?.as_link_addr().copied()?;
        (entry.interface_name == interface).then_some(link)
    });
    found.unwrap_or_else(|| panic!("no interface {interface}"))
}

/// MAC address of an interface.
pub fn mac(netns: &NetNs, interface: &str) -> Mac {
    netns.run(|| link(interface).addr().unwrap()).unwrap()
}

/// Everything that arrives in a namespace, on any interface, from now on.
pub struct Sniffer(OwnedFd);

impl Sniffer {
    pub fn open(netns: &NetNs) -> Self {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let all = SockProtocol::EthAll;
        let open = || socket(AddressFamily::Packet, SockType::Raw, flags, all).unwrap();
        Self(netns.run(open).unwrap())
    }

    /// How many frames since the last call hold these bytes.
    pub fn saw(&self, marker: &[u8]) -> usize {
        let mut buffer = [0; 2048];
        let mut count = 0;
        loop {
            match recv(self.0.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
                Ok(length) => {
                    let mut windows = buffer[..length].windows(marker.len());
                    count += usize::from(windows.any(|window| window == marker));
                }
                Err(Errno::EAGAIN) => return count,
                Err(Errno::EINTR) => {}
                Err(errno) => panic!("read a packet socket: {errno}"),
            }
        }
    }
}
