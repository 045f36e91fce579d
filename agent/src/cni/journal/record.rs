//! One attachment, as its file in the journal holds it. The content is written once; the file's extension is its state.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use weft_core::model::Endpoint;

use crate::cni::netconf::Bandwidth;
use crate::cni::result::Attached;

/// Number of the file's shape.
pub const SCHEMA: u32 = 1;

/// How far an attachment is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// Being made: written before anything is made in the kernel, so that nothing made is ever unknown.
    #[default]
    Pending,
    /// Made and answered.
    Ready,
    /// Being removed, or to be removed.
    Removing,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 3] = [Self::Pending, Self::Ready, Self::Removing];

    /// Extension of the file of an attachment in this state.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Ready => "ready",
            Self::Removing => "removing",
        }
    }
}

/// A pod's network namespace while it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetnsInode {
    /// Device of the nsfs file.
    pub dev: u64,
    /// Its inode number.
    pub ino: u64,
}

impl From<weft_netns::NsId> for NetnsInode {
    fn from(id: weft_netns::NsId) -> Self {
        Self {
            dev: id.dev,
            ino: id.ino,
        }
    }
}

/// One attachment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// [`SCHEMA`]
    pub schema: u32,
    /// `/proc/sys/kernel/random/boot_id` of the boot that made it; in another one nothing of it exists.
    pub boot_id: String,
    /// How far it is.
    #[serde(skip)]
    pub state: State,
    /// Name of the network, for GC.
    pub network: String,
    /// The attachment itself. `host_ifindex` is 0 in the file, since it is written before there is an interface.
    pub endpoint: Endpoint,
    /// The namespace.
    pub netns: NetnsInode,
    /// CNI_NETNS at ADD, for messages.
    pub netns_path: String,
    /// The subnets its addresses were taken from.
    pub subnets: Vec<IpNet>,
    /// Cluster and service networks it was given routes to.
    pub routes: Vec<IpNet>,
    /// MTU it was given.
    pub mtu: u16,
    /// When it was asked for, in milliseconds of Unix time.
    pub requested_ms: u64,
    /// Limits asked for; not enforced yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bandwidth: Option<Bandwidth>,
}

impl Record {
    /// As a result object's content, for a runtime that calls the namespace `sandbox`.
    pub fn attached(&self, sandbox: &str) -> Attached {
        Attached {
            endpoint: self.endpoint.clone(),
            sandbox: sandbox.to_owned(),
            mtu: self.mtu,
            routes: self.routes.clone(),
        }
    }
}

/// MAC address of a pod's interface: 0a:58 and the IPv4 address, so that it can be read back; in a pod without one, the
/// last four bytes of the IPv6 address.
pub fn pod_mac(addresses: &[IpAddr]) -> [u8; 6] {
    let v4 = addresses.iter().find_map(|a| match a {
        IpAddr::V4(a) => Some(a.octets()),
        IpAddr::V6(_) => None,
    });
    let v6 = addresses.iter().find_map(|a| match a {
        IpAddr::V6(a) => a.octets().last_chunk::<4>().copied(),
        IpAddr::V4(_) => None,
    });
    let [a, b, c, d] = v4.or(v6).unwrap_or_default();
    [0x0a, 0x58, a, b, c, d]
}
