//! What weft's paths are compared with: connections made by hand with `ip`.

use std::net::{IpAddr, Ipv4Addr};

use anyhow::Result;
use weft_netns::NetNs;

use super::space::{create, create_node, ip, path};

/// MTU of weft's pods over an underlay of 1500; every peer has the same.
pub const POD_MTU: u16 = 1450;

/// A way from a client to a server.
#[derive(Debug)]
pub struct Way {
    /// Where the client runs.
    pub client: NetNs,
    /// Where the server runs.
    pub server: NetNs,
    /// The server's address.
    pub address: IpAddr,
    /// Namespaces that it leads through.
    pub through: Vec<NetNs>,
}

/// Two namespaces and a veth pair between them.
pub fn veth() -> Result<Way> {
    let (client, server) = (create()?, create()?);
    ip(
        &client,
        &format!(
            "link add eth0 mtu {POD_MTU} type veth peer name eth0 mtu {POD_MTU} netns {}\n\
             addr add 10.91.0.1/30 dev eth0\nlink set eth0 up\n",
            path(&server)
        ),
    )?;
    ip(
        &server,
        "addr add 10.91.0.2/30 dev eth0\nlink set eth0 up\n",
    )?;
    Ok(Way {
        client,
        server,
        address: Ipv4Addr::new(10, 91, 0, 2).into(),
        through: vec![],
    })
}

/// Two nodes on an underlay: their namespaces and addresses.
#[derive(Debug)]
pub struct Nodes {
    /// Namespaces.
    pub ns: [NetNs; 2],
    /// Underlay addresses of their `eth0`.
    pub ips: [IpAddr; 2],
    /// The underlay's bridge; `None` where somebody else keeps it.
    pub underlay: Option<NetNs>,
}

impl Nodes {
    /// Two bare nodes on a bridge, wired as the lab wires its nodes.
    pub fn create() -> Result<Self> {
        let underlay = create()?;
        let ns = [create_node()?, create_node()?];
        let ips = [[10, 92, 0, 1], [10, 92, 0, 2]].map(IpAddr::from);
        ip(
            &underlay,
            "link add br0 type bridge forward_delay 0 stp_state 0 mcast_snooping 0\nlink set br0 up\n",
        )?;
        for (index, (ns, address)) in ns.iter().zip(ips).enumerate() {
            ip(
                &underlay,
                &format!(
                    "link add port{index} type veth peer name eth0 netns {}\n\
                     link set port{index} master br0 up\n",
                    path(ns)
                ),
            )?;
            ip(
                ns,
                &format!("addr add {address}/24 dev eth0\nlink set eth0 up\n"),
            )?;
        }
        Ok(Self {
            ns,
            ips,
            underlay: Some(underlay),
        })
    }

    /// A point-to-point VXLAN device on both nodes with an address on each, and traffic from node to node: no pod, no
    /// veth pair, no second routing step.
    pub fn vxlan(self) -> Result<Way> {
        self.vxlan_devices()?;
        let [client, server] = self.ns;
        Ok(Way {
            client,
            server,
            address: Ipv4Addr::new(10, 93, 0, 2).into(),
            through: self.underlay.into_iter().collect(),
        })
    }

    /// The same devices, with a pod behind a veth pair on each node, and plain routes.
    pub fn vxlan_with_pods(self) -> Result<Way> {
        self.vxlan_devices()?;
        let pods = [create()?, create()?];
        for (index, pod) in pods.iter().enumerate() {
            let (own, other) = (index + 1, 2 - index);
            ip(
                &self.ns[index],
                &format!(
                    "link add pod mtu {POD_MTU} type veth peer name eth0 mtu {POD_MTU} netns {}\n\
                     addr add 10.94.{own}.1/24 dev pod\nlink set pod up\n\
                     route add 10.94.{other}.0/24 via 10.93.0.{other} dev bench0\n",
                    path(pod)
                ),
            )?;
            ip(
                pod,
                &format!(
                    "addr add 10.94.{own}.2/24 dev eth0\nlink set eth0 up\n\
                     route add default via 10.94.{own}.1\n"
                ),
            )?;
        }
        let [client, server] = pods;
        Ok(Way {
            client,
            server,
            address: Ipv4Addr::new(10, 94, 2, 2).into(),
            through: self.ns.into_iter().chain(self.underlay).collect(),
        })
    }

    fn vxlan_devices(&self) -> Result<()> {
        for (index, ns) in self.ns.iter().enumerate() {
            let (local, remote) = (self.ips[index], self.ips[1 - index]);
            ip(
                ns,
                &format!(
                    "link add bench0 mtu {POD_MTU} type vxlan id 77 dstport 8472 local {local} remote {remote} \
                     nolearning dev eth0\n\
                     addr add 10.93.0.{}/30 dev bench0\nlink set bench0 up\n",
                    index + 1
                ),
            )?;
        }
        Ok(())
    }
}
