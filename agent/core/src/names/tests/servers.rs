//! Which servers are asked, and in which order.

use super::super::{Answer, Failure, Failures, Family, Report};
use super::scene::{SECOND, Scene, fails, family, name, server, v4};

const WWW: &str = "www.example";

/// The first server is silent, the second one answers.
fn second_answers(ttl: u64) -> Report {
    Report {
        failures: Failures(vec![(server(1), Failure::Timeout)]),
        answer: Some(Answer {
            server: server(2),
            v4: family(&["10.0.0.1"], ttl),
            v6: Family::Nothing,
        }),
    }
}

fn two_servers() -> Scene {
    let mut scene = Scene::new();
    scene.names.set_servers(&[server(1), server(2)], scene.now);
    scene
}

/// The order in which a name is asked now.
fn order(scene: &mut Scene, text: &str) -> Vec<u8> {
    scene.names.resolve_now(name(text), scene.now);
    scene.step();
    let lookup = scene.running.iter().find(|l| l.name.as_str() == text);
    let order = lookup.unwrap().servers.clone();
    let last_byte = |server: std::net::SocketAddr| match server.ip() {
        std::net::IpAddr::V4(ip) => ip.octets()[3],
        std::net::IpAddr::V6(_) => 0,
    };
    order.into_iter().map(last_byte).collect()
}

#[test]
fn a_silent_server_moves_to_the_end_and_one_lookup_tries_it_later() {
    let mut scene = two_servers();
    for i in 0..3 {
        let text = format!("n{i}.example");
        assert_eq!(order(&mut scene, &text), [1, 2], "after {i} silences");
        scene.answer(&text, second_answers(60));
    }
    assert_eq!(order(&mut scene, "x.example"), [2, 1]);
    scene.pass(30 * SECOND);
    assert_eq!(order(&mut scene, "y.example"), [1, 2], "one finds out");
    assert_eq!(
        order(&mut scene, "z.example"),
        [2, 1],
        "the others do not wait for it"
    );
    scene.answer("y.example", v4(&["10.0.0.1"], 60));
    assert_eq!(order(&mut scene, "w.example"), [1, 2], "it is back");
}

#[test]
fn a_server_that_says_no_is_not_silent() {
    let mut scene = two_servers();
    for i in 0..10 {
        let text = format!("n{i}.example");
        assert_eq!(order(&mut scene, &text), [1, 2]);
        let failures = vec![
            (server(1), Failure::ServFail),
            (server(2), Failure::NxDomain),
        ];
        let report = Report {
            failures: Failures(failures),
            answer: None,
        };
        scene.answer(&text, report);
    }
}

#[test]
fn when_a_server_comes_back_failing_names_do_not_wait_for_their_back_off() {
    let mut scene = Scene::new();
    scene.watch(&["a.example", "b.example"]);
    scene.pass_answering(40 * SECOND, &fails(Failure::Timeout));
    assert_eq!(scene.asked_at("a.example"), [0, 1, 3, 7, 15, 31]);
    scene.names.resolve_now(name(WWW), scene.now);
    scene.step();
    scene.answer(WWW, v4(&["10.0.0.1"], 60));
    assert!(scene.is_asked("a.example") && scene.is_asked("b.example"));
}

#[test]
fn other_servers_mean_that_every_name_is_asked_anew_spread_out() {
    let mut scene = Scene::picking(super::super::Limits::default(), |span| span / 2);
    let names: Vec<String> = (0..1000).map(|i| format!("n{i}.example")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    scene.watch(&names);
    while let Some(lookup) = scene.running.pop() {
        let report = v4(&["10.0.0.1"], 1800);
        scene.names.finished(lookup.id, report, scene.now);
        scene.step();
    }
    scene.pass(10 * SECOND);
    assert_eq!(scene.asked.len(), 1000);
    scene.names.set_servers(&[server(1)], scene.now);
    scene.pass(10 * SECOND);
    assert_eq!(scene.asked.len(), 1000, "the same servers are no news");

    scene.names.set_servers(&[server(3)], scene.now);
    scene.step();
    assert!(scene.running.is_empty(), "not all at once");
    scene.pass_answering(SECOND, &v4(&["10.0.0.1"], 1800));
    assert_eq!(scene.asked.len(), 2000, "but soon");
    assert_eq!(scene.names.servers(), [server(3)]);
}

#[test]
fn an_answer_that_the_old_servers_still_gave_is_asked_for_again() {
    let mut scene = Scene::new();
    scene.watch(&[WWW]);
    scene.names.set_servers(&[server(3)], scene.now);
    scene.answer(WWW, v4(&["10.0.0.1"], 1800));
    assert_eq!(scene.running.len(), 1);
    assert_eq!(scene.running[0].servers, [server(3)]);
}
