//! Subnets, numbers and requests, decided without objects.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;
use proptest::prelude::*;
use weft_core::model::NetworkEntry;

use super::super::change_network::decide;
use super::super::subnet_allocator::{SubnetAllocator, Taken};
use super::super::vnid_allocator::allocate;

fn allocator(cidr: &str, host_bits: u8) -> SubnetAllocator {
    let cidr = cidr.parse().unwrap();
    SubnetAllocator::new(NetworkEntry { cidr, host_bits })
}

fn take(allocator: &mut SubnetAllocator, taken: &mut Taken, count: usize) -> Vec<String> {
    let subnets = (0..count).map_while(|_| allocator.allocate(taken));
    subnets.map(|net| net.to_string()).collect()
}

#[test]
fn subnets_come_in_order() {
    let cases: [(&str, u8, &[&str]); 9] = [
        // Host bits a multiple of eight: plainly counted.
        (
            "10.1.0.0/16",
            8,
            &["10.1.0.0/24", "10.1.1.0/24", "10.1.2.0/24"],
        ),
        // Crossing an octet: those with zeros in the shared octet first.
        (
            "10.128.0.0/14",
            9,
            &[
                "10.128.0.0/23",
                "10.129.0.0/23",
                "10.130.0.0/23",
                "10.131.0.0/23",
                "10.128.2.0/23",
                "10.129.2.0/23",
            ],
        ),
        (
            "10.1.0.0/16",
            6,
            &["10.1.0.0/26", "10.1.1.0/26", "10.1.2.0/26"],
        ),
        (
            "10.1.0.0/16",
            10,
            &["10.1.0.0/22", "10.1.4.0/22", "10.1.8.0/22"],
        ),
        // Inside one octet: plainly counted.
        (
            "10.1.2.0/24",
            6,
            &[
                "10.1.2.0/26",
                "10.1.2.64/26",
                "10.1.2.128/26",
                "10.1.2.192/26",
            ],
        ),
        ("10.1.0.0/16", 16, &["10.1.0.0/16"]),
        ("0.0.0.0/1", 30, &["0.0.0.0/2", "64.0.0.0/2"]),
        (
            "fd01::/48",
            64,
            &["fd01::/64", "fd01:0:0:1::/64", "fd01:0:0:2::/64"],
        ),
        ("fd01::/16", 62, &["fd01::/66", "fd01:0:0:0:4000::/66"]),
    ];
    for (cidr, bits, wanted) in cases {
        let got = take(
            &mut allocator(cidr, bits),
            &mut Taken::default(),
            wanted.len(),
        );
        let nets: Vec<String> = wanted
            .iter()
            .map(|w| w.parse::<IpNet>().unwrap().to_string())
            .collect();
        assert_eq!(got, nets, "{cidr} {bits}");
    }
}

#[test]
fn rotated_numbers_use_every_subnet_once() {
    for (cidr, bits) in [
        ("10.1.0.0/16", 6),
        ("10.128.0.0/14", 9),
        ("10.0.0.0/21", 7),
        ("10.1.2.0/24", 3),
    ] {
        let (mut a, mut taken) = (allocator(cidr, bits), Taken::default());
        let all = take(&mut a, &mut taken, 5000);
        let range: IpNet = cidr.parse().unwrap();
        let count = 1usize << (32 - u32::from(range.prefix_len()) - u32::from(bits));
        assert_eq!(all.len(), count, "{cidr}");
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), count, "{cidr}");
        let inside = |net: &String| range.contains(&net.parse::<IpNet>().unwrap());
        assert!(all.iter().all(inside), "{cidr}");
        assert_eq!(a.allocate(&mut taken), None, "full");
    }
}

#[test]
fn the_first_two_hundred_fifty_six_have_a_zero_octet() {
    let got = take(&mut allocator("10.1.0.0/16", 6), &mut Taken::default(), 258);
    assert_eq!(got[255], "10.1.255.0/26");
    assert_eq!(got[256], "10.1.0.64/26");
    assert_eq!(got[257], "10.1.1.64/26");
}

