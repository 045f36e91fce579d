use std::sync::atomic::Ordering;

use crate::node::{Node, Pod, first_ip};

#[test]
fn an_add_that_fails_leaves_nothing() {
    let node = Node::new(&["10.128.4.0/23"]);
    let pod = Pod::new(&node, "web");
    node.fake.fail_attach.store(true, Ordering::SeqCst);
    let message = node.add(&pod).error(100);
    assert!(
        message.contains("the kernel refused the program"),
        "{message}"
    );
    node.assert_empty();

    *node.fake.unknown_project.lock().unwrap() = Some("shop".into());
    let message = node.add(&pod).error(11);
    assert!(message.contains("NetNamespace"), "{message}");
    node.assert_empty();

    // An undo that fails is finished by DEL.
    *node.fake.unknown_project.lock().unwrap() = None;
    node.fake.fail_detach.store(true, Ordering::SeqCst);
    let printed = node.add(&pod);
    assert!(
        printed.json["details"]
            .as_str()
            .unwrap()
            .contains("the map is away"),
        "{printed:?}"
    );
    assert_eq!(node.files().len(), 1, "still known");
    node.del(&pod).error(100);
    node.fake.fail_detach.store(false, Ordering::SeqCst);
    node.del(&pod).ok();
    node.assert_empty();
}

#[test]
fn a_full_subnet_is_named_and_a_freed_address_serves_again() {
    let node = Node::new(&["10.128.4.0/29"]);
    let pods: Vec<Pod> = (0..6).map(|n| Pod::new(&node, &format!("p{n}"))).collect();
    for pod in &pods[..5] {
        node.status().ok();
        node.add(pod).ok();
    }
    let message = node.add(&pods[5]).error(102);
    assert!(
        message.contains("10.128.4.0/29") && message.contains("all 5"),
        "{message}"
    );
    let message = node.status().error(50);
    assert!(message.contains("10.128.4.0/29"), "{message}");
    assert!(!pods[5].exec("ip link").contains("eth0"));
    node.del(&pods[2]).ok();
    assert_eq!(first_ip(&node.add(&pods[5]).ok()), "10.128.4.4");
}
