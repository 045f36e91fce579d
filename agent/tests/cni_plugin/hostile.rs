use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;

use serde_json::{Value, json};

use crate::node::{Node, Pod, run_plugin};

/// What is changed in a good ADD, the error code, and what the message must contain.
type Case<'a> = (&'a str, Option<&'a str>, u32, &'a str);

#[test]
fn a_bad_environment_is_refused_by_the_variables_name() {
    let node = Node::new(&["10.128.4.0/23"]);
    let pod = Pod::new(&node, "web");
    let long = "a".repeat(300);
    let many = "K=V;".repeat(5000);
    let plain_file = node.dir.join("plain");
    std::fs::write(&plain_file, "x").unwrap();
    let plain_file = plain_file.to_str().unwrap();
    let cases: &[Case<'_>] = &[
        ("CNI_COMMAND", None, 4, "CNI_COMMAND"),
        ("CNI_COMMAND", Some("add"), 4, "ADD, DEL"),
        ("CNI_CONTAINERID", None, 4, "CNI_CONTAINERID"),
        ("CNI_CONTAINERID", Some(""), 4, "CNI_CONTAINERID"),
        (
            "CNI_CONTAINERID",
            Some("../../etc/passwd"),
            4,
            "CNI_CONTAINERID",
        ),
        ("CNI_CONTAINERID", Some("a\nb"), 4, "\\n"),
        ("CNI_CONTAINERID", Some(&long), 4, "300 bytes"),
        ("CNI_IFNAME", None, 4, "CNI_IFNAME"),
        ("CNI_IFNAME", Some("../eth0"), 4, "CNI_IFNAME"),
        ("CNI_IFNAME", Some(".."), 4, "CNI_IFNAME"),
        ("CNI_IFNAME", Some("eth%d"), 4, "CNI_IFNAME"),
        ("CNI_IFNAME", Some("lo"), 4, "eth0"),
        ("CNI_IFNAME", Some("sixteen-letters-"), 4, "15"),
        ("CNI_NETNS", None, 4, "CNI_NETNS"),
        (
            "CNI_NETNS",
            Some("/nonexistent/ns"),
            4,
            "CNI_NETNS=/nonexistent/ns",
        ),
        ("CNI_NETNS", Some(plain_file), 4, "regular file"),
        ("CNI_NETNS", Some("/proc/self/ns/mnt"), 4, "mount namespace"),
        ("CNI_NETNS", Some("/dev/null"), 4, "device"),
        ("CNI_ARGS", None, 4, "CNI_ARGS"),
        (
            "CNI_ARGS",
            Some("K8S_POD_NAME=p"),
            4,
            "K8S_POD_NAMESPACE is missing",
        ),
        (
            "CNI_ARGS",
            Some("K8S_POD_NAMESPACE=a"),
            4,
            "K8S_POD_NAME is missing",
        ),
        ("CNI_ARGS", Some("K8S_POD_NAMESPACE"), 4, "KEY=VALUE"),
        (
            "CNI_ARGS",
            Some("K8S_POD_NAMESPACE=a=b;K8S_POD_NAME=p"),
            4,
            "KEY=VALUE",
        ),
        (
            "CNI_ARGS",
            Some("K8S_POD_NAMESPACE=a;;K8S_POD_NAME=p"),
            4,
            "KEY=VALUE",
        ),
        (
            "CNI_ARGS",
            Some("K8S_POD_NAMESPACE=a;K8S_POD_NAME=p;K8S_POD_NAMESPACE=b"),
            4,
            "twice",
        ),
        (
            "CNI_ARGS",
            Some("K8S_POD_NAMESPACE=../a;K8S_POD_NAME=p"),
            4,
            "K8S_POD_NAMESPACE=\"../a\"",
        ),
        (
            "CNI_ARGS",
            Some("K8S_POD_NAMESPACE=a;K8S_POD_NAME=P"),
            4,
            "K8S_POD_NAME=\"P\"",
        ),
        ("CNI_ARGS", Some(&many), 4, "20000 bytes"),
    ];
    for (name, value, code, text) in cases {
        let mut env = pod.env("ADD");
        env.retain(|(n, _)| n != name);
        env.extend(value.map(|v| (*name, v)));
        let message = node.plugin(&env, &node.conf("1.1.0")).error(*code);
        assert!(message.contains(text), "{name}={value:?}: {message}");
        assert!(
            !message.contains('\n'),
            "nothing from outside breaks a log line: {message}"
        );
    }
    node.assert_empty();
}

