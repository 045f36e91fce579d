//! Drop events are limited; the counters are not.

use std::time::{Duration, Instant};

use weft_agent::observe;
use weft_ebpf::reason::DropReason;

use crate::frames::frame;
use crate::rig::{context, interface, with_rig};

/// Events of one endpoint for one reason, of one processor in one second, as `ebpf/programs/src/drops.rs` has it.
const SHARE: u64 = 50;
const FLOOD: u32 = 20_000;

#[test]
fn a_flood_is_counted_exactly_and_told_in_part() {
    with_rig(|rig| {
        let bytes = frame("10.128.2.5", "10.128.2.6").bytes();
        let start = Instant::now();
        rig.repeat("from_pod", &context(interface("a")), &bytes, FLOOD);
        // Windows that may have begun meanwhile, on each processor.
        let windows = start.elapsed().as_secs() + 2;
        let processors = aya::util::nr_cpus().unwrap() as u64;

        let drops = observe::maps::drops_by_reason(&rig.maps).unwrap();
        assert_eq!(
            drops[&DropReason::Isolated].packets,
            u64::from(FLOOD),
            "every packet is counted"
        );
        assert_eq!(
            drops[&DropReason::Isolated].bytes,
            u64::from(FLOOD) * bytes.len() as u64
        );
        let endpoint = observe::maps::drops_by_endpoint(&rig.maps).unwrap();
        assert_eq!(
            endpoint[&(interface("a"), DropReason::Isolated)].packets,
            u64::from(FLOOD)
        );

        let told = rig.events().len() as u64;
        assert!(
            told >= SHARE,
            "{told} events: the share is there to be used"
        );
        assert!(
            told <= SHARE * windows * processors,
            "{told} events in {windows} windows"
        );
        let suppressed = observe::maps::suppressed_events(&rig.maps).unwrap();
        assert_eq!(
            told + suppressed,
            u64::from(FLOOD),
            "what is not told is said to be missing"
        );
    });
}

/// Floods of one pod, of as many kinds as it likes, take nothing from the events of another one.
#[test]
fn a_flood_silences_nobody_else() {
    with_rig(|rig| {
        let floods = [
            frame("10.128.2.5", "10.128.2.6"),
            frame("10.128.2.5", "10.128.3.200"),
            frame("10.128.2.5", "224.0.0.5"),
            frame("10.128.2.6", "10.128.2.5"),
        ];
        let quiet = frame("10.128.2.6", "10.128.2.5").bytes();
        for _ in 0..5 {
            for flood in &floods {
                rig.repeat(
                    "from_pod",
                    &context(interface("a")),
                    &flood.bytes(),
                    FLOOD / 4,
                );
            }
            rig.events();
            // In the same second as the flood, or in the next.
            rig.run("from_pod", interface("b"), &quiet);
            let events = rig.events();
            assert!(
                events.iter().any(|event| event.ifindex == interface("b")),
                "the other pod's drop is told: {events:?}"
            );
        }
    });
}

/// The next second has a budget of its own: a flood does not silence a node for good.
#[test]
fn events_come_again_after_a_flood() {
    with_rig(|rig| {
        let bytes = frame("10.128.2.5", "10.128.2.6").bytes();
        rig.repeat("from_pod", &context(interface("a")), &bytes, FLOOD);
        rig.events();
        let deadline = Instant::now() + Duration::from_secs(10);
        let other = frame("10.128.2.5", "10.128.3.200").bytes();
        loop {
            rig.run("from_pod", interface("a"), &other);
            if let Some(event) = rig.events().first() {
                assert_eq!(event.reason, DropReason::NoSuchPod as u32);
                break;
            }
            assert!(Instant::now() < deadline, "no event in ten seconds");
            std::thread::yield_now();
        }
    });
}
