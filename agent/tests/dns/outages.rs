//! Servers that are away, and several of them.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hickory_proto::op::ResponseCode;
use weft_core::names::NameState;

use super::rig::{Rig, settings};
use super::server::{Reply, Server, addresses, fresh_ip};

const WWW: &str = "www.test";

/// An address where nobody answers.
fn nobody() -> SocketAddr {
    (fresh_ip(), 53_053).into()
}

#[test]
fn a_server_that_is_away_at_start_is_found_when_it_comes() {
    let address = nobody();
    let rig = Rig::start(settings(&[address]));
    rig.watch(&[WWW]);
    let error = rig.wait_for_error(WWW);
    assert!(error.contains(&address.to_string()), "{error}");
    assert!(rig.addresses(WWW).is_empty());
    let _server = Server::at(address, |asked| addresses(asked, 60, &["192.0.2.1"]));
    rig.wait_for(WWW, &["192.0.2.1"]);
}

#[test]
fn a_server_that_goes_and_comes_back_loses_nothing() {
    let first = Server::start(|asked| addresses(asked, 1, &["192.0.2.1"]));
    let address = first.address;
    let rig = Rig::start(settings(&[address]));
    rig.watch(&[WWW]);
    rig.wait_for(WWW, &["192.0.2.1"]);
    drop(first);
    rig.wait_for_error(WWW);
    rig.wait_for(WWW, &["192.0.2.1"]);
    let _second = Server::at(address, |asked| addresses(asked, 60, &["192.0.2.2"]));
    rig.wait_for(WWW, &["192.0.2.1", "192.0.2.2"]);
    assert!(matches!(
        rig.resolution(WWW).state,
        NameState::Resolved { .. }
    ));
}

#[test]
fn an_unreachable_network_is_a_failure_of_that_server() {
    let server = Server::start(|asked| addresses(asked, 60, &["192.0.2.1"]));
    // The kernel refuses at once where no route leads to it; elsewhere nobody answers.
    let unreachable = "[2001:db8:ffff::1]:53".parse().unwrap();
    let rig = Rig::start(settings(&[unreachable, server.address]));
    rig.watch(&[WWW]);
    rig.wait_for(WWW, &["192.0.2.1"]);
}

#[test]
fn servers_are_asked_in_order_until_one_has_an_address() {
    let says_no = Server::start(|asked| match asked.name.as_str() {
        "servfail.test" => Reply::Code(ResponseCode::ServFail),
        "nxdomain.test" => Reply::Code(ResponseCode::NXDomain),
        "empty.test" => Reply::Records(vec![]),
        _ => addresses(asked, 60, &["192.0.2.1"]),
    });
    let knows = Server::start(|asked| match asked.name.as_str() {
        "nowhere.test" => Reply::Code(ResponseCode::NXDomain),
        _ => addresses(asked, 60, &["192.0.2.2"]),
    });
    let rig = Rig::start(settings(&[nobody(), says_no.address, knows.address]));
    rig.watch(&[WWW, "servfail.test", "nxdomain.test", "empty.test"]);
    rig.wait_for(WWW, &["192.0.2.1"]);
    for name in ["servfail.test", "nxdomain.test", "empty.test"] {
        rig.wait_for(name, &["192.0.2.2"]);
    }
    assert_eq!(knows.asked(WWW, false), 0, "the one before had an address");
    let NameState::Resolved { server, .. } = rig.resolution("empty.test").state else {
        panic!("resolved");
    };
    assert_eq!(server, knows.address);
}

#[test]
fn a_server_that_answers_on_ipv6_and_a_hanging_tcp_connection() {
    // Over UDP everything is cut short; over TCP the first connection's queries are never answered.
    let server = Server::at("[::1]:0".parse().unwrap(), |asked| {
        match (asked.tcp, asked.before) {
            (false, _) => Reply::Truncated,
            (true, 0) => Reply::Silence,
            (true, _) => addresses(asked, 60, &["192.0.2.1"]),
        }
    });
    let rig = Rig::start(settings(&[server.address]));
    rig.watch(&[WWW]);
    rig.wait_for(WWW, &["192.0.2.1"]);
}

#[test]
fn dropping_the_resolver_does_not_wait_for_servers() {
    let server = Server::start(|_| Reply::Silence);
    let mut settings = settings(&[server.address]);
    settings.timeout = Duration::from_mins(1);
    let rig = Rig::start(settings);
    rig.watch(&[WWW]);
    rig.wait("a query", |_| server.asked(WWW, false) > 0);
    let begin = Instant::now();
    drop(rig);
    assert!(begin.elapsed() < Duration::from_secs(5));
}
