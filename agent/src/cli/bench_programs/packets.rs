//! The packets, and what must become of them.

use std::net::Ipv4Addr;

use anyhow::Context as _;
use weft_ebpf::reason::DropReason;
use weft_ebpf::rows::GATEWAY_MAC;

use super::cluster::{Cluster, GATEWAY};

/// One way through a program.
pub struct Case {
    /// The program.
    pub program: &'static str,
    /// What happens.
    pub name: &'static str,
    /// What it returns.
    pub code: i32,
    /// Why it drops, if it does.
    pub reason: Option<DropReason>,
    /// The frame of a round: the first round meets the last rows.
    pub frame: fn(&Cluster, u32) -> anyhow::Result<Vec<u8>>,
}

const NEXT: i32 = -1;
const DROP: i32 = 2;
const REDIRECT: i32 = 7;
const OUTSIDE: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 9);

impl Case {
    /// Every way.
    pub const ALL: &'static [Self] = &[
        Self::forwarded("from_pod", "local pod", REDIRECT, |_, _| {
            tcp(Cluster::pod(0), Cluster::pod(1))
        }),
        Self::forwarded("from_pod", "remote pod", REDIRECT, |c, round| {
            tcp(Cluster::pod(0), c.remote(row(c, round)))
        }),
        Self::forwarded("from_pod", "external", NEXT, |_, _| {
            tcp(Cluster::pod(0), OUTSIDE)
        }),
        Self::forwarded("from_pod", "own node", NEXT, |c, round| {
            tcp(Cluster::pod(0), c.address(row(c, round)))
        }),
        Self::dropped("from_pod", "isolated", DropReason::Isolated, |c, round| {
            tcp(Cluster::pod(0), Cluster::pod(row(c, round).max(2)))
        }),
        Self::forwarded("to_pod", "from the gateway", NEXT, |_, _| {
            tcp(GATEWAY, Cluster::pod(1))
        }),
        Self::forwarded("to_pod", "from a local pod", NEXT, |_, _| {
            tcp(Cluster::pod(0), Cluster::pod(1))
        }),
        Self::forwarded("to_overlay", "from the gateway", NEXT, |c, round| {
            tcp(GATEWAY, c.remote(row(c, round)))
        }),
        Self::forwarded("to_overlay", "from a local pod", NEXT, |c, round| {
            tcp(Cluster::pod(row(c, round)), c.remote(row(c, round)))
        }),
        Self::dropped(
            "from_overlay",
            "without metadata",
            DropReason::NoTunnelKey,
            |c, round| tcp(c.remote(row(c, round)), Cluster::pod(row(c, round))),
        ),
    ];

    const fn forwarded(
        program: &'static str,
        name: &'static str,
        code: i32,
        frame: fn(&Cluster, u32) -> anyhow::Result<Vec<u8>>,
    ) -> Self {
        Self {
            program,
            name,
            code,
            reason: None,
            frame,
        }
    }

    const fn dropped(
        program: &'static str,
        name: &'static str,
        reason: DropReason,
        frame: fn(&Cluster, u32) -> anyhow::Result<Vec<u8>>,
    ) -> Self {
        Self {
            program,
            name,
            code: DROP,
            reason: Some(reason),
            frame,
        }
    }
}

/// The last row, then others from all over the table.
fn row(cluster: &Cluster, round: u32) -> u32 {
    let last = cluster.pods() - 1;
    match round {
        0 => last,
        n => n.wrapping_mul(0x9e37_79b1) % (last + 1),
    }
}

/// A TCP packet of 64 bytes of payload.
fn tcp(src: Ipv4Addr, dst: Ipv4Addr) -> anyhow::Result<Vec<u8>> {
    const PAYLOAD: usize = 64;
    let mut frame = GATEWAY_MAC.to_vec();
    frame.extend(GATEWAY_MAC);
    frame.extend([0x08, 0x00, 0x45, 0]);
    let len = u16::try_from(20 + 20 + PAYLOAD).context("length")?;
    frame.extend(len.to_be_bytes());
    frame.extend([0, 0, 0x40, 0, 64, 6, 0, 0]);
    frame.extend(src.octets());
    frame.extend(dst.octets());
    frame.extend([
        0x80, 0xe8, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 0x10, 0xff, 0xff, 0, 0, 0, 0,
    ]);
    frame.extend([0; PAYLOAD]);
    Ok(frame)
}