#[test]
fn what_is_taken_is_skipped_and_the_search_goes_on_from_the_last() {
    let mut a = allocator("10.1.0.0/22", 8);
    let net = |text: &str| text.parse::<IpNet>().unwrap();
    let taken = |texts: &[&str]| Taken::new(texts.iter().map(|t| net(t)));
    let mut used = taken(&["10.1.0.0/24", "10.9.0.0/16"]);
    assert_eq!(a.allocate(&mut used), Some(net("10.1.1.0/24")));
    // 10.1.0.0 is free again, and yet the next one comes first.
    let mut used = taken(&["10.1.1.0/24"]);
    assert_eq!(a.allocate(&mut used), Some(net("10.1.2.0/24")));
    assert_eq!(a.allocate(&mut used), Some(net("10.1.3.0/24")));
    assert_eq!(a.allocate(&mut used), Some(net("10.1.0.0/24")));
    assert_eq!(a.allocate(&mut used), None);
    // Of another length: a smaller part, or more than one.
    assert_eq!(
        a.allocate(&mut taken(&["10.1.1.128/25", "10.1.2.0/23"])),
        Some(net("10.1.0.0/24"))
    );
    assert_eq!(a.allocate(&mut taken(&["10.1.0.0/16"])), None);
}

#[test]
fn a_huge_range_is_no_endless_search() {
    let mut a = allocator("fd00::/8", 2);
    let mut taken = Taken::new(["fd00::/9".parse().unwrap()]);
    assert_eq!(a.allocate(&mut taken), None, "2^24 subnets are considered");
}

#[test]
fn numbers_are_random_and_free() {
    let mut taken = BTreeSet::from([0, 5, 10, 11, 16_777_215]);
    let mut at = |start: u32| allocate(&mut taken, &mut |_| start);
    assert_eq!(at(0), Some(12));
    assert_eq!(at(0), Some(13));
    assert_eq!(at(90), Some(100));
    assert_eq!(at(16_777_205), Some(14), "wraps around");
    assert_eq!(at(u32::MAX), Some(15));
    let mut full: BTreeSet<u32> = (10..=16_777_215).collect();
    assert_eq!(allocate(&mut full, &mut |_| 7), None);
}

#[test]
fn requests_are_decided() {
    let vnids = BTreeMap::from([
        ("default".to_owned(), 0),
        ("a".to_owned(), 10),
        ("b".to_owned(), 11),
        ("b2".to_owned(), 11),
        ("open".to_owned(), 0),
        ("system".to_owned(), 1),
    ]);
    let cases = [
        ("a", "global", Ok(0)),
        ("default", "global", Ok(0)),
        ("a", "join:b", Ok(11)),
        ("a", "join:a", Ok(10)),
        ("a", "join:open", Ok(0)),
        ("open", "join:system", Ok(1)),
        ("a", "isolate", Ok(10)),
        ("system", "isolate", Ok(1)),
        ("b", "isolate", Ok(99)),
        ("open", "isolate", Ok(99)),
        ("b", "isolate:whatever", Ok(99)),
        ("a", "global:x", Ok(0)),
        ("default", "isolate", Err("has to stay global")),
        ("a", "join:nobody", Err("nobody")),
        ("a", "join", Err("no request")),
        ("a", "join:", Err("no request")),
        ("a", "join:b:c", Err("no request")),
        ("a", "Global", Err("no request")),
        ("a", "", Err("no request")),
        ("nobody", "global", Err("not valid")),
    ];
    for (project, request, wanted) in cases {
        match (decide(project, request, &vnids, || Some(99)), wanted) {
            (Ok(got), Ok(wanted)) => assert_eq!(got, wanted, "{project} {request}"),
            (Err(got), Err(part)) => assert!(got.contains(part), "{project} {request}: {got}"),
            (got, _) => panic!("{project} {request} gave {got:?}"),
        }
    }
    let full = decide("b", "isolate", &vnids, || None);
    assert!(full.unwrap_err().contains("taken"));
    let alone = BTreeMap::from([("default".to_owned(), 0)]);
    assert_eq!(decide("default", "global", &alone, || None), Ok(0));
}

proptest! {
    #[test]
    fn subnets_never_overlap(prefix in 16u8..26, bits in 2u8..7, used in prop::collection::vec((0u8..=255, 24u8..30), 0..6)) {
        let range: IpNet = format!("10.1.0.0/{prefix}").parse().unwrap();
        let used: Vec<IpNet> = used.iter().map(|(third, length)| format!("10.1.{third}.0/{length}").parse().unwrap()).collect();
        let mut taken = Taken::new(used.clone());
        let mut a = SubnetAllocator::new(NetworkEntry { cidr: range, host_bits: bits });
        let mut all = used;
        for _ in 0..40 {
            let Some(subnet) = a.allocate(&mut taken) else { break };
            prop_assert!(range.contains(&subnet));
            prop_assert_eq!(subnet.prefix_len(), 32 - bits);
            prop_assert!(all.iter().all(|o| !o.contains(&subnet) && !subnet.contains(o)));
            all.push(subnet);
        }
    }
}
