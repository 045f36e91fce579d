//! What answers teach.

use hickory_proto::rr::RecordType;

use super::messages::{alias, answer, bare_answer, ip, query, record};
use super::scene::{
    API, CDN, EXAMPLE, ID, LOCAL, POD, PORT, SERVICE, SERVICE6, TTL_MIN, WWW, from_pod, now,
    seconds, to_pod, with_scene,
};
use crate::frames::{Frame, UDP, frame};
use crate::rig::interface;

#[test]
fn an_answer_teaches_its_address() {
    with_scene(|scene| {
        let before = now();
        scene.exchange(WWW.0, &[ip("198.51.100.1")]);
        let row = scene.row("198.51.100.1").expect("the address");
        assert_eq!(row.names[0].name, WWW.1);
        assert_eq!(row.names[0].ttl, 60);
        assert_eq!(row.names[0].ifindex, interface("a"));
        let left = seconds(row.names[0].expires - before);
        assert!(
            (120..130).contains(&left),
            "TTL and as much grace: {left} s"
        );
        assert_eq!(row.used, 0, "nobody has used it yet");
        let counters = scene.counters();
        assert_eq!(
            (counters.learned, counters.distrusted, counters.unread),
            (1, 0, 0)
        );
        assert_eq!(scene.asked(), vec![]);
    });
}

#[test]
fn names_and_domains() {
    with_scene(|scene| {
        for (of, numbers, why) in [
            (
                API.0,
                vec![API.1, EXAMPLE.1],
                "a name and the domain above it",
            ),
            (
                "API.Example.COM",
                vec![API.1, EXAMPLE.1],
                "letters of either case",
            ),
            (
                "a.b.c.example.com",
                vec![EXAMPLE.1],
                "several labels below a domain",
            ),
            (
                "example.com",
                vec![],
                "the domain itself is not below itself",
            ),
            ("badexample.com", vec![], "whole labels only"),
            (
                "x.www.example.org",
                vec![],
                "below a name that stands for itself",
            ),
            ("only.other.test", vec![], "a name of another policy"),
            ("nowhere.test", vec![], "a name of no policy"),
        ] {
            scene.exchange(of, &[ip("198.51.100.1")]);
            assert_eq!(scene.names_of("198.51.100.1"), numbers, "{why}");
            let mut rows = scene.map::<_, weft_ebpf::rows::egress::LearnedRow>("LEARNED");
            let keys: Vec<_> = scene.rows().into_keys().collect();
            for key in keys {
                rows.remove(&weft_agent::bpf::Row(key)).unwrap();
            }
        }
    });
}

#[test]
fn two_names_of_one_address() {
    with_scene(|scene| {
        scene.exchange(WWW.0, &[ip("198.51.100.1")]);
        scene.exchange(CDN.0, &[ip("198.51.100.1"), ip("198.51.100.2")]);
        assert_eq!(scene.names_of("198.51.100.1"), vec![WWW.1, CDN.1]);
        assert_eq!(scene.names_of("198.51.100.2"), vec![CDN.1]);
    });
}

#[test]
fn times() {
    with_scene(|scene| {
        for (n, (ttl, alias_ttl, grace, held, why)) in [
            (300, None, 0, 600, "as much grace as TTL"),
            (
                0,
                None,
                0,
                TTL_MIN + 30,
                "a floor, and half a minute at least",
            ),
            (20, None, 0, 50, "half a minute at least"),
            (86_400, None, 0, 3600, "a ceiling"),
            (300, Some(40), 0, 80, "no longer than its alias"),
            (300, None, 7, 307, "a grace that is set"),
            (
                u32::MAX,
                None,
                0,
                TTL_MIN + 30,
                "a TTL of more than 31 bits is none",
            ),
        ]
        .into_iter()
        .enumerate()
        {
            scene.set_node(1000, grace);
            let address = format!("198.51.100.{}", n + 1);
            scene.ask(SERVICE, ID, WWW.0);
            let mut message = bare_answer(ID, WWW.0);
            let mut owner = WWW.0;
            if let Some(ttl) = alias_ttl {
                message.add_answer(alias(WWW.0, ttl, "edge.test"));
                owner = "edge.test";
            }
            message.add_answer(record(owner, ttl, ip(&address)));
            let before = now();
            scene.reply(SERVICE, &message);
            let row = scene.row(&address).expect(why);
            let left = seconds(row.names[0].expires - before);
            let held = u64::from(held);
            assert!((held..held + 10).contains(&left), "{why}: {left} s");
        }
    });
}

