use serde_json::{Value, json};

use crate::node::{Node, Pod, run_plugin};

#[test]
fn every_version_gets_the_result_it_defines() {
    let node = Node::new(&["10.128.4.0/23", "fd01:0:0:4::/64"]);
    let pod = Pod::new(&node, "web");
    let host = { node.add(&pod).ok()["interfaces"][0]["name"].clone() };
    let route = |dst: &str, gw: &str| json!({"dst": dst, "gw": gw});
    let v4 = [
        route("0.0.0.0/0", "169.254.1.1"),
        route("10.128.0.0/14", "169.254.1.1"),
        route("172.30.0.0/16", "169.254.1.1"),
    ];
    let v6 = [route("::/0", "fe80::1"), route("fd01::/48", "fe80::1")];
    let all: Vec<Value> = v4.iter().chain(&v6).cloned().collect();
    let ip = |version: Option<&str>, address: &str, gateway: &str| {
        let mut ip = json!({"address": address, "gateway": gateway, "interface": 1});
        if let Some(version) = version {
            ip["version"] = version.into();
        }
        ip
    };
    for version in [
        "0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0",
    ] {
        let expected = match version {
            "0.1.0" | "0.2.0" => json!({
                "cniVersion": version,
                "ip4": {"ip": "10.128.4.2/32", "gateway": "169.254.1.1", "routes": v4},
                "ip6": {"ip": "fd01:0:0:4::2/128", "gateway": "fe80::1", "routes": v6},
                "dns": {},
            }),
            _ => {
                let (old4, old6) = if version < "1" {
                    (Some("4"), Some("6"))
                } else {
                    (None, None)
                };
                let mut expected = json!({
                    "cniVersion": version,
                    "interfaces": [
                        {"name": host, "mac": "0a:58:a9:fe:01:01"},
                        {"name": "eth0", "mac": "0a:58:0a:80:04:02", "sandbox": pod.path},
                    ],
                    "ips": [
                        ip(old4, "10.128.4.2/32", "169.254.1.1"),
                        ip(old6, "fd01:0:0:4::2/128", "fe80::1"),
                    ],
                    "routes": all,
                    "dns": {},
                });
                if version == "1.1.0" {
                    expected["interfaces"][0]["mtu"] = json!(1450);
                    expected["interfaces"][1]["mtu"] = json!(1450);
                }
                expected
            }
        };
        let result = node.plugin(&pod.env("ADD"), &node.conf(version)).ok();
        assert_eq!(result, expected, "{version}");

        let mut conf = node.conf(version);
        conf["prevResult"] = result;
        let check = node.plugin(&pod.env("CHECK"), &conf);
        if version < "0.4.0" {
            let message = check.error(1);
            assert!(
                message.contains("CHECK") && message.contains("0.4.0"),
                "{message}"
            );
        } else {
            check.ok();
        }
        conf["cni.dev/valid-attachments"] =
            json!([{"containerID": pod.container, "ifname": "eth0"}]);
        for command in ["GC", "STATUS"] {
            let printed = node.plugin(&[("CNI_COMMAND", command)], &conf);
            if version == "1.1.0" {
                printed.ok();
            } else {
                assert_eq!(printed.json["cniVersion"], version);
                printed.error(1);
            }
        }
    }
    for version in [
        "0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0",
    ] {
        assert_eq!(
            node.plugin(&pod.env("DEL"), &node.conf(version)).ok(),
            Value::Null
        );
    }
    node.assert_empty();
}

#[test]
fn a_configuration_without_version_is_of_the_oldest() {
    let node = Node::new(&["10.128.4.0/23"]);
    let pod = Pod::new(&node, "web");
    let mut conf = node.conf("");
    assert_eq!(
        node.plugin(&pod.env("ADD"), &conf).ok()["cniVersion"],
        "0.1.0"
    );
    conf.as_object_mut().unwrap().remove("cniVersion");
    let result = node.plugin(&pod.env("ADD"), &conf).ok();
    assert_eq!(result["ip4"]["ip"], "10.128.4.2/32");
    assert!(result.get("ip6").is_none());
}

#[test]
fn version_is_answered_without_an_agent() {
    let version = |input: &str| run_plugin(&[("CNI_COMMAND", "VERSION")], input.as_bytes());
    let all = json!([
        "0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"
    ]);
    for (input, echoed) in [
        ("", "1.1.0"),
        ("{}", "1.1.0"),
        ("{\"cniVersion\": \"0.4.0\"}", "0.4.0"),
        ("{\"cniVersion\": \"2.0.0\"}", "1.1.0"),
    ] {
        let expected = json!({"cniVersion": echoed, "supportedVersions": all});
        assert_eq!(version(input).ok(), expected, "{input:?}");
    }
    version("{").error(6);
}
