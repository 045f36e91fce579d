//! Rules of a node's own tables, and address translations as a service proxy makes them.

use std::net::{IpAddr, SocketAddr};

use crate::cluster::Cluster;

/// Both protocols of services.
const PROTOCOLS: [&str; 2] = ["tcp", "udp"];

impl Cluster {
    /// `iptables ARGS` on a node, or ip6tables; what it printed.
    pub fn tables(&self, node: &str, ipv6: bool, args: &str) -> String {
        let program = ["iptables", "ip6tables"][usize::from(ipv6)];
        let command = [program, "-w", "5"].into_iter();
        let command: Vec<_> = command.chain(args.split_whitespace()).collect();
        self.run(node, &command).ok()
    }

    /// What comes to this address goes to that one, whatever the protocol.
    pub fn translate_all(&self, node: &str, at: IpAddr, to: IpAddr) {
        let rule = format!("-t nat -A PREROUTING -d {at} -j DNAT --to-destination {to}");
        self.tables(node, at.is_ipv6(), &rule);
    }

    /// What comes to an address and port goes to another one, over TCP and over UDP.
    pub fn translate(&self, node: &str, at: SocketAddr, to: SocketAddr) {
        self.translate_from(node, "", at, to);
    }

    /// The same for what a match narrows it to, such as `-s ADDRESS`.
    pub fn translate_from(&self, node: &str, from: &str, at: SocketAddr, to: SocketAddr) {
        for protocol in PROTOCOLS {
            let (ip, port) = (at.ip(), at.port());
            let rule = format!(
                "-t nat -A PREROUTING {from} -d {ip} -p {protocol} --dport {port} -j DNAT --to-destination {to}"
            );
            self.tables(node, at.is_ipv6(), &rule);
        }
    }

    /// The node's address takes the place of the sender's in all that is translated.
    pub fn hide_senders(&self, node: &str, ipv6: bool) {
        let rule = "-t nat -A POSTROUTING -m conntrack --ctstate DNAT -j MASQUERADE";
        self.tables(node, ipv6, rule);
    }
}
