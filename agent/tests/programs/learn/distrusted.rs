//! Answers that do not count.

use hickory_proto::op::{Message, ResponseCode};
use weft_agent::bpf::Row;
use weft_ebpf::rows::dns::{QUERIES_OF_POD, QueryKey, QueryRow, why};
use weft_ebpf::tables::map;

use super::messages::{answer, ip, query};
use super::scene::{ID, LOCAL, PORT, SERVICE, Scene, UNTRUSTED, WWW, now, to_pod, with_scene};
use crate::frames::{Frame, UDP, frame};
use crate::rig::interface;

const ADDRESS: &str = "198.51.100.1";

fn good(id: u16, of: &str) -> Message {
    answer(id, of, &[ip(ADDRESS)])
}

/// Runs an exchange whose answer must not count, and then a good one that does. If a trusted server sent it, the question may
/// have been forgotten in a flood of others: the agent resolves the name itself.
fn distrusted(why: &str, exchange: impl Fn(&Scene<'_>) + Sync) {
    distrusted_of(why, true, exchange);
}

fn distrusted_of(why: &str, trusted: bool, exchange: impl Fn(&Scene<'_>) + Sync) {
    let asked = if trusted {
        vec![(why::UNASKED, WWW.0.to_owned())]
    } else {
        vec![]
    };
    with_scene(|scene| {
        exchange(scene);
        assert!(scene.rows().is_empty(), "{why}: nothing is learned");
        assert_eq!(scene.counters().distrusted, 1, "{why}: counted");
        assert_eq!(scene.asked(), asked, "{why}: what the agent is asked");
        scene.exchange(WWW.0, &[ip(ADDRESS)]);
        assert_eq!(scene.rows().len(), 1, "{why}: the good answer");
    });
}

#[test]
fn without_a_question() {
    distrusted("nobody asked", |scene| {
        scene.reply(SERVICE, &good(ID, WWW.0));
    });
}

#[test]
fn with_another_id() {
    distrusted("another ID", |scene| {
        scene.ask(SERVICE, ID, WWW.0);
        scene.reply(SERVICE, &good(ID + 1, WWW.0));
    });
}

#[test]
fn to_another_port() {
    distrusted("another port", |scene| {
        scene.ask(SERVICE, ID, WWW.0);
        scene.deliver(&Frame {
            dst_port: PORT + 1,
            ..to_pod(SERVICE, UDP, good(ID, WWW.0).to_vec().unwrap())
        });
    });
}

#[test]
fn from_another_server() {
    distrusted("a trusted server that was not asked", |scene| {
        scene.ask(SERVICE, ID, WWW.0);
        scene.reply(LOCAL, &good(ID, WWW.0));
    });
}

#[test]
fn about_another_name() {
    distrusted("another watched name", |scene| {
        scene.ask(SERVICE, ID, "api.example.com");
        scene.reply(SERVICE, &good(ID, WWW.0));
    });
}

/// An answer uses its question up: a second one, forged while the pod waits for nothing any more, opens nothing.
#[test]
fn a_second_answer() {
    distrusted("the question is answered", |scene| {
        scene.exchange(WWW.0, &[]);
        scene.reply(SERVICE, &good(ID, WWW.0));
    });
}

/// What fails to fit the question leaves it open for its answer.
#[test]
fn an_answer_that_does_not_count_uses_nothing_up() {
    with_scene(|scene| {
        scene.ask(SERVICE, ID, WWW.0);
        scene.reply(SERVICE, &good(ID + 1, WWW.0));
        scene.reply(LOCAL, &good(ID, WWW.0));
        scene.reply(SERVICE, &good(ID, "api.example.com"));
        assert!(scene.rows().is_empty());
        scene.reply(SERVICE, &good(ID, WWW.0));
        assert_eq!(scene.names_of(ADDRESS), [WWW.1]);
    });
}

#[test]
fn from_a_server_that_is_not_trusted() {
    distrusted_of("an untrusted server", false, |scene| {
        scene.ask(UNTRUSTED, ID, WWW.0);
        scene.reply(UNTRUSTED, &good(ID, WWW.0));
    });
}

#[test]
fn too_late() {
    distrusted("half a minute late", |scene| {
        scene.ask(SERVICE, ID, WWW.0);
        let mut queries = scene.map::<QueryKey, QueryRow>(map::QUERIES);
        let (Row(key), Row(row)) = queries.iter().next().unwrap().unwrap();
        assert!(now() - row.time < 10_000_000_000, "noted just now");
        let time = row.time - 30_000_000_000;
        queries
            .insert(Row(key), Row(QueryRow { time, ..row }), 0)
            .unwrap();
        scene.reply(SERVICE, &good(ID, WWW.0));
    });
}

/// A pod has places of its own for questions: a flood of another one's takes none of them.
#[test]
fn a_flood_of_questions_pushes_out_no_other_pods() {
    with_scene(|scene| {
        scene.watch_too("b");
        scene.ask(SERVICE, ID, WWW.0);
        for id in 0..20_000 {
            let message = query(id, WWW.0).to_vec().unwrap();
            let flood = Frame {
                proto: UDP,
                src_port: PORT,
                dst_port: 53,
                payload: message,
                ..frame("10.128.2.6", SERVICE)
            };
            scene.rig.run("from_pod", interface("b"), &flood.bytes());
        }
        let queries = scene.map::<QueryKey, QueryRow>(map::QUERIES);
        let of_flood = queries.keys().filter(|key| {
            let Row(key) = key.as_ref().unwrap();
            key.pod == ip("10.128.2.6").into()
        });
        assert_eq!(of_flood.count(), QUERIES_OF_POD as usize, "all its places");
        scene.reply(SERVICE, &good(ID, WWW.0));
        assert_eq!(scene.names_of(ADDRESS), [WWW.1]);
    });
}

/// A project without names, and its flood of answers, cost and change nothing.
#[test]
fn of_projects_without_names() {
    with_scene(|scene| {
        scene.reply(SERVICE, &good(ID, "nowhere.test"));
        assert!(scene.rows().is_empty());
        assert_eq!(
            scene.counters().distrusted,
            0,
            "an unwatched name is nobody's loss"
        );
    });
}

#[test]
fn failures_teach_nothing() {
    with_scene(|scene| {
        scene.ask(SERVICE, ID, WWW.0);
        let mut message = good(ID, WWW.0);
        message.metadata.response_code = ResponseCode::ServFail;
        scene.reply(SERVICE, &message);
        assert!(scene.rows().is_empty());
        assert_eq!(scene.counters().unread, 0);
    });
}
