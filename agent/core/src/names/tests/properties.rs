//! Whatever servers answer, and whenever: what must hold.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::super::{Failure, Family, Limits, Until};
use super::scene::{Scene, both, fails, ip};

const WWW: &str = "www.example";

#[derive(Clone, Debug)]
enum Act {
    Pass(u64),
    Answer(Vec<u8>, Option<Vec<u8>>, u64),
    Fail(bool),
    Watch(bool),
    Once,
    Servers(u8),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let addresses = || prop::collection::vec(0..6_u8, 0..4);
    let act = prop_oneof![
        3 => (0..90_u64).prop_map(Act::Pass),
        4 => (addresses(), prop::option::of(addresses()), 0..100_u64)
            .prop_map(|(v4, v6, ttl)| Act::Answer(v4, v6, ttl)),
        3 => any::<bool>().prop_map(Act::Fail),
        1 => prop::bool::weighted(0.7).prop_map(Act::Watch),
        1 => Just(Act::Once),
        1 => (1..3_u8).prop_map(Act::Servers),
    ];
    prop::collection::vec(act, 1..60)
}

fn side(v6: bool, addresses: &[u8], ttl: u64) -> Family {
    if addresses.is_empty() {
        return Family::Nothing;
    }
    let prefix = if v6 { "2001:db8::" } else { "10.0.0." };
    let text = |n: &u8| ip(&format!("{prefix}{n}"));
    Family::Addresses {
        addresses: addresses.iter().map(text).collect(),
        ttl: Duration::from_secs(ttl),
    }
}

/// The slow and obvious version of what is in force: for each address, when it ends.
#[derive(Default)]
struct Expected(BTreeMap<IpAddr, Option<Instant>>);

impl Expected {
    fn answer(&mut self, v4: &Family, v6: &Family, end: Instant) {
        for (family, is_v6) in [(v4, false), (v6, true)] {
            if matches!(family, Family::Failed(_)) {
                continue;
            }
            let new = match family {
                Family::Addresses { addresses, .. } => addresses.clone(),
                _ => BTreeSet::new(),
            };
            for (address, until) in &mut self.0 {
                if address.is_ipv6() == is_v6 && !new.contains(address) && until.is_none() {
                    *until = Some(end);
                }
            }
            self.0
                .extend(new.into_iter().map(|address| (address, None)));
        }
    }

    fn at(&self, now: Instant) -> BTreeMap<IpAddr, Until> {
        let until = |(address, end): (&IpAddr, &Option<Instant>)| match end {
            None => Some((*address, Until::Held)),
            Some(end) if *end > now => Some((*address, Until::Grace(*end))),
            Some(_) => None,
        };
        self.0.iter().filter_map(until).collect()
    }
}

proptest! {
    #[test]
    fn addresses_are_lost_to_answers_only_and_on_time(acts in acts()) {
        let grace = Duration::from_secs(45);
        let mut scene = Scene::with(Limits { grace: Some(grace), ..Limits::default() });
        let mut expected = Expected::default();
        let mut watched = true;
        scene.watch(&[WWW]);
        for act in acts {
            match act {
                Act::Pass(seconds) => scene.pass(Duration::from_secs(seconds)),
                Act::Answer(v4, v6, ttl) if scene.is_asked(WWW) => {
                    let v4 = side(false, &v4, ttl);
                    let failed = Family::Failed(Failure::Timeout);
                    let v6 = v6.map_or(failed, |v6| side(true, &v6, ttl + 1));
                    let counts = v4.has_addresses() || v6.has_addresses();
                    if watched && counts {
                        expected.answer(&v4, &v6, scene.now + grace);
                    }
                    scene.answer(WWW, both(v4, v6));
                }
                Act::Fail(silent) if scene.is_asked(WWW) => {
                    let failure = if silent { Failure::Timeout } else { Failure::NxDomain };
                    scene.answer(WWW, fails(failure));
                }
                Act::Watch(on) => {
                    watched = on;
                    if !on {
                        expected = Expected::default();
                    }
                    scene.watch(if on { &[WWW][..] } else { &[] });
                }
                Act::Once => {
                    scene.names.resolve_now(WWW.parse().unwrap(), scene.now);
                    scene.step();
                }
                Act::Servers(n) => {
                    scene.names.set_servers(&[super::scene::server(n)], scene.now);
                    scene.step();
                }
                Act::Answer(..) | Act::Fail(_) => {}
            }
            let snapshot = scene.names.snapshot();
            let now = snapshot.values().next().map(|r| r.addresses.clone());
            prop_assert_eq!(now, watched.then(|| expected.at(scene.now)));
            let busy = !scene.running.is_empty() || scene.names.next_at().is_some();
            prop_assert!(busy || !watched, "a watched name always has a next time");
            prop_assert!(scene.running.len() <= 1);
        }
    }
}
