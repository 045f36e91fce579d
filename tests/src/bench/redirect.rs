//! The least that an eBPF path between two pods costs: a program that redirects every packet and does nothing else.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd as _, FromRawFd as _, OwnedFd};

use anyhow::{Context as _, Result};
use weft_agent::netlink::Netlink;
use weft_agent::netlink::filter::{Hook, add_clsact, put_bpf_filter};

use super::link::{POD_MTU, Way};
use super::space::{create, ip, path};

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

/// One instruction, as the kernel has it (`struct bpf_insn`).
#[repr(C)]
struct Instruction {
    code: u8,
    registers: u8,
    offset: i16,
    constant: i32,
}

/// The first fields of `union bpf_attr` for `BPF_PROG_LOAD`; those after them count as zero.
#[repr(C)]
struct Load {
    kind: u32,
    instructions: u32,
    program: u64,
    licence: u64,
}

const BPF_PROG_LOAD: u32 = 5;
const BPF_PROG_TYPE_SCHED_CLS: u32 = 3;
/// `rN = constant` (64 bits), `call helper`, `exit`.
const MOVE: u8 = 0xb7;
const CALL: u8 = 0x85;
const EXIT: u8 = 0x95;
/// Number of the helper `bpf_redirect_peer`.
const REDIRECT_PEER: i32 = 155;

/// `return bpf_redirect_peer(ifindex, 0)`
fn redirecting(ifindex: u32) -> io::Result<OwnedFd> {
    let instruction = |code, register, constant| Instruction {
        code,
        registers: register,
        offset: 0,
        constant,
    };
    let program = [
        instruction(MOVE, 1, ifindex.cast_signed()),
        instruction(MOVE, 2, 0),
        instruction(CALL, 0, REDIRECT_PEER),
        instruction(EXIT, 0, 0),
    ];
    let load = Load {
        kind: BPF_PROG_TYPE_SCHED_CLS,
        instructions: 4,
        program: program.as_ptr().addr() as u64,
        licence: c"GPL".as_ptr().addr() as u64,
    };
    #[expect(unsafe_code, reason = "aya loads programs from object files only")]
    // SAFETY: the kernel reads `load` up to the length given, and what its addresses point at, during the call.
    let answer = unsafe {
        nix::libc::syscall(
            nix::libc::SYS_bpf,
            BPF_PROG_LOAD,
            &raw const load,
            size_of::<Load>(),
        )
    };
    let descriptor = i32::try_from(answer).map_err(io::Error::other)?;
    if descriptor < 0 {
        return Err(io::Error::last_os_error());
    }
    #[expect(unsafe_code, reason = "descriptors come as numbers from system calls")]
    // SAFETY: the kernel has just made it, and nobody else knows it.
    let descriptor = unsafe { OwnedFd::from_raw_fd(descriptor) };
    Ok(descriptor)
}
