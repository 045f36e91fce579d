//! Which part of a cluster network a node gets next.

use ipnet::IpNet;
use weft_core::model::NetworkEntry;

/// At most this many subnets of one range are considered.
const MAX_SUBNETS: u128 = 1 << 24;

/// Sequential next-fit in one range, wrapping around.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SubnetAllocator {
    entry: NetworkEntry,
    next: u128,
}

/// Subnets that are taken, of any length, also outside the cluster's ranges.
#[derive(Clone, Debug, Default)]
pub(super) struct Taken {
    /// First and last address in the 128-bit form, not overlapping, in order.
    spans: Vec<(u128, u128)>,
}

impl Taken {
    pub(super) fn new(subnets: impl IntoIterator<Item = IpNet>) -> Self {
        let mut spans: Vec<_> = subnets.into_iter().map(span).collect();
        spans.sort_unstable();
        let mut merged: Vec<(u128, u128)> = Vec::new();
        for (first, last) in spans {
            match merged.last_mut() {
                Some((_, end)) if first <= *end => *end = last.max(*end),
                _ => merged.push((first, last)),
            }
        }
        Self { spans: merged }
    }

    fn add(&mut self, subnet: IpNet) {
        let (first, last) = span(subnet);
        let at = self.spans.partition_point(|(start, _)| *start < first);
        self.spans.insert(at, (first, last));
    }

    fn overlaps(&self, subnet: IpNet) -> bool {
        let (first, last) = span(subnet);
        let after = self.spans.partition_point(|(start, _)| *start <= last);
        let before = after.checked_sub(1).and_then(|index| self.spans.get(index));
        before.is_some_and(|(_, end)| *end >= first)
    }
}

impl SubnetAllocator {
    pub(super) fn new(entry: NetworkEntry) -> Self {
        Self { entry, next: 0 }
    }

    pub(super) fn entry(&self) -> NetworkEntry {
        self.entry
    }

    /// The next free subnet, which is taken from then on; `None` if the range is full.
    pub(super) fn allocate(&mut self, taken: &mut Taken) -> Option<IpNet> {
        let bits = self.subnet_bits();
        let count = 1u128
            .checked_shl(bits)
            .unwrap_or(MAX_SUBNETS)
            .min(MAX_SUBNETS);
        for _ in 0..count {
            let number = self.next;
            self.next = (number + 1) % count;
            let subnet = self.subnet(number)?;
            if !taken.overlaps(subnet) {
                taken.add(subnet);
                return Some(subnet);
            }
        }
        None
    }

    fn address_bits(&self) -> u32 {
        u32::from(self.entry.cidr.max_prefix_len())
    }

    /// Bits between the range's prefix and the host bits.
    fn subnet_bits(&self) -> u32 {
        let prefix = u32::from(self.entry.cidr.prefix_len());
        self.address_bits()
            .saturating_sub(prefix)
            .saturating_sub(u32::from(self.entry.host_bits))
    }

    /// Subnet number `number`. Where an IPv4 subnet number crosses an octet boundary its bits are rotated, so that the
    /// subnets with zeros in the octet shared with the host part come first: 10.128.0.0/23, 10.129.0.0/23, ... before
    /// 10.128.2.0/23.
    fn subnet(&self, number: u128) -> Option<IpNet> {
        let (bits, host) = (self.subnet_bits(), u32::from(self.entry.host_bits));
        let shared = (8 - host % 8) % 8;
        let rotated = if self.entry.cidr.addr().is_ipv4() && shared > 0 && bits > shared {
            let low = (1u128 << bits) - 1;
            (number << shared) & low | number >> (bits - shared)
        } else {
            number
        };
        let length = u8::try_from(self.address_bits() - host).ok()?;
        let (first, _) = span(self.entry.cidr);
        let address = first + (rotated << host);
        let address = match self.entry.cidr {
            IpNet::V4(_) => u32::try_from(address & u128::from(u32::MAX))
                .ok()
                .map(|a| {
                    let a = std::net::Ipv4Addr::from(a);
                    IpNet::new(a.into(), length)
                })?,
            IpNet::V6(_) => IpNet::new(std::net::Ipv6Addr::from(address).into(), length),
        };
        address.ok()
    }
}

/// First and last address; IPv4 in its mapped form, so that the families lie apart.
fn span(subnet: IpNet) -> (u128, u128) {
    let number = |address| match address {
        std::net::IpAddr::V4(a) => u128::from(a.to_ipv6_mapped()),
        std::net::IpAddr::V6(a) => u128::from(a),
    };
    (number(subnet.network()), number(subnet.broadcast()))
}
