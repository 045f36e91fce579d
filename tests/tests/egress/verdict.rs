//! Whether a connection gets out. Silence proves nothing: a denial is known from the node's event, the rest from the answer.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use weft_agent::api::view;
use weft_lab::probe::{self, Outcome};
use weft_netns::NetNs;
use weft_wait::{SOON, eventually, poll};

use crate::cluster::{Pod, now};
use crate::field::Field;
use crate::party::PORT;

/// How long a connection is tried before events are looked at.
const GLANCE: Duration = Duration::from_millis(40);

#[derive(Debug)]
pub enum Verdict {
    Open,
    Dropped(Box<view::Drop>),
}

impl Field {
    /// Tries a TCP connection from a pod.
    pub fn try_tcp(&self, pod: &Pod, to: SocketAddr) -> Verdict {
        let end = Instant::now() + SOON;
        loop {
            let since = now();
            match probe::tcp(&pod.netns, to, GLANCE).unwrap() {
                Outcome::Reached { .. } => return Verdict::Open,
                Outcome::Silent => {}
                other => panic!("{} -> {to}: {other:?}", pod.label()),
            }
            // A busy machine may be slow without a drop: once more.
            if let Some(drop) = self.event(pod, to, "TCP", since) {
                return Verdict::Dropped(Box::new(drop));
            }
            assert!(
                Instant::now() < end,
                "{} -> {to}: neither answer nor drop",
                pod.label()
            );
        }
    }

    /// The event of a packet of a pod that was dropped.
    pub fn event(
        &self,
        pod: &Pod,
        to: SocketAddr,
        protocol: &str,
        since: u64,
    ) -> Option<view::Drop> {
        poll(Duration::from_millis(500), || {
            let recent = self.cluster.drops(&pod.record.node).recent;
            recent.into_iter().find(|drop| {
                drop.time >= since
                    && drop.protocol == protocol
                    && drop.source.pod.as_ref() == Some(&pod.label())
                    && (drop.destination.ip, drop.destination.port) == (Some(to.ip()), to.port())
            })
        })
    }

    /// The connection gets out now.
    pub fn open(&self, pod: &Pod, to: IpAddr) {
        if let Verdict::Dropped(drop) = self.try_tcp(pod, (to, PORT).into()) {
            panic!("{} -> {to}: {drop:?}", pod.label());
        }
    }

    /// The connection is dropped now, for this reason.
    pub fn dropped(&self, pod: &Pod, to: SocketAddr, reason: &str) -> view::Drop {
        match self.try_tcp(pod, to) {
            Verdict::Dropped(drop) if drop.reason == reason => *drop,
            other => panic!("{} -> {to}: not {reason}: {other:?}", pod.label()),
        }
    }

    /// A rule of the policy denies the connection now.
    pub fn denied(&self, pod: &Pod, to: IpAddr) -> view::Drop {
        self.dropped(pod, (to, PORT).into(), "EgressDenied")
    }

    /// Waits until the connection gets out.
    pub fn opens(&self, pod: &Pod, to: IpAddr) {
        eventually(&format!("{} -> {to} opens", pod.label()), || {
            matches!(self.try_tcp(pod, (to, PORT).into()), Verdict::Open)
        });
    }

    /// Waits until the connection is dropped for a reason.
    pub fn closes_for(&self, pod: &Pod, to: IpAddr, reason: &str) {
        let what = format!("{} -> {to} closes for {reason}", pod.label());
        eventually(&what, || match self.try_tcp(pod, (to, PORT).into()) {
            Verdict::Open => false,
            Verdict::Dropped(drop) => drop.reason == reason,
        });
    }

    /// Waits until a rule of the policy denies the connection.
    pub fn closes(&self, pod: &Pod, to: IpAddr) {
        self.closes_for(pod, to, "EgressDenied");
    }
}

/// Whether anything answers on this address and port within a moment.
pub fn answers(from: &NetNs, to: SocketAddr) -> bool {
    probe::tcp(from, to, SOON).unwrap().reached()
}
