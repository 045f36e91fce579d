//! The manifests name what the programs have.

use std::process::Command;

use serde_json::Value;

use super::{documents, read};

fn object(file: &str, kind: &str) -> Value {
    let all = documents(&read(file));
    all.into_iter().find(|it| it["kind"] == kind).unwrap()
}

/// Containers and init containers of a file's workloads.
fn containers(file: &str) -> Vec<Value> {
    let mut found = Vec::new();
    for object in documents(&read(file)) {
        for key in ["initContainers", "containers"] {
            let list = object["spec"]["template"]["spec"][key].as_array();
            found.extend(list.into_iter().flatten().cloned());
        }
    }
    assert!(!found.is_empty(), "{file}");
    found
}

#[test]
fn the_command_lines_are_understood() {
    for file in [
        "manifests/agent.yaml",
        "manifests/controller.yaml",
        "purge.yaml",
    ] {
        for container in containers(file) {
            let args = container["args"]
                .as_array()
                .unwrap()
                .iter()
                .map(|it| it.as_str().unwrap());
            // What follows is parsed first: wrong usage would end with 2.
            let output = Command::new(env!("CARGO_BIN_EXE_weft"))
                .args(args)
                .arg("--help")
                .output()
                .unwrap();
            assert!(output.status.success(), "{file}: {output:?}");
        }
    }
}

#[test]
fn the_configuration_is_understood() {
    let dir = std::env::temp_dir().join(format!("weft-test-{:016x}", rand::random::<u64>()));
    std::fs::create_dir(&dir).unwrap();
    let map = object("manifests/config.yaml", "ConfigMap");
    let mut conflicts = Vec::new();
    for (name, port) in [("agent.yaml", 9618), ("controller.yaml", 9619)] {
        let file = dir.join(name);
        std::fs::write(&file, map["data"][name].as_str().unwrap()).unwrap();
        let args = weft_agent::config::ConfigArgs {
            config: Some(file),
            node_name: Some("node1".into()),
            ..Default::default()
        };
        let config = weft_agent::config::Config::load(&args).unwrap();
        assert_eq!(
            config.metrics_address,
            Some(([127, 0, 0, 1], port).into()),
            "the probes ask there"
        );
        let in_cluster =
            weft_agent::config::Source::Kubernetes(weft_agent::config::Access::InCluster);
        assert_eq!(config.source, in_cluster);
        conflicts.push(config.egress_policy_conflicts);
    }
    assert_eq!(
        conflicts[0], conflicts[1],
        "the controller tells users what the agents do"
    );
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn containers_have_the_rights_that_preflight_asks_for_and_no_more() {
    for container in containers("manifests/agent.yaml") {
        let context = &container["securityContext"];
        let added = context["capabilities"]["add"].as_array();
        let added: Vec<String> = added
            .into_iter()
            .flatten()
            .map(|it| format!("CAP_{}", it.as_str().unwrap()))
            .collect();
        let wanted: &[&str] = match container["name"].as_str().unwrap() {
            "install-cni" => &[],
            _ => &weft_agent::observe::preflight::NEEDED,
        };
        assert_eq!(added, wanted, "{}", container["name"]);
        assert_eq!(context["capabilities"]["drop"][0], "ALL");
        assert_eq!(context["readOnlyRootFilesystem"], true);
        assert!(context["privileged"].is_null());
    }
}

/// The version stands in the manifests, the chart and the image's name.
#[test]
fn the_version_is_the_programs() {
    let version = env!("CARGO_PKG_VERSION");
    for file in [
        "manifests/agent.yaml",
        "manifests/controller.yaml",
        "purge.yaml",
    ] {
        for container in containers(file) {
            assert_eq!(
                container["image"],
                format!("localhost/weft:{version}"),
                "{file}"
            );
        }
    }
    let chart = documents(&read("helm/weft/Chart.yaml")).remove(0);
    assert_eq!(
        (chart["version"].as_str(), chart["appVersion"].as_str()),
        (Some(version), Some(version))
    );
}
