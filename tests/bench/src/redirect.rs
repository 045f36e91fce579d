//! The least that an eBPF path between two pods costs: a program that redirects every packet and does nothing else.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd as _, OwnedFd};

use anyhow::{Context as _, Result};
use weft_agent::netlink::Netlink;
use weft_agent::netlink::filter::{Hook, add_clsact, put_bpf_filter};

use super::link::{POD_MTU, Way};
use super::space::{create, ip, path};
use weft_lab::bpf::{self, Instruction, Kind};

/// Two namespaces behind veth pairs of a node, whose host sides send everything to the other's peer.
pub fn redirected() -> Result<Way> {
    let (node, pods) = (create()?, [create()?, create()?]);
    for (index, pod) in pods.iter().enumerate() {
        ip(
            &node,
            &format!(
                "link add pod{index} mtu {POD_MTU} type veth peer name eth0 mtu {POD_MTU} netns {}\n\
                 link set pod{index} up\n",
                path(pod)
            ),
        )?;
        ip(
            pod,
            &format!(
                "addr add 10.95.0.{}/30 dev eth0\nlink set eth0 up\n",
                index + 1
            ),
        )?;
    }
    node.run(|| {
        let index = |name: &str| nix::net::if_::if_nametoindex(name).context("find a veth");
        let links = [index("pod0")?, index("pod1")?];
        let mut netlink = Netlink::open()?;
        for (from, to) in [(links[0], links[1]), (links[1], links[0])] {
            let program = redirecting(to).context("load a program that redirects")?;
            netlink.send(add_clsact(from))?;
            let filter = put_bpf_filter(from, Hook::Ingress, 1, 1, "redirect", program.as_fd());
            netlink.send(filter)?;
        }
        anyhow::Ok(())
    })??;
    let [client, server] = pods;
    Ok(Way {
        client,
        server,
        address: Ipv4Addr::new(10, 95, 0, 2).into(),
        through: vec![node],
    })
}

/// Number of the helper `bpf_redirect_peer`.
const REDIRECT_PEER: i32 = 155;

/// `return bpf_redirect_peer(ifindex, 0)`
fn redirecting(ifindex: u32) -> io::Result<OwnedFd> {
    let program = [
        Instruction::set(1, ifindex.cast_signed()),
        Instruction::set(2, 0),
        Instruction::call(REDIRECT_PEER),
        Instruction::EXIT,
    ];
    bpf::load(Kind::SchedCls, "redirect", &program)
}