#[test]
fn a_shorter_time_does_not_shorten() {
    with_scene(|scene| {
        let times: Vec<u64> = [600, 30, 900]
            .into_iter()
            .map(|ttl| {
                scene.ask(SERVICE, ID, WWW.0);
                let mut message = bare_answer(ID, WWW.0);
                message.add_answer(record(WWW.0, ttl, ip("198.51.100.1")));
                scene.reply(SERVICE, &message);
                scene.row("198.51.100.1").unwrap().names[0].expires
            })
            .collect();
        assert_eq!(times[0], times[1], "a refresh with less changes nothing");
        assert!(times[2] > times[1], "a refresh with more does");
        assert_eq!(scene.names_of("198.51.100.1"), vec![WWW.1], "one place");
    });
}

#[test]
fn a_hundred_records_and_a_chain_of_aliases() {
    with_scene(|scene| {
        scene.ask(SERVICE, ID, WWW.0);
        let mut message = bare_answer(ID, WWW.0);
        message.add_answer(alias(WWW.0, 60, "one.test"));
        message.add_answer(alias("one.test", 50, "two.test"));
        for last in 1..=100 {
            message.add_answer(record("two.test", 60, [198, 51, 100, last].into()));
        }
        scene.reply(SERVICE, &message);
        assert_eq!(scene.rows().len(), 100);
        assert!(scene.rows().values().all(|row| row.names[0].ttl == 50));
        assert_eq!(scene.counters().learned, 100);
        assert_eq!(scene.asked(), vec![]);
    });
}

#[test]
fn over_ipv6_and_of_ipv6() {
    with_scene(|scene| {
        scene.ask(SERVICE6, ID, WWW.0);
        let addresses = [ip("2001:db8::1"), ip("198.51.100.1")];
        scene.reply(SERVICE6, &answer(ID, WWW.0, &addresses));
        assert_eq!(scene.names_of("2001:db8::1"), vec![WWW.1]);
        assert_eq!(scene.names_of("198.51.100.1"), vec![WWW.1]);

        // Behind extension headers.
        scene.ask(SERVICE6, ID, WWW.0);
        let message = answer(ID, WWW.0, &[ip("2001:db8::2")]);
        scene.deliver(&Frame {
            extensions: 2,
            ..to_pod(SERVICE6, UDP, message.to_vec().unwrap())
        });
        assert_eq!(scene.names_of("2001:db8::2"), vec![WWW.1]);
    });
}

/// The server is a pod of this node: its answer never passes `to_pod`.
#[test]
fn from_a_pod_of_this_node() {
    with_scene(|scene| {
        scene.ask(LOCAL, ID, WWW.0);
        let message = answer(ID, WWW.0, &[ip("198.51.100.1")]);
        let reply = Frame {
            proto: UDP,
            src_port: 53,
            dst_port: PORT,
            payload: message.to_vec().unwrap(),
            ..frame(LOCAL, POD)
        };
        let (code, _) = scene.rig.run("from_pod", interface("c"), &reply.bytes());
        assert_eq!(code, 7, "redirected");
        assert_eq!(scene.names_of("198.51.100.1"), vec![WWW.1]);
    });
}

/// Other questions are none of ours: nothing is noted and nothing is missed.
#[test]
fn other_types() {
    with_scene(|scene| {
        let mut message = query(ID, WWW.0);
        message.queries[0].set_query_type(RecordType::TXT);
        scene.send(&from_pod(SERVICE, UDP, message.to_vec().unwrap()));
        let mut message = answer(ID, WWW.0, &[ip("198.51.100.1")]);
        message.queries[0].set_query_type(RecordType::TXT);
        scene.reply(SERVICE, &message);
        assert!(scene.rows().is_empty());
        assert_eq!(scene.counters().distrusted, 0);
    });
}
