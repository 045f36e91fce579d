use std::sync::Barrier;

use crate::node::{Node, Pod, first_ip};

const V4: &[&str] = &["10.128.4.0/23"];
const DUAL: &[&str] = &["10.128.4.0/23", "fd01:0:0:4::/64"];

#[test]
fn a_pod_gets_what_the_data_path_expects_of_it() {
    let node = Node::new(DUAL);
    let pod = Pod::new(&node, "web");
    node.add(&pod).ok();

    let link = pod.exec("ip -d link show eth0");
    assert!(
        link.contains("mtu 1450") && link.contains("0a:58:0a:80:04:02"),
        "{link}"
    );
    assert!(link.contains("state UP"), "packets pass at once: {link}");
    let addresses = pod.exec("ip -o addr show dev eth0");
    assert!(addresses.contains("10.128.4.2/32"), "{addresses}");
    assert!(addresses.contains("fd01:0:0:4::2/128"), "{addresses}");
    assert!(
        !addresses.contains("tentative"),
        "usable at once: {addresses}"
    );
    assert!(
        !addresses.contains("fe80"),
        "no address that nobody assigned: {addresses}"
    );

    let routes = pod.exec("ip route show");
    for route in [
        "default via 169.254.1.1 dev eth0",
        "169.254.1.1 dev eth0",
        "10.128.0.0/14 via 169.254.1.1 dev eth0",
        "172.30.0.0/16 via 169.254.1.1 dev eth0",
        "224.0.0.0/4 dev eth0",
    ] {
        assert!(routes.contains(route), "{route} is missing: {routes}");
    }
    let routes = pod.exec("ip -6 route show");
    for route in [
        "default via fe80::1 dev eth0",
        "fd01::/48 via fe80::1 dev eth0",
    ] {
        assert!(routes.contains(route), "{route} is missing: {routes}");
    }
    let neighbours = pod.exec("ip neigh show; ip -6 neigh show");
    for hop in ["169.254.1.1", "fe80::1"] {
        let entry = format!("{hop} dev eth0 lladdr 0a:58:a9:fe:01:01 PERMANENT");
        assert!(neighbours.contains(&entry), "{neighbours}");
    }
    assert!(
        pod.exec("ip -o addr show dev lo").contains("127.0.0.1/8"),
        "loopback is up"
    );
    assert_eq!(
        pod.exec("cat /proc/sys/net/ipv6/conf/eth0/accept_ra")
            .trim(),
        "0"
    );

    let veths = node.veths();
    assert_eq!(veths.len(), 1);
    assert_eq!(veths[0].mac, weft_ebpf::rows::GATEWAY_MAC);
    let host = node.netns.run(|| {
        let show = ["-d", "addr", "show", &veths[0].name];
        std::process::Command::new("ip")
            .args(show)
            .output()
            .unwrap()
            .stdout
    });
    let host = String::from_utf8(host.unwrap()).unwrap();
    assert!(host.contains("NOARP") && !host.contains("inet6"), "{host}");

    let known = node
        .fake
        .endpoints
        .lock()
        .unwrap()
        .get(&pod.id())
        .cloned()
        .unwrap();
    assert_eq!(
        (known.project.as_str(), known.pod.as_str()),
        ("shop", "web")
    );
    assert_eq!(known.host_ifindex, veths[0].index);

    node.del(&pod).ok();
    node.assert_empty();
    assert!(!pod.exec("ip link").contains("eth0"));
}

#[test]
fn an_ipv6_only_pod_takes_its_mac_from_the_address() {
    let node = Node::new(&["fd01:0:0:4::/64"]);
    let pod = Pod::new(&node, "six");
    // Some runtimes switch IPv6 off in new namespaces.
    pod.exec("echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6");
    let result = node.add(&pod).ok();
    assert_eq!(result["interfaces"][1]["mac"], "0a:58:00:00:00:02");
    assert!(
        pod.exec("ip -6 -o addr show dev eth0")
            .contains("fd01:0:0:4::2/128")
    );
    node.del(&pod).ok();
}

#[test]
fn add_twice_gives_the_same_result_and_del_twice_succeeds() {
    let node = Node::new(V4);
    let pod = Pod::new(&node, "web");
    let first = node.add(&pod).ok();
    assert_eq!(node.add(&pod).ok(), first);
    assert_eq!(node.veths().len(), 1);
    node.del(&pod).ok();
    node.del(&pod).ok();
    node.assert_empty();
}

