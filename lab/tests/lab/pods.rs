//! Pods of a lab: what the CNI plugin is given, and what is left when it refuses.

use std::fs;
use std::net::IpAddr;

use crate::stubs::Fixture;
use weft_lab::lab::{self, PodSpec};

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn pods_go_through_the_plugin_with_what_a_runtime_gives_it() {
    let fixture = Fixture::new();
    let lab = fixture.up(&[]);
    let spec = PodSpec {
        labels: [("app".into(), "x".into())].into(),
        ..PodSpec::new("shop", "cart", "node2")
    };
    let pod = lab.add_pod(&spec).unwrap();
    assert_eq!(pod.ips, [ip("10.128.0.2"), ip("fd01::2")]);
    let object = lab.objects().get("Pod", "shop", "cart").unwrap().unwrap();
    assert_eq!(object.value["status"]["podIP"].as_str(), Some("10.128.0.2"));
    assert_eq!(
        object.value["metadata"]["labels"]["app"].as_str(),
        Some("x")
    );
    assert!(
        lab.objects()
            .get("Namespace", "", "shop")
            .unwrap()
            .is_some(),
        "made on the way"
    );
    lab.del_pod("shop", "cart").unwrap();
    assert!(lab.objects().get("Pod", "shop", "cart").unwrap().is_none());
    assert!(!lab::name::netns_path(&pod.netns).exists());
    let calls = fs::read_to_string(fixture.bin.join("calls")).unwrap();
    let (add, del) = calls.split_once("DEL ").unwrap();
    assert!(
        add.starts_with("ADD ") && add.contains("K8S_POD_NAMESPACE=shop;K8S_POD_NAME=cart;"),
        "{add}"
    );
    assert!(
        add.contains(&format!(
            r#""runDir":"{}""#,
            lab.status().unwrap().nodes[1].run_dir.display()
        )),
        "{add}"
    );
    assert!(
        !add.contains("prevResult") && del.contains("prevResult"),
        "{calls}"
    );

    fixture.set("refuse");
    let error = lab.add_pod(&spec).unwrap_err().to_string();
    assert_eq!(
        error,
        "weft-cni ADD for pod shop/cart on node2: try again later (code 11)"
    );
    assert!(lab.status().unwrap().pods.is_empty() && !lab::name::netns_path(&pod.netns).exists());
    assert!(lab.objects().get("Pod", "shop", "cart").unwrap().is_none());
}

#[test]
fn two_pods_whose_names_read_alike_have_namespaces_of_their_own() {
    let fixture = Fixture::new();
    let lab = fixture.up(&[]);
    let first = lab.add_pod(&PodSpec::new("a-b", "c", "node1")).unwrap();
    let second = lab.add_pod(&PodSpec::new("a", "b-c", "node1")).unwrap();
    assert_ne!(first.netns, second.netns);
}
