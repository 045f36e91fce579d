//! A pod with raw sockets against everybody else: frames at random, as fast as it can, and nothing of it may arrive or change
//! anything outside its own project, services that hide their clients included. Then somebody outside, who sends packets of the overlay.
//!
//! `WEFT_ATTACK_SECONDS` is how long, `WEFT_ATTACK_SEED` repeats an attack.

mod field;
mod frames;
mod headers;

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use weft_lab::probe::{self, Server, Stream};
use weft_wait::{SOON, eventually};

use self::field::{Field, PORT};
use crate::wire::{Injector, Sniffer};

/// Seconds, where nothing else is asked for.
const SECONDS: u64 = 8;
/// Frames between two looks at what has arrived.
const BATCH: usize = 2000;
fn variable(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(
        value
            .parse()
            .unwrap_or_else(|_| panic!("{name}={value}: a number")),
    )
}

/// Sends for so long, in batches; `frame` makes them, `look` is called between two batches.
fn attack(
    out: &Injector,
    duration: Duration,
    mut frame: impl FnMut() -> Vec<u8>,
    mut look: impl FnMut(),
) -> u64 {
    let end = Instant::now() + duration;
    let mut sent = 0;
    while Instant::now() < end {
        for _ in 0..BATCH {
            sent += u64::from(out.try_send(&frame()));
        }
        look();
    }
    look();
    sent
}

/// Lost packets of a stream between the victims, in a thousand.
fn loss(field: &Field, during: impl FnOnce()) -> f64 {
    let stream = Stream::start(&field.far.netns, &field.near.netns, field.near.ips[0]).unwrap();
    eventually("the victims talk", || stream.received() > 0);
    during();
    let report = stream.finish().unwrap();
    #[expect(clippy::cast_precision_loss, reason = "thousands of packets")]
    let loss = report.lost.len() as f64 * 1000.0 / report.sent as f64;
    loss
}

#[test]
fn nothing_of_it_arrives_and_nothing_changes() {
    let seed = variable("WEFT_ATTACK_SEED").unwrap_or_else(rand::random);
    let duration = Duration::from_secs(variable("WEFT_ATTACK_SECONDS").unwrap_or(SECONDS));
    println!("WEFT_ATTACK_SEED={seed}");
    let field = Field::new();
    let cluster = &field.cluster;
    let out = Injector::open(&field.attacker.netns, "eth0");
    let knowledge = field.knowledge(out.mac);
    let _server = Server::start(&field.near.netns, PORT, "near").unwrap();
    let talks = || probe::tcp(&field.far.netns, (field.near.ips[0], PORT).into(), SOON);
    assert!(talks().unwrap().reached(), "before");
    let before = ["node1", "node2"].map(|node| field.state(node));

    // The same pod, as fast as it can, with datagrams that are harmless: what a flood costs by itself.
    let gateway: SocketAddr = (cluster.gateway("node1", false), 9).into();
    let socket = field
        .attacker
        .netns
        .run(|| UdpSocket::bind("0.0.0.0:0").unwrap())
        .unwrap();
    let end = Instant::now() + duration / 2;
    let harmless = loss(&field, || {
        while Instant::now() < end {
            drop(socket.send_to(&[b'x'; 100], gateway));
        }
    });

    let watched = [
        ("b/near", Sniffer::open(&field.near.netns)),
        ("b/far", Sniffer::open(&field.far.netns)),
        ("the outside", Sniffer::open(&field.node("web"))),
    ];
    let mut rng = StdRng::seed_from_u64(seed);
    let mut sent = 0;
    let hostile = loss(&field, || {
        sent = attack(
            &out,
            duration,
            || knowledge.frame(&mut rng),
            || {
                for (who, sniffer) in &watched {
                    assert_eq!(
                        sniffer.saw(&knowledge.marker),
                        0,
                        "{who} got a packet, seed {seed}"
                    );
                }
            },
        );
    });
    println!(
        "{sent} frames; lost in a thousand: {harmless:.2} under harmless ones, {hostile:.2} under these"
    );
    assert!(sent > 1000, "{sent} frames");
    assert!(
        hostile <= harmless + 20.0,
        "{hostile} of a thousand lost, {harmless} under a harmless flood"
    );

    // Each kernel sends some multicast of the link by itself.
    let rows = cluster.drops("node1").pods.into_iter();
    let charged = rows.filter(|row| row.pod == field.near.label() && row.reason != "LinkLocal");
    let charged: Vec<_> = charged.map(|row| (row.reason, row.packets)).collect();
    assert!(charged.is_empty(), "charged to the victim: {charged:?}");

    // Who is no node sends packets of the overlay.
    for node in ["node1", "node2"] {
        let out = Injector::open(&field.node("web"), "eth0");
        let knowledge = field.knowledge_outside(out.mac, node);
        let inside = [&field.near, &field.far, &field.attacker];
        let inside = inside.map(|pod| (pod.label(), Sniffer::open(&pod.netns)));
        let unknown = || cluster.count(node, "UnknownPeer");
        let before = unknown();
        let sent = attack(
            &out,
            duration / 8,
            || knowledge.overlay_frame(&mut rng),
            || {
                for (who, sniffer) in &inside {
                    let saw = sniffer.saw(&knowledge.marker);
                    assert_eq!(saw, 0, "{who} got a packet from outside, seed {seed}");
                }
            },
        );
        let dropped = unknown() - before;
        println!(
            "{sent} frames of the overlay from outside, {dropped} of them got as far as the data path of {node}"
        );
        assert!(dropped > sent / 10, "{dropped} of {sent}");
    }

    for (node, before) in ["node1", "node2"].into_iter().zip(&before) {
        pretty(node, before, &field.state(node), seed);
        assert_eq!(cluster.agent_status(node).problems, []);
    }
    assert!(talks().unwrap().reached(), "after");
}

/// Names the lines that differ, of thousands.
#[track_caller]
fn pretty(node: &str, before: &str, after: &str, seed: u64) {
    let lines = |text: &str| {
        text.lines()
            .map(str::to_owned)
            .collect::<std::collections::BTreeSet<_>>()
    };
    let (before, after) = (lines(before), lines(after));
    let changed: Vec<_> = before.symmetric_difference(&after).collect();
    assert!(
        changed.is_empty(),
        "{node} has changed, seed {seed}: {changed:#?}"
    );
}