#[test]
fn add_again_repairs_an_attachment_whose_interface_was_lost() {
    let node = Node::new(V4);
    let pod = Pod::new(&node, "web");
    let first = node.add(&pod).ok();
    pod.exec("ip link del eth0");
    let second = node.add(&pod).ok();
    assert_ne!(first_ip(&first), first_ip(&second), "a new attachment");
    assert_eq!(node.veths().len(), 1);
    assert_eq!(node.files().len(), 1);
    node.check(&pod, &second).ok();
}

#[test]
fn del_needs_no_namespace() {
    let node = Node::new(V4);
    for netns in [None, Some(""), Some("/nonexistent")] {
        let pod = Pod::new(&node, "web");
        node.add(&pod).ok();
        let mut env = pod.env("DEL");
        env.retain(|(name, _)| !matches!(*name, "CNI_NETNS" | "CNI_ARGS"));
        env.extend(netns.map(|n| ("CNI_NETNS", n)));
        node.plugin(&env, &node.conf("1.1.0")).ok();
        node.assert_empty();
    }
    // The usual order of a runtime that was killed: the namespace goes first.
    let pod = Pod::new(&node, "gone");
    node.add(&pod).ok();
    let (env, conf) = (pod.env("DEL"), node.conf("1.1.0"));
    weft_netns::unpin(&pod.path).unwrap();
    node.plugin(&env, &conf).ok();
    node.assert_empty();
}

#[test]
fn a_second_container_cannot_take_an_interface_that_exists() {
    let node = Node::new(V4);
    let pod = Pod::new(&node, "web");
    let result = node.add(&pod).ok();
    let mut env = pod.env("ADD");
    env[1].1 = "another-container";
    let message = node.plugin(&env, &node.conf("1.1.0")).error(101);
    assert!(
        message.contains(&pod.container) && message.contains("shop/web"),
        "{message}"
    );

    let other = Pod::new(&node, "other");
    let mut env = pod.env("ADD");
    env[3].1 = &other.path;
    let message = node.plugin(&env, &node.conf("1.1.0")).error(101);
    assert!(
        message.contains(&pod.path) && message.contains("DEL"),
        "{message}"
    );

    other.exec("ip link add eth0 type veth");
    let message = node.add(&other).error(101);
    assert!(
        message.contains("eth0") && message.contains("weft did not make it"),
        "{message}"
    );
    assert!(
        other.exec("ip link show eth0").contains("eth0"),
        "somebody else's interface stays"
    );

    assert_eq!(node.veths().len(), 1, "nothing but the first pod is left");
    node.check(&pod, &result).ok();
}

#[test]
fn pods_are_attached_in_parallel_with_different_addresses() {
    let node = Node::new(DUAL);
    let pods: Vec<Pod> = (0..20).map(|n| Pod::new(&node, &format!("p{n}"))).collect();
    let start = Barrier::new(pods.len());
    let results: Vec<_> = std::thread::scope(|scope| {
        let add = |pod| {
            start.wait();
            node.add(pod).ok()
        };
        let threads: Vec<_> = pods
            .iter()
            .map(|pod| scope.spawn(move || add(pod)))
            .collect();
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    });
    let mut addresses: Vec<_> = results.iter().map(first_ip).collect();
    addresses.sort();
    addresses.dedup();
    assert_eq!(addresses.len(), 20);
    for (pod, result) in pods.iter().zip(&results) {
        node.check(pod, result).ok();
    }
    std::thread::scope(|scope| {
        for pod in &pods {
            scope.spawn(|| node.del(pod).ok());
        }
    });
    node.assert_empty();
    let metrics = node.server.as_ref().unwrap().metrics().snapshot();
    let ok = |verb| {
        metrics
            .iter()
            .find(|s| s.verb == verb && s.result == "ok")
            .unwrap()
            .took
            .count()
    };
    assert_eq!((ok("ADD"), ok("CHECK"), ok("DEL")), (20, 20, 20));
}

#[test]
fn requests_for_one_attachment_wait_for_each_other() {
    let node = Node::new(V4);
    let pod = Pod::new(&node, "web");
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| node.add(&pod).ok());
        }
    });
    assert_eq!(
        node.veths().len(),
        1,
        "one ADD made it, the others found it"
    );
    std::thread::scope(|scope| {
        for round in 0..8 {
            let pod = &pod;
            let node = &node;
            scope.spawn(move || match round % 2 {
                0 => drop(node.add(pod).ok()),
                _ => drop(node.del(pod).ok()),
            });
        }
    });
    node.del(&pod).ok();
    node.assert_empty();
}
