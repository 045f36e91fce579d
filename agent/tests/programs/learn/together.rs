//! Two processors learn at once.

use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use aya::programs::{SchedClassifier, TestRun as _, TestRunOptions};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use weft_ebpf::addr::Addr;
use weft_ebpf::rows::dns::RingKey;
use weft_ebpf::tables::map;

use super::messages::{answer, query};
use super::scene::{CDN, SERVICE, Scene, WWW, from_pod, to_pod, with_scene};
use crate::frames::UDP;
use crate::rig::{context, interface};

const ROUNDS: u16 = 400;

/// What one processor does in a round: a question and its answer.
struct Work {
    question: Vec<u8>,
    answer: Vec<u8>,
}

fn work(id: u16, of: &str, address: IpAddr) -> Work {
    let question = query(id, of).to_vec().unwrap();
    let answer = answer(id, of, &[address]).to_vec().unwrap();
    Work {
        question: from_pod(SERVICE, UDP, question).bytes(),
        answer: to_pod(SERVICE, UDP, answer).bytes(),
    }
}

/// The work of two processors, round by round in step.
fn together(scene: &Scene<'_>, work: &[Vec<Work>; 2]) {
    let [asks, answers] = ["from_pod", "to_pod"].map(|name| scene.rig.program(name));
    let context = context(interface("a"));
    let run = |program: &SchedClassifier, frame: &[u8]| {
        let options = TestRunOptions {
            data_in: Some(frame),
            ctx_in: Some(&context),
            ..TestRunOptions::default()
        };
        program.test_run(options).unwrap();
    };
    let arrived = AtomicUsize::new(0);
    thread::scope(|scope| {
        for (number, work) in work.iter().enumerate() {
            let (run, arrived) = (&run, &arrived);
            scope.spawn(move || {
                pin(number);
                for (round, Work { question, answer }) in work.iter().enumerate() {
                    run(asks, question);
                    arrived.fetch_add(1, Ordering::SeqCst);
                    while arrived.load(Ordering::SeqCst) < 2 * (round + 1) {
                        std::hint::spin_loop();
                    }
                    run(answers, answer);
                }
            });
        }
    });
}

/// This thread on one processor, where there are two.
fn pin(number: usize) {
    let count = thread::available_parallelism().unwrap().get();
    let mut set = CpuSet::new();
    set.set(number % count).unwrap();
    sched_setaffinity(Pid::from_raw(0), &set).unwrap();
}

fn address(side: u8, round: u16) -> IpAddr {
    let [high, low] = round.to_be_bytes();
    [198, 18 + side, high, low].into()
}

#[test]
fn addresses_of_one_name() {
    with_scene(|scene| {
        scene.set_node(1000, 0);
        let side = |side: u8| {
            let id = |round| 1000 * u16::from(side) + round;
            let rounds = 0..ROUNDS;
            rounds
                .map(|round| work(id(round), WWW.0, address(side, round)))
                .collect()
        };
        together(scene, &[side(0), side(1)]);
        let rows = scene.rows();
        assert_eq!(rows.len(), 2 * usize::from(ROUNDS));
        for row in rows.values() {
            let mut names = row.names.iter().filter(|it| it.name != 0);
            assert_eq!(names.next().map(|it| it.name), Some(WWW.1));
            assert!(names.next().is_none());
        }
        // Each has a place of its own in the ring that bounds them.
        let places = scene.map::<RingKey, Addr>(map::RING);
        assert_eq!(places.keys().count(), rows.len());
    });
}

#[test]
fn names_of_one_address() {
    with_scene(|scene| {
        scene.set_node(1000, 0);
        let side = |side: u8, name: &str| {
            let id = |round| 1000 * u16::from(side) + round;
            let rounds = 0..ROUNDS;
            rounds
                .map(|round| work(id(round), name, address(0, round)))
                .collect()
        };
        together(scene, &[side(0, WWW.0), side(1, CDN.0)]);
        for round in 0..ROUNDS {
            let address = address(0, round).to_string();
            assert_eq!(
                scene.names_of(&address),
                vec![WWW.1, CDN.1],
                "{address}, round {round}: {:?}, {:?}",
                scene.row(&address),
                scene.counters(),
            );
        }
    });
}
