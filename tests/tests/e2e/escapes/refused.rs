//! Addresses of services that nobody translates, and what the service proxy refuses.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use weft_lab::probe::{self, Outcome};
use weft_wait::{SOON, eventually};

use super::{Field, GHOSTS, GLANCE, NEIGHBOURS, OUTSIDE, ip, meets};
use crate::icmp::ping;
use crate::party::{PORT, reaches, udp};
use crate::wire::Sniffer;

/// As kube-proxy makes it: the chain, and a jump to it at the top of another.
fn prepend(field: &Field, ipv6: bool, from: &str, chain: &str) {
    let rule = format!("-I {from} 1 -j {chain}");
    field.cluster.tables("node1", ipv6, &rule);
}

#[test]
fn an_address_without_a_service_is_refused_and_never_leaves() {
    let field = Field::new();
    for (index, ghost) in GHOSTS.into_iter().enumerate() {
        let (ipv6, ghost) = (index == 1, ip(ghost));
        let node1 = field.node1(vec![field.cluster.node_ip("node1", ipv6)]);
        let octets = match ghost {
            IpAddr::V4(ip) => ip.octets().to_vec(),
            IpAddr::V6(ip) => ip.octets().to_vec(),
        };
        for from in [&field.pod, &node1] {
            reaches(from, &field.web, ip(NEIGHBOURS[index]), node1.ip(ipv6));
        }
        let at = SocketAddr::new(ghost, PORT);
        let sniffer = Sniffer::open(&field.web.netns);
        for from in [&field.pod, &node1] {
            meets(from, at, &Outcome::Refused, 2 * GLANCE);
        }
        let answered = ping(&field.pod.netns, ghost, GLANCE);
        assert!(!answered, "ICMP to {ghost}");
        assert_eq!(sniffer.saw(&octets), 0, "packets to {ghost} outside");

        // Whatever somebody accepts before: here the service proxy's chain, for a mark that it has set or not.
        field.cluster.tables("node1", ipv6, "-N KUBE-FORWARD");
        field
            .cluster
            .tables("node1", ipv6, "-A KUBE-FORWARD -j ACCEPT");
        for from in ["FORWARD", "OUTPUT"] {
            prepend(&field, ipv6, from, "KUBE-FORWARD");
        }
        let dropped = || field.dropped("node1", ipv6, "mangle", "OPENSHIFT-BLOCK-POSTROUTING");
        for from in [&field.pod, &node1] {
            let before = dropped();
            eventually("accepted there, and dropped after it", || {
                drop(udp(&from.netns, None, at, Duration::from_millis(20)));
                dropped() > before
            });
            let tcp = probe::tcp(&from.netns, at, GLANCE).unwrap();
            assert_eq!(tcp, Outcome::Silent, "TCP {from} -> {at}");
        }
        assert_eq!(sniffer.saw(&octets), 0, "packets to {ghost} outside");
    }
}

#[test]
fn what_the_service_proxy_refuses_is_refused() {
    let field = Field::new();
    for (index, outside) in OUTSIDE.into_iter().enumerate() {
        let (ipv6, outside) = (index == 1, ip(outside));
        let node1 = field.node1(vec![field.cluster.node_ip("node1", ipv6)]);
        let (at, own) = (
            SocketAddr::new(outside, PORT),
            SocketAddr::new(node1.ip(ipv6), PORT),
        );
        let before = [at, own];
        for to in before {
            let reached = probe::tcp(&field.pod.netns, to, SOON).unwrap();
            assert!(
                matches!(reached, Outcome::Reached { .. }),
                "{to}: {reached:?}"
            );
        }
        let rules = |text: &str| {
            for rule in text.lines() {
                field.cluster.tables("node1", ipv6, rule.trim());
            }
        };
        let load_balancer = ip(NEIGHBOURS[index]);
        rules("-N KUBE-SERVICES\n-N KUBE-EXTERNAL-SERVICES\n-N KUBE-PROXY-FIREWALL");
        rules(&format!("-A KUBE-SERVICES -d {outside} -j REJECT"));
        rules("-A KUBE-EXTERNAL-SERVICES -m addrtype --dst-type LOCAL -j REJECT");
        rules(&format!(
            "-A KUBE-PROXY-FIREWALL -d {load_balancer} -j DROP"
        ));
        for round in ["it starts", "it starts again"] {
            rules(
                "-I FORWARD -m conntrack --ctstate NEW -j KUBE-SERVICES
                 -I FORWARD -m conntrack --ctstate NEW -m comment --comment balancers -j KUBE-PROXY-FIREWALL
                 -I INPUT -m conntrack --ctstate NEW -j KUBE-EXTERNAL-SERVICES",
            );
            eventually(&format!("refused after {round}"), || {
                // An ICMP error that comes while the client is still at sending is dropped, and comes again a second later.
                let ask = |to| probe::tcp(&field.pod.netns, to, 5 * GLANCE).unwrap();
                ask(at) == Outcome::Refused && ask(own) == Outcome::Refused
            });
            meets(&field.pod, at, &Outcome::Refused, SOON);
            meets(&field.pod, own, &Outcome::Refused, SOON);
            let to = SocketAddr::new(load_balancer, PORT);
            meets(&field.pod, to, &Outcome::Silent, GLANCE);
            assert!(field.dropped("node1", ipv6, "filter", "KUBE-PROXY-FIREWALL") > 1);
            // Pods talk past all this.
            reaches(
                &field.pod,
                &field.near,
                field.near.ip(ipv6),
                field.pod.ip(ipv6),
            );
            rules(
                "-D FORWARD -m conntrack --ctstate NEW -j KUBE-SERVICES
                 -D FORWARD -m conntrack --ctstate NEW -m comment --comment balancers -j KUBE-PROXY-FIREWALL
                 -D INPUT -m conntrack --ctstate NEW -j KUBE-EXTERNAL-SERVICES",
            );
        }
        for to in before {
            let reached = probe::tcp(&field.pod.netns, to, SOON).unwrap();
            assert!(
                matches!(reached, Outcome::Reached { .. }),
                "{to}: {reached:?}"
            );
        }
    }
}
