//! The packets, and what must become of them.

use std::net::{IpAddr, Ipv4Addr};

use anyhow::Context as _;
use weft_ebpf::reason::DropReason;
use weft_ebpf::rows::GATEWAY_MAC;

use super::cluster::{Cluster, GATEWAY};

/// Makes the frame of a round.
type Frame = fn(&Cluster, u32) -> anyhow::Result<Vec<u8>>;

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
    pub frame: Frame,
    /// What the pod has sent before, if that matters.
    pub asked: Option<Frame>,
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

    /// What a pod sends before a case.
    pub const ASKING: Self = Self::to_outside("before", |_, _| anyhow::bail!("has no frame"));

    /// A packet to the outside, which goes on.
    pub const fn to_outside(
        name: &'static str,
        frame: fn(&Cluster, u32) -> anyhow::Result<Vec<u8>>,
    ) -> Self {
        Self::forwarded("from_pod", name, NEXT, frame)
    }

    /// What a pod is answered from outside.
    pub const fn answer(
        name: &'static str,
        asked: fn(&Cluster, u32) -> anyhow::Result<Vec<u8>>,
        frame: fn(&Cluster, u32) -> anyhow::Result<Vec<u8>>,
    ) -> Self {
        Self {
            asked: Some(asked),
            ..Self::forwarded("to_pod", name, NEXT, frame)
        }
    }

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
            asked: None,
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
            asked: None,
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

const PAYLOAD: [u8; 64] = [0; 64];
const TCP: u8 = 6;
const UDP: u8 = 17;

/// A TCP packet of 64 bytes of payload.
pub fn tcp(src: impl Into<IpAddr>, dst: impl Into<IpAddr>) -> anyhow::Result<Vec<u8>> {
    // Ports, numbers, length and flags (ACK), window.
    let mut segment = [33_000_u16.to_be_bytes(), 80_u16.to_be_bytes()].concat();
    segment.extend([0, 0, 0, 1, 0, 0, 0, 0, 0x50, 0x10, 0xff, 0xff, 0, 0, 0, 0]);
    segment.extend(PAYLOAD);
    frame(src.into(), dst.into(), TCP, &segment)
}

/// A UDP packet of 64 bytes of payload.
pub fn udp(src: impl Into<IpAddr>, dst: impl Into<IpAddr>) -> anyhow::Result<Vec<u8>> {
    datagram((src.into(), 33_000), (dst.into(), 4_000), &PAYLOAD)
}

/// A UDP packet.
pub fn datagram(src: (IpAddr, u16), dst: (IpAddr, u16), payload: &[u8]) -> anyhow::Result<Vec<u8>> {
    let len = u16::try_from(8 + payload.len()).context("length")?;
    let mut bytes = Vec::new();
    for field in [src.1, dst.1, len, 0] {
        bytes.extend(field.to_be_bytes());
    }
    bytes.extend(payload);
    frame(src.0, dst.0, UDP, &bytes)
}

fn frame(src: IpAddr, dst: IpAddr, proto: u8, segment: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut frame = GATEWAY_MAC.to_vec();
    frame.extend(GATEWAY_MAC);
    let len = u16::try_from(segment.len()).context("length")?;
    match (src, dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            frame.extend([0x08, 0x00, 0x45, 0]);
            frame.extend((20 + len).to_be_bytes());
            frame.extend([0, 0, 0x40, 0, 64, proto, 0, 0]);
            frame.extend(src.octets());
            frame.extend(dst.octets());
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
            frame.extend(len.to_be_bytes());
            frame.extend([proto, 64]);
            frame.extend(src.octets());
            frame.extend(dst.octets());
        }
        _ => anyhow::bail!("{src} and {dst} are of two families"),
    }
    frame.extend(segment);
    Ok(frame)
}
