use std::sync::atomic::Ordering;

use serde_json::json;
use weft_agent::netlink::Netlink;

use crate::node::{Node, Pod};

const DUAL: &[&str] = &["10.128.4.0/23", "fd01:0:0:4::/64"];

#[test]
fn check_sees_what_was_changed() {
    let node = Node::new(DUAL);
    let pod = Pod::new(&node, "web");
    let result = node.add(&pod).ok();
    node.check(&pod, &result).ok();
    pod.exec("ip route replace default dev lo"); // an egress router may do this
    node.check(&pod, &result).ok();

    let cases = [
        (
            "ip link set eth0 mtu 1400",
            "ip link set eth0 mtu 1450",
            "MTU 1400",
        ),
        (
            "ip link set eth0 address 0a:58:00:00:00:99",
            "ip link set eth0 address 0a:58:0a:80:04:02",
            "MAC",
        ),
        (
            "ip addr del 10.128.4.2/32 dev eth0",
            "ip addr add 10.128.4.2/32 dev eth0",
            "10.128.4.2",
        ),
        (
            "ip link set eth0 down",
            "ip link set eth0 up; ip addr add fd01:0:0:4::2/128 dev eth0 nodad",
            "down",
        ),
    ];
    for (change, back, reason) in cases {
        pod.exec(change);
        let message = node.check(&pod, &result).error(103);
        assert!(message.contains(reason), "{change}: {message}");
        pod.exec(back);
        node.check(&pod, &result).ok();
    }

    node.fake.fail_verify.store(true, Ordering::SeqCst);
    let message = node.check(&pod, &result).error(103);
    assert!(message.contains("missing in the kernel"), "{message}");
    node.fake.fail_verify.store(false, Ordering::SeqCst);

    let mut other = result.clone();
    other["ips"][0]["address"] = json!("10.128.4.77/32");
    let message = node.check(&pod, &other).error(103);
    assert!(message.contains("prevResult"), "{message}");

    let stranger = Pod::new(&node, "stranger");
    let message = node.check(&stranger, &result).error(3);
    assert!(message.contains(&stranger.container), "{message}");

    pod.exec("ip link del eth0; ip link add eth0 type veth");
    let message = node.check(&pod, &result).error(103);
    assert!(
        message.contains("gone"),
        "the host's end went with the pod's: {message}"
    );
    let opened = node.netns.run(Netlink::open).unwrap();
    assert!(opened.is_ok());
}