#[test]
fn a_bad_configuration_is_refused_by_the_keys_name() {
    let node = Node::new(&["10.128.4.0/23"]);
    let pod = Pod::new(&node, "web");
    let base = node.conf("1.1.0");
    let with = |key: &str, value: Value| {
        let mut conf = base.clone();
        conf[key] = value;
        conf
    };
    let cases = [
        (with("cniVersion", json!("9.9.9")), 1, "\"9.9.9\""),
        (with("cniVersion", json!(1)), 6, "cniVersion"),
        (with("name", json!("")), 7, "name"),
        (with("name", json!("../weft")), 7, "name"),
        (with("name", json!(7)), 6, "name"),
        (with("runDir", json!("run/weft")), 7, "runDir"),
        (with("ipam", json!({"type": "host-local"})), 2, "host-local"),
        (
            with("runtimeConfig", json!({"bandwidth": {"ingressRate": -1}})),
            6,
            "runtimeConfig.bandwidth",
        ),
        (json!([]), 6, "standard input"),
    ];
    for (conf, code, text) in cases {
        let message = node.plugin(&pod.env("ADD"), &conf).error(code);
        assert!(message.contains(text), "{conf}: {message}");
    }
    for text in ["", "{", "\u{0}", "{\"cniVersion\": \"1.1.0\"} trailing"] {
        let message = run_plugin(&pod.env("ADD"), text.as_bytes()).error(6);
        assert!(message.contains("standard input"), "{text:?}: {message}");
    }
    let message = node.plugin(&pod.env("CHECK"), &base).error(7);
    assert!(message.contains("prevResult"), "{message}");
    node.assert_empty();
    // What a runtime may leave in place.
    let mut conf = with("capabilities", json!({"bandwidth": true}));
    conf["ipam"] = json!({});
    conf["args"] = json!({"cni": {}});
    conf["runtimeConfig"] = json!({"bandwidth": {"ingressRate": 1_000_000, "egressRate": 0}});
    node.plugin(&pod.env("ADD"), &conf).ok();
    let file = std::fs::read_to_string(node.endpoints_dir().join(&node.files()[0])).unwrap();
    assert!(file.contains("\"ingressRate\":1000000"), "recorded: {file}");
}

#[test]
fn the_nodes_own_namespace_is_no_pods() {
    let node = Node::new(&["10.128.4.0/23"]);
    let pod = Pod::new(&node, "web");
    let path = node.dir.join("node-netns");
    node.netns.pin(&path).unwrap();
    let mut env = pod.env("ADD");
    env[3].1 = path.to_str().unwrap();
    let message = node.plugin(&env, &node.conf("1.1.0")).error(4);
    weft_netns::unpin(&path).unwrap();
    assert!(
        message.contains("node's own network namespace"),
        "{message}"
    );
}

#[test]
fn without_an_agent_the_runtime_is_told_to_try_again() {
    let mut node = Node::stopped(&["10.128.4.0/23"]);
    let pod = Pod::new(&node, "web");
    for command in ["ADD", "DEL"] {
        let message = node
            .plugin(&pod.env(command), &node.conf("1.1.0"))
            .error(11);
        assert!(
            message.contains("cni.sock") && message.contains("running"),
            "{message}"
        );
    }
    let message = node.status().error(50);
    assert!(message.contains("cni.sock"), "{message}");
    node.start();
    let mode = std::fs::metadata(node.run_dir().join("cni.sock"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    node.status().ok();
    node.stop();
    node.add(&pod).error(11);
    // The socket's file of an agent that was killed.
    std::fs::create_dir_all(node.run_dir()).unwrap();
    drop(std::os::unix::net::UnixListener::bind(node.run_dir().join("cni.sock")).unwrap());
    node.add(&pod).error(11);
    node.start();
    node.add(&pod).ok();
}

#[test]
fn status_says_what_is_missing() {
    let node = Node::new(&["10.128.4.0/23"]);
    *node.fake.unknown_project.lock().unwrap() = Some("default".into());
    let message = node.status().error(50);
    assert!(message.contains("NetNamespace"), "{message}");
}

/// Whoever may write to the socket is root; it is a bug that is kept out here, not an attacker.
#[test]
fn nonsense_on_the_socket_is_answered_and_harms_nobody() {
    let node = Node::new(&["10.128.4.0/23"]);
    let talk = |bytes: &[u8]| {
        let mut stream = UnixStream::connect(node.run_dir().join("cni.sock")).unwrap();
        stream.write_all(bytes).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        drop(stream.read_to_end(&mut answer)); // a reset is an end too
        String::from_utf8_lossy(&answer).into_owned()
    };
    let framed = |json: &Value| {
        let text = json.to_string();
        let mut frame = u32::try_from(text.len()).unwrap().to_le_bytes().to_vec();
        frame.extend(text.as_bytes());
        frame
    };
    assert_eq!(talk(b""), "");
    assert_eq!(
        talk(b"\xff\xff\xff\xff"),
        "",
        "no memory for a frame of 4 GiB"
    );
    assert_eq!(talk(b"\x10\x00\x00\x00{"), "");
    assert!(talk(b"\x01\x00\x00\x00{").contains("decode"));
    let newer = json!({"protocol": 2, "verb": "something new"});
    assert!(talk(&framed(&newer)).contains("protocol 2"));
    let id = json!({"container": "../x", "ifname": "eth0"});
    let mut call = json!({"protocol": 1, "version": "1.1.0", "network": "weft", "patience_ms": 1000,
        "verb": {"command": "DEL", "attachment": id}});
    let answer = talk(&framed(&call));
    assert!(
        answer.contains("is no container id"),
        "checked on this side too: {answer}"
    );
    call["verb"] = json!({"command": "ADD", "attachment": {"container": "c", "ifname": "eth0"},
        "netns": "/x", "pod": {"namespace": "a", "name": "p"}, "bandwidth": null});
    let answer = talk(&framed(&call));
    assert!(answer.contains("no descriptor"), "{answer}");
    node.status().ok();
}
