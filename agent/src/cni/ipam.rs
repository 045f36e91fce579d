//! Addresses of the node's subnets: next-fit, one address a subnet for each attachment.
//!
//! Next-fit, so that an address that was just released rests for a whole round: conntrack entries, ARP caches and
//! clients of its last holder expire meanwhile.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use ipnet::IpNet;

/// No address is left.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "no address is free in subnet {subnet} of this node: all {capacity} are in use; remove pods from the node, or give \
     its HostSubnet a larger subnet"
)]
pub struct Exhausted {
    /// The subnet.
    pub subnet: IpNet,
    /// Addresses it has for pods.
    pub capacity: u128,
}

/// Which addresses are in use, of whatever subnet: the node's subnets may change while old pods live on.
#[derive(Debug, Default)]
pub struct Pool {
    used: HashSet<IpAddr>,
    /// Host part that was given out last.
    last: HashMap<IpNet, u128>,
}

impl Pool {
    /// Takes one address of each subnet, or none.
    pub fn take(&mut self, subnets: &[IpNet]) -> Result<Vec<IpAddr>, Exhausted> {
        let mut taken = Vec::with_capacity(subnets.len());
        for subnet in subnets {
            let Some(address) = self.next(subnet) else {
                self.release(&taken);
                return Err(Exhausted {
                    subnet: *subnet,
                    capacity: capacity(subnet),
                });
            };
            taken.push(address);
        }
        Ok(taken)
    }

    /// Marks addresses that live attachments hold. Later ones of the same subnet are taken for younger.
    pub fn occupy(&mut self, addresses: &[IpAddr]) {
        self.used.extend(addresses);
    }

    /// Goes on after `address` in its subnet.
    pub fn resume_after(&mut self, subnet: &IpNet, address: IpAddr) {
        if subnet.contains(&address) {
            self.last
                .insert(*subnet, bits(address) - bits(subnet.network()));
        }
    }

    /// Gives addresses back.
    pub fn release(&mut self, addresses: &[IpAddr]) {
        for address in addresses {
            self.used.remove(address);
        }
    }

    /// Addresses of the subnet in use, and how many it has for pods.
    pub fn usage(&self, subnet: &IpNet) -> (u128, u128) {
        let used = self.used.iter().filter(|a| subnet.contains(*a)).count();
        (used as u128, capacity(subnet))
    }

    /// Looks at no more addresses than are in use, and at one in the usual case.
    fn next(&mut self, subnet: &IpNet) -> Option<IpAddr> {
        let capacity = capacity(subnet);
        let last = self.last.get(subnet).copied().unwrap_or(FIRST - 1);
        let mut host = last;
        for _ in 0..capacity.min(self.used.len() as u128 + 1) {
            host += 1;
            if host >= FIRST + capacity {
                host = FIRST;
            }
            let address = address(subnet, host);
            if self.used.insert(address) {
                self.last.insert(*subnet, host);
                return Some(address);
            }
        }
        None
    }
}

/// Host part of the first address for pods: 0 is the network (in IPv6: anycast to routers), 1 the gateway.
const FIRST: u128 = 2;

/// How many addresses a subnet has for pods. An IPv4 subnet's last address is its broadcast address.
pub fn capacity(subnet: &IpNet) -> u128 {
    let host_bits = u32::from(subnet.max_prefix_len() - subnet.prefix_len());
    let all = 1_u128.checked_shl(host_bits).unwrap_or(u128::MAX);
    let excluded = match subnet {
        IpNet::V4(_) => FIRST + 1,
        IpNet::V6(_) => FIRST,
    };
    all.saturating_sub(excluded)
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(a) => u32::from(a).into(),
        IpAddr::V6(a) => a.into(),
    }
}

fn address(subnet: &IpNet, host: u128) -> IpAddr {
    match subnet.network() {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "below 2^32: `host` fits the subnet"
        )]
        IpAddr::V4(a) => IpAddr::V4((u32::from(a) + host as u32).into()),
        IpAddr::V6(a) => IpAddr::V6((u128::from(a) + host).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nets(list: &[&str]) -> Vec<IpNet> {
        list.iter().map(|n| n.parse().unwrap()).collect()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn network_gateway_and_broadcast_are_never_given_out() {
        let subnets = nets(&["10.128.4.0/29"]);
        let mut pool = Pool::default();
        let given: Vec<IpAddr> = (0..5).map(|_| pool.take(&subnets).unwrap()[0]).collect();
        let expected: Vec<IpAddr> = (2..=6).map(|h| ip(&format!("10.128.4.{h}"))).collect();
        assert_eq!(given, expected);
        let full = pool.take(&subnets).unwrap_err();
        assert_eq!((full.subnet, full.capacity), (subnets[0], 5));
        assert!(full.to_string().contains("10.128.4.0/29"), "{full}");
    }

    #[test]
    fn a_released_address_rests_for_a_round() {
        let subnets = nets(&["10.128.4.0/29"]);
        let mut pool = Pool::default();
        let first = pool.take(&subnets).unwrap();
        pool.release(&first);
        for _ in 0..4 {
            let next = pool.take(&subnets).unwrap();
            assert_ne!(next, first, "given out again while others were free");
            pool.release(&next);
        }
        assert_eq!(
            pool.take(&subnets).unwrap(),
            first,
            "comes round in the end"
        );
    }

    #[test]
    fn a_full_second_subnet_takes_nothing_of_the_first() {
        let subnets = nets(&["10.128.0.0/24", "fd00::/126"]);
        let mut pool = Pool::default();
        assert_eq!(
            pool.take(&subnets).unwrap(),
            [ip("10.128.0.2"), ip("fd00::2")]
        );
        pool.take(&subnets).unwrap();
        assert!(pool.take(&subnets).is_err());
        assert_eq!(pool.usage(&subnets[0]), (2, 253));
        assert_eq!(pool.usage(&subnets[1]), (2, 2));
    }

    #[test]
    fn large_ipv6_subnets_cost_no_more_than_small_ones() {
        let subnets = nets(&["fd00::/64"]);
        let mut pool = Pool::default();
        pool.occupy(&[ip("fd00::2"), ip("fd00::3")]);
        assert_eq!(pool.take(&subnets).unwrap(), [ip("fd00::4")]);
        pool.resume_after(&subnets[0], ip("fd00::ffff:ffff:ffff:ffff"));
        assert_eq!(
            pool.take(&subnets).unwrap(),
            [ip("fd00::5")],
            "wraps to the first free one"
        );
        assert_eq!(capacity(&nets(&["::/0"])[0]), u128::MAX - FIRST);
    }
}
