//! What cannot be read whole: the agent is asked.

use weft_ebpf::rows::dns::why;

use super::messages::{answer, bare_answer, framed, ip, query, record};
use super::scene::{ID, SERVICE, UNTRUSTED, WWW, from_pod, over_tcp, to_pod, with_scene};
use crate::frames::{Frame, TCP, UDP};

fn name(why: u32) -> Vec<(u32, String)> {
    vec![(why, WWW.0.to_owned())]
}

#[test]
fn truncated_answers() {
    with_scene(|scene| {
        scene.ask(SERVICE, ID, WWW.0);
        let mut message = answer(ID, WWW.0, &[ip("198.51.100.1")]);
        message.metadata.truncation = true;
        scene.reply(SERVICE, &message);
        assert_eq!(scene.names_of("198.51.100.1"), vec![WWW.1], "what is there");
        assert_eq!(scene.asked(), name(why::TRUNCATED));
        assert_eq!(scene.counters().unread, 1);
    });
}

#[test]
fn first_fragments() {
    with_scene(|scene| {
        scene.ask(SERVICE, ID, WWW.0);
        let addresses = [ip("198.51.100.1"), ip("198.51.100.2"), ip("198.51.100.3")];
        let mut payload = answer(ID, WWW.0, &addresses).to_vec().unwrap();
        // Without the OPT record and the half of the last address.
        payload.truncate(payload.len() - 11 - 2);
        scene.deliver(&Frame {
            more_fragments: true,
            ..to_pod(SERVICE, UDP, payload)
        });
        assert_eq!(
            scene.names_of("198.51.100.2"),
            vec![WWW.1],
            "as far as it goes"
        );
        assert_eq!(scene.rows().len(), 2);
        assert_eq!(scene.asked(), name(why::FRAGMENTED));
    });
}

#[test]
fn queries_over_tcp_ask_the_agent_at_once() {
    with_scene(|scene| {
        let (proto, payload) = over_tcp(&query(ID, WWW.0));
        scene.send(&from_pod(SERVICE, proto, payload));
        assert_eq!(scene.asked(), name(why::STREAM));

        let (proto, payload) = over_tcp(&query(ID, "nowhere.test"));
        scene.send(&from_pod(SERVICE, proto, payload));
        assert_eq!(scene.asked(), vec![], "a name that nobody watches");

        // The length and the message in a segment each.
        scene.send(&from_pod(
            SERVICE,
            TCP,
            framed(&query(ID, WWW.0))[2..].to_vec(),
        ));
        assert_eq!(scene.asked(), vec![(why::STREAM, String::new())]);
    });
}

/// The receiver's window decides where a server's segments begin: bytes of a record in a zone of somebody's own can look like
/// a whole message about any name. So a segment opens nothing, whatever it holds; the agent asks.
#[test]
fn segments_teach_nothing() {
    let whole = framed(&answer(ID, WWW.0, &[ip("198.51.100.1")]));
    let two = [&whole[..], &whole[..]].concat();
    for (payload, what) in [
        (&whole[..], "exactly one message"),
        (&whole[..whole.len() - 1], "not its end"),
        (&two[..], "two messages"),
    ] {
        for asked_over in [UDP, TCP] {
            with_scene(|scene| {
                let (proto, query) = if asked_over == TCP {
                    over_tcp(&query(ID, WWW.0))
                } else {
                    (UDP, query(ID, WWW.0).to_vec().unwrap())
                };
                scene.send(&from_pod(SERVICE, proto, query));
                scene.asked();
                scene.deliver(&to_pod(SERVICE, TCP, payload.to_vec()));
                assert!(scene.rows().is_empty(), "{what}");
                assert_eq!(scene.asked(), name(why::STREAM), "{what}");
                assert_eq!(scene.counters().unread, 1, "{what}");
            });
        }
    }
}

/// A name that no rule of the project has, and a server that nobody trusts, cost the agent nothing.
#[test]
fn segments_of_others_ask_nobody() {
    with_scene(|scene| {
        for (server, of) in [(SERVICE, "nowhere.test"), (UNTRUSTED, WWW.0)] {
            let (proto, payload) = over_tcp(&answer(ID, of, &[ip("198.51.100.1")]));
            scene.deliver(&to_pod(server, proto, payload));
            assert_eq!(scene.asked(), [], "{of} of {server}");
        }
        assert!(scene.rows().is_empty());
    });
}

#[test]
fn more_records_than_are_read() {
    with_scene(|scene| {
        scene.ask(SERVICE, ID, WWW.0);
        let mut message = bare_answer(ID, WWW.0);
        for last in 1..=130 {
            message.add_answer(record(WWW.0, 60, [198, 51, 100, last].into()));
        }
        scene.reply(SERVICE, &message);
        assert_eq!(scene.rows().len(), 128);
        assert_eq!(scene.asked(), name(why::TOO_MANY));
    });
}

#[test]
fn nonsense() {
    with_scene(|scene| {
        let good = answer(ID, WWW.0, &[ip("198.51.100.1")]).to_vec().unwrap();
        // Nobody waits for this one.
        scene.deliver(&to_pod(SERVICE, UDP, good[..20].to_vec()));
        assert_eq!(scene.asked(), vec![]);

        scene.ask(SERVICE, ID, WWW.0);
        scene.deliver(&to_pod(SERVICE, UDP, good[..20].to_vec()));
        assert_eq!(
            scene.asked(),
            vec![(why::UNREADABLE, String::new())],
            "no name"
        );
        // A record that is longer than the message.
        let mut long = good.clone();
        long[12 + 17 + 4 + 10] = 0xff;
        scene.deliver(&to_pod(SERVICE, UDP, long));
        assert_eq!(scene.asked(), name(why::UNREADABLE));
        assert!(scene.rows().is_empty());
        assert_eq!(scene.counters().unread, 2);
    });
}

/// A pod must not fill the ring that all projects share.
#[test]
fn events_have_a_budget() {
    with_scene(|scene| {
        let (proto, payload) = over_tcp(&query(ID, WWW.0));
        let frame = from_pod(SERVICE, proto, payload);
        for _ in 0..1000 {
            scene.send(&frame);
        }
        let told = scene.asked().len() as u64;
        assert!(told >= 50, "{told} events");
        assert_eq!(
            told + scene.counters().suppressed,
            1000,
            "the rest is counted"
        );
        assert!(told < 1000, "some were held back");
    });
}
