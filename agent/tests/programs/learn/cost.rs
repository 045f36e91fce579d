//! What learning costs.

use aya::programs::{TestRun as _, TestRunOptions};

use super::messages::answer;
use super::scene::{ID, SERVICE, Scene, WWW, to_pod, with_scene};
use crate::frames::{Frame, UDP};
use crate::rig::{context, interface};

const TIMES: u32 = 500;

/// Nanoseconds of one run, each after the question that its answer uses up.
fn run(scene: &Scene<'_>, frame: &Frame) -> u128 {
    let bytes = frame.bytes();
    let times = (0..TIMES).map(|_| {
        scene.ask(SERVICE, ID, WWW.0);
        let result = scene
            .rig
            .program("to_pod")
            .test_run(TestRunOptions {
                data_in: Some(&bytes),
                ctx_in: Some(&context(interface("a"))),
                repeat: 1,
                ..TestRunOptions::default()
            })
            .unwrap();
        result.duration.as_nanos()
    });
    times.min().unwrap()
}

/// Work is bounded: an answer of any size takes less than a tenth of a millisecond, even on a busy machine.
#[test]
fn of_one_answer() {
    with_scene(|scene| {
        let addresses = |n: u8| {
            (1..=n)
                .map(|n| [198, 51, 100, n].into())
                .collect::<Vec<_>>()
        };
        let reply = |of: &str, n| {
            to_pod(
                SERVICE,
                UDP,
                answer(ID, of, &addresses(n)).to_vec().unwrap(),
            )
        };
        let other = run(
            scene,
            &Frame {
                src_port: 54,
                ..reply(WWW.0, 1)
            },
        );
        let unwatched = run(scene, &reply("www.nowhere.test", 1));
        let one = run(scene, &reply(WWW.0, 1));
        let ten = run(scene, &reply(WWW.0, 10));
        let hundred = run(scene, &reply(WWW.0, 100));
        println!(
            "to_pod, ns: no DNS {other}, unwatched name {unwatched}, 1 address {one}, 10 {ten}, 100 {hundred}"
        );
        assert_eq!(scene.rows().len(), 100, "the watched ones were learned");
        assert!(hundred < 100_000, "{hundred} ns for a hundred addresses");
    });
}
