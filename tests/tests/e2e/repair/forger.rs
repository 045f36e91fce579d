//! Source addresses of others, which only the program on the pod's own interface can tell from true ones.

use weft_wait::eventually;

use super::Field;
use crate::frame::udp;
use crate::wire::{Injector, Sniffer, mac};

/// A pod that sends to another project's pod in the name of its neighbour there.
pub struct Forger {
    out: Injector,
    frame: Vec<u8>,
    target: Sniffer,
    marker: [u8; 16],
}

impl Forger {
    /// `interface` is the host's side of the first pod.
    pub fn new(field: &Field, interface: &str) -> Self {
        let neighbour = field.cluster.pod("b/p2", "node1");
        let out = Injector::open(&field.pods[0].netns, "eth0");
        let host = mac(&field.cluster.host_netns("node1").unwrap(), interface);
        let marker: [u8; 16] = rand::random();
        let [from, to] = [&neighbour, &field.stranger].map(|pod| (pod.ips[0], 7000).into());
        Self {
            frame: udp((out.mac, host), from, to, &marker),
            out,
            target: Sniffer::open(&field.stranger.netns),
            marker,
        }
    }

    pub fn send(&self) {
        self.out.send(&self.frame);
    }

    pub fn arrived(&self) -> usize {
        self.target.saw(&self.marker)
    }

    /// What is sent from now on is dropped, for what it is.
    pub fn fails(&self, field: &Field) {
        let dropped = || field.cluster.count("node1", "SpoofedAddress");
        // What was sent before may be under way.
        let before = dropped();
        eventually("a forged packet is judged", || {
            self.send();
            dropped() > before
        });
        self.arrived();
        let before = dropped();
        for _ in 0..20 {
            self.send();
        }
        eventually("forged packets are judged", || dropped() >= before + 20);
        assert_eq!(self.arrived(), 0, "forged packets arrived");
    }
}
