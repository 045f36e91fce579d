//! Conditions and Events that a controller writes.

mod behind;
mod objects;
mod policies;
mod writers;

use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::rig::{Process, Server, until};

const PATIENT: Duration = Duration::from_secs(20);

/// A controller on a server with a cluster network and some projects.
struct Scene {
    server: Server,
    _controller: Process,
}

impl Scene {
    fn new(config: &str) -> Self {
        let server = Server::new();
        let network = json!({
            "apiVersion": "network.openshift.io/v1", "kind": "ClusterNetwork", "metadata": {"name": "default"},
            "clusterNetworks": [{"CIDR": "10.128.0.0/14", "hostSubnetLength": 9}], "serviceNetwork": "172.30.0.0/16",
            "pluginName": "redhat/openshift-ovs-multitenant",
        });
        server.apply(&network.to_string());
        for project in ["weft", "a", "b"] {
            server.kubectl(&["create", "namespace", project]);
        }
        let kubeconfig = server.kubeconfig("admin");
        let file = kubeconfig.with_file_name("controller.yaml");
        std::fs::write(&file, config).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_weft"));
        command.arg("controller").arg("--config").arg(file);
        let controller = Process::start(command.arg("--kubeconfig").arg(kubeconfig), None);
        let scene = Self {
            server,
            _controller: controller,
        };
        for project in ["default", "a", "b"] {
            until("the project's network", || {
                scene.get(&["netnamespace", project])
            });
        }
        scene
    }

    fn get(&self, object: &[&str]) -> Option<Value> {
        let args = [&["get", "-o", "json"], object].concat();
        let text = self.server.try_kubectl_at(6443, &args, "").ok()?;
        Some(serde_json::from_str(&text).unwrap())
    }

    fn policy(&self, project: &str, name: &str, range: &str) {
        self.server.apply(&policy(project, name, range).to_string());
    }

    /// Waits for a condition, as `STATUS REASON`, that is about the object as it is.
    #[track_caller]
    fn until(&self, object: &[&str], wanted: &str) -> Value {
        let mut seen = Value::Null;
        let found = weft_wait::poll(PATIENT, || {
            seen = self.get(object).unwrap_or_default();
            let condition = &seen["status"]["conditions"][0];
            let text = |field: &str| condition[field].as_str().unwrap_or_default();
            let is = format!("{} {}", text("status"), text("reason"));
            let current = condition["observedGeneration"] == seen["metadata"]["generation"];
            (is == wanted && current).then(|| condition.clone())
        });
        found.unwrap_or_else(|| panic!("{wanted}: {seen:#}"))
    }

    /// Events about an object, as `TYPE REASON`, in the order in which they were made.
    fn events(&self, kind: &str, name: &str) -> Vec<String> {
        let list = self.get(&["events.events.k8s.io", "-A"]).unwrap();
        let mut events: Vec<_> = list["items"].as_array().unwrap().iter().collect();
        events.retain(|it| it["regarding"]["kind"] == kind && it["regarding"]["name"] == name);
        events.sort_by_key(|it| it["eventTime"].as_str().unwrap().to_owned());
        let text = |it: &Value, field: &str| it[field].as_str().unwrap().to_owned();
        let texts = events
            .iter()
            .map(|it| format!("{} {}", text(it, "type"), text(it, "reason")));
        texts.collect()
    }
}

fn policy(project: &str, name: &str, range: &str) -> Value {
    json!({
        "apiVersion": "network.openshift.io/v1", "kind": "EgressNetworkPolicy",
        "metadata": {"name": name, "namespace": project},
        "spec": {"egress": [{"type": "Deny", "to": {"cidrSelector": range}}]},
    })
}

const OF_A: [&str; 4] = ["egressnetworkpolicy", "default", "-n", "a"];
