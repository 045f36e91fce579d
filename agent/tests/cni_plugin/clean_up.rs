use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::sync::atomic::Ordering;

use serde_json::json;
use weft_agent::cni::protocol::{self, Call, PROTOCOL, Verb};
use weft_agent::cni::request::{Environment, Request};
use weft_agent::cni::spec::{Command, SpecVersion};
use weft_wait::eventually;

use crate::node::{Node, Pod};

#[test]
fn gc_removes_what_the_runtime_does_not_list() {
    let node = Node::new(&["10.128.4.0/23"]);
    let pods: Vec<Pod> = (0..4).map(|n| Pod::new(&node, &format!("p{n}"))).collect();
    for pod in &pods[..3] {
        node.add(pod).ok();
    }
    let mut foreign = node.conf("1.1.0");
    foreign["name"] = json!("another-network");
    let foreign_result = node.plugin(&pods[3].env("ADD"), &foreign).ok();

    node.gc(&[&pods[0], &pods[1], &pods[2]]).ok();
    assert_eq!(node.files().len(), 4);
    node.gc(&[&pods[1]]).ok();
    let known = node.fake.endpoints.lock().unwrap().clone();
    assert_eq!(known.len(), 2);
    assert!(known.contains_key(&pods[1].id()));
    assert!(
        known.contains_key(&pods[3].id()),
        "another network's attachment is not this one's to remove"
    );
    assert_eq!(node.veths().len(), 2);
    foreign["prevResult"] = foreign_result;
    node.plugin(&pods[3].env("CHECK"), &foreign).ok();

    let mut without_list = node.conf("1.1.0");
    let message = node
        .plugin(&[("CNI_COMMAND", "GC")], &without_list)
        .error(7);
    assert!(message.contains("cni.dev/valid-attachments"), "{message}");
    assert_eq!(node.veths().len(), 2, "a missing list is not an empty one");

    node.fake.fail_detach.store(true, Ordering::SeqCst);
    let printed = node.gc(&[]);
    assert!(
        printed.json["details"]
            .as_str()
            .unwrap()
            .contains("the map is away"),
        "{printed:?}"
    );
    node.fake.fail_detach.store(false, Ordering::SeqCst);
    node.gc(&[]).ok();
    without_list["name"] = json!("another-network");
    without_list["cni.dev/valid-attachments"] = json!([]);
    node.plugin(&[("CNI_COMMAND", "GC")], &without_list).ok();
    node.assert_empty();
}

#[test]
fn gc_removes_an_interface_that_no_attachment_has() {
    let node = Node::new(&["10.128.4.0/23"]);
    let pod = Pod::new(&node, "web");
    node.add(&pod).ok();
    let add = |name: &str| {
        let args = ["link", "add", name, "type", "veth"]; // the kernel names the other end
        let status = node
            .netns
            .run(|| std::process::Command::new("ip").args(args).status());
        assert!(status.unwrap().unwrap().success());
    };
    add("weft0123456789");
    add("weft-tool");
    node.gc(&[&pod]).ok();
    let names: Vec<String> = node.veths().into_iter().map(|l| l.name).collect();
    assert!(!names.contains(&"weft0123456789".to_owned()), "{names:?}");
    assert!(
        names.contains(&"weft-tool".to_owned()),
        "not a name of ours: {names:?}"
    );
    assert_eq!(
        names.len(),
        3,
        "the pod's own stays, and the tool's other end: {names:?}"
    );
}

/// The plugin is killed while the agent works.
#[test]
fn an_add_nobody_waits_for_is_undone() {
    let node = Node::new(&["10.128.4.0/23"]);
    let pod = Pod::new(&node, "web");
    *node.fake.hold_attach.lock().unwrap() = true;
    let mut stream = call(&node, &pod, 30_000);
    eventually("the intent is written", || node.files().len() == 1);
    stream.flush().unwrap();
    drop(stream);
    *node.fake.hold_attach.lock().unwrap() = false;
    node.fake.released.notify_all();
    eventually("nothing is left", || node.files().is_empty());
    node.assert_empty();
}

#[test]
fn an_add_past_its_deadline_is_undone_and_says_so() {
    let node = Node::new(&["10.128.4.0/23"]);
    let pod = Pod::new(&node, "web");
    *node.fake.hold_attach.lock().unwrap() = true;
    let mut stream = call(&node, &pod, 200);
    let (answer, _) = protocol::receive(&mut stream).unwrap();
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.contains("\"code\":11"), "{answer}");
    assert!(
        answer.contains("not done before the deadline: rows"),
        "{answer}"
    );
    node.assert_empty();

    // A second request for the same attachment does not wait for ever either.
    let _first = call(&node, &pod, 3_000);
    eventually("the first is being served", || node.files().len() == 1);
    let mut second = call(&node, &pod, 50);
    let (answer, _) = protocol::receive(&mut second).unwrap();
    let answer = String::from_utf8(answer).unwrap();
    assert!(
        answer.contains("another request") && answer.contains("\"code\":11"),
        "{answer}"
    );
}

/// Sends an ADD and leaves the answer unread.
fn call(node: &Node, pod: &Pod, patience_ms: u64) -> UnixStream {
    let env = pod.env("ADD");
    let variables = |name: &str| {
        let found = env.iter().find(|(n, _)| *n == name);
        found.map(|(_, v)| v.into())
    };
    let text = node.conf("1.1.0").to_string();
    let conf = weft_agent::cni::netconf::NetConf::parse(text.as_bytes()).unwrap();
    let request = Environment(variables).request(Command::Add, &conf).unwrap();
    let Request::Add {
        attachment,
        netns,
        pod: pod_ref,
        bandwidth,
    } = request
    else {
        panic!("{request:?}");
    };
    let call = Call {
        protocol: PROTOCOL,
        version: SpecVersion::CURRENT,
        network: "weft".into(),
        patience_ms,
        verb: Verb::Add {
            attachment,
            netns,
            pod: pod_ref,
            bandwidth,
        },
    };
    let mut stream = UnixStream::connect(conf.socket()).unwrap();
    let fd = std::os::fd::AsFd::as_fd(&pod.netns);
    protocol::send(&mut stream, &call, Some(fd)).unwrap();
    stream
}
