//! Conditions and Events that a controller writes.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use weft_agent::ingest;
use weft_agent::store::Reader;

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
        let deadline = Instant::now() + PATIENT;
        loop {
            let object = self.get(object).unwrap_or_default();
            let condition = &object["status"]["conditions"][0];
            let text = |field: &str| condition[field].as_str().unwrap_or_default();
            let is = format!("{} {}", text("status"), text("reason"));
            if is == wanted && condition["observedGeneration"] == object["metadata"]["generation"] {
                return condition.clone();
            }
            assert!(Instant::now() < deadline, "{wanted}: {object:#}");
            std::thread::sleep(Duration::from_millis(50));
        }
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

#[test]
fn a_policy_says_whether_it_is_in_force() {
    let scene = Scene::new("");
    scene.policy("a", "default", "192.0.2.0/24");
    scene.until(&OF_A, "True InForce");
    assert_eq!(
        scene.events("EgressNetworkPolicy", "default"),
        [""; 0],
        "nothing is wrong"
    );

    scene.policy("a", "more", "192.0.2.0/24");
    let several = scene.until(&OF_A, "False SeveralPolicies");
    let message = several["message"].as_str().unwrap();
    assert!(
        message.contains("default, more") && message.contains("nothing of the project leaves"),
        "{message}"
    );
    scene.until(
        &["egressnetworkpolicy", "more", "-n", "a"],
        "False SeveralPolicies",
    );
    // Looks of the controller at the same; none of them makes another event or write.
    let before = scene.get(&OF_A).unwrap();
    for n in 0..5 {
        scene.server.kubectl(&[
            "annotate",
            "namespace",
            "b",
            "--overwrite",
            &format!("n={n}"),
        ]);
        scene.server.kubectl(&[
            "annotate",
            OF_A[0],
            "more",
            "-n",
            "a",
            "--overwrite",
            &format!("n={n}"),
        ]);
    }
    scene.policy("b", "default", "192.0.2.0/24");
    scene.until(
        &["egressnetworkpolicy", "default", "-n", "b"],
        "True InForce",
    );
    assert_eq!(
        scene.get(&OF_A).unwrap()["metadata"]["resourceVersion"],
        before["metadata"]["resourceVersion"]
    );
    scene
        .server
        .kubectl(&["delete", "egressnetworkpolicy", "more", "-n", "a"]);
    let mended = scene.until(&OF_A, "True InForce");
    assert!(mended["lastTransitionTime"].as_str() >= several["lastTransitionTime"].as_str());
    until("the event that it is mended", || {
        (scene.events("EgressNetworkPolicy", "default").len() == 2).then_some(())
    });
    assert_eq!(
        scene.events("EgressNetworkPolicy", "default"),
        ["Warning SeveralPolicies", "Normal InForce"]
    );
    let shown = scene.server.kubectl(&["get", "enp", "-n", "a"]);
    assert!(
        shown.contains("ENFORCED") && shown.contains("InForce"),
        "{shown}"
    );
    let described =
        scene
            .server
            .kubectl(&["describe", "egressnetworkpolicy", "default", "-n", "a"]);
    assert!(
        described.contains("Warning  SeveralPolicies"),
        "{described}"
    );

    // Another text of the rules is another generation and no news.
    scene.policy("a", "default", "198.51.100.0/24");
    scene.until(&OF_A, "True InForce");

    let netid = |from: &str, to: &str| {
        let netid = scene.get(&["netnamespace", from]).unwrap()["netid"].to_string();
        let patch = format!("{{\"netid\": {netid}}}");
        scene
            .server
            .kubectl(&["patch", "netnamespace", to, "--type=merge", "-p", &patch]);
    };
    scene
        .server
        .kubectl(&["delete", "egressnetworkpolicy", "default", "-n", "b"]);
    netid("a", "b");
    scene.until(&OF_A, "False JoinedProject");
    // It has no policy, and yet nothing leaves it.
    scene.until(&["netnamespace", "b"], "True EgressClosed");
    assert_eq!(scene.events("NetNamespace", "b"), ["Warning EgressClosed"]);
    netid("default", "a");
    scene.until(&OF_A, "False GlobalProject");
    scene.until(&["netnamespace", "b"], "True Accepted");
    let events = scene.events("EgressNetworkPolicy", "default");
    assert_eq!(
        events[2..],
        ["Warning JoinedProject", "Warning GlobalProject"]
    );
}

#[test]
fn with_enforce_a_policy_counts_in_a_global_project() {
    let scene = Scene::new("egressPolicyConflicts: enforce\n");
    scene.policy("default", "default", "192.0.2.0/24");
    scene.until(
        &["egressnetworkpolicy", "default", "-n", "default"],
        "True InForce",
    );
}

#[test]
fn nodes_and_projects_say_what_is_wrong() {
    let scene = Scene::new("");
    let host = |name: &str, subnet: &str| {
        let last = name.len() + 10;
        let host = json!({
            "apiVersion": "network.openshift.io/v1", "kind": "HostSubnet", "metadata": {"name": name},
            "host": name, "hostIP": format!("192.0.2.{last}"), "subnet": subnet,
        });
        scene.server.apply(&host.to_string());
    };
    host("n", "10.128.0.0/23");
    host("nn", "10.128.0.0/24");
    let conflict = scene.until(&["hostsubnet", "nn"], "False Conflict");
    assert!(
        conflict["message"]
            .as_str()
            .unwrap()
            .contains("10.128.0.0/23 of HostSubnet/n"),
        "{conflict}"
    );
    host("nnn", "192.168.0.0/24");
    scene.until(&["hostsubnet", "nnn"], "False Invalid");
    let shown = scene.server.kubectl(&["get", "hostsubnets"]);
    assert!(
        shown.contains("Conflict") && shown.contains("Invalid"),
        "{shown}"
    );
    host("nn", "10.128.2.0/24");
    scene.until(&["hostsubnet", "nn"], "True Accepted");
    assert_eq!(
        scene.events("HostSubnet", "nn"),
        ["Warning Conflict", "Normal Accepted"]
    );
    // Those that nothing was ever wrong with are left alone: there may be thousands of them.
    assert!(scene.get(&["hostsubnet", "n"]).unwrap()["status"].is_null());

    // What the controller repairs, and what it refuses.
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "real"}});
    scene.server.apply(&node.to_string());
    until("a node without an address is told of", || {
        (scene.events("Node", "real") == ["Warning NotInPodNetwork"]).then_some(())
    });
    let address =
        json!({"status": {"addresses": [{"type": "InternalIP", "address": "192.0.2.50"}]}});
    scene.server.kubectl(&[
        "patch",
        "node",
        "real",
        "--subresource=status",
        "--type=merge",
        "-p",
        &address.to_string(),
    ]);
    until("its subnet", || scene.get(&["hostsubnet", "real"]));
    scene.server.kubectl(&[
        "patch",
        "hostsubnet",
        "real",
        "--type=merge",
        "-p",
        r#"{"hostIP": "192.0.2.51"}"#,
    ]);
    until("the repair is told of", || {
        (scene.events("HostSubnet", "real") == ["Warning Repaired"]).then_some(())
    });
    assert_eq!(
        scene.get(&["hostsubnet", "real"]).unwrap()["hostIP"],
        "192.0.2.50"
    );
    let ask = "pod.network.openshift.io/multitenant.change-network=join:nowhere";
    scene
        .server
        .kubectl(&["annotate", "netnamespace", "a", ask]);
    until("the refusal is told of", || {
        (scene.events("NetNamespace", "a") == ["Warning ChangeNetworkRefused"]).then_some(())
    });
}

#[test]
fn another_writer_is_put_right_and_not_fought() {
    let scene = Scene::new("");
    scene.policy("a", "default", "192.0.2.0/24");
    let condition = scene.until(&OF_A, "True InForce");
    let foreign = json!({"type": "example.com/Seen", "status": "True", "reason": "Seen", "message": "",
                         "lastTransitionTime": "2026-01-01T00:00:00Z"});
    let mut wrong = condition.clone();
    wrong["status"] = "False".into();
    let mut versions = std::collections::BTreeSet::new();
    let deadline = Instant::now() + Duration::from_secs(8);
    while Instant::now() < deadline {
        let patch = json!({"status": {"conditions": [wrong, foreign]}}).to_string();
        scene.server.kubectl(&[
            "patch",
            OF_A[0],
            OF_A[1],
            OF_A[2],
            OF_A[3],
            "--subresource=status",
            "--type=merge",
            "-p",
            &patch,
        ]);
        let now = scene.get(&OF_A).unwrap();
        versions.insert(
            now["metadata"]["resourceVersion"]
                .as_str()
                .unwrap()
                .to_owned(),
        );
    }
    let right = until("it is put right", || {
        let object = scene.get(&OF_A).unwrap();
        let conditions = object["status"]["conditions"].as_array().unwrap().clone();
        conditions
            .iter()
            .any(|it| it["reason"] == "InForce" && it["status"] == "True")
            .then_some(conditions)
    });
    assert!(
        right.iter().any(|it| it["type"] == "example.com/Seen"),
        "that of another writer stays: {right:?}"
    );
    // With 1, 2 and 4 s between them, three at most within eight seconds; each makes two versions, our own and the next of theirs.
    assert!(versions.len() <= 8, "{versions:?}");
    assert_eq!(scene.events("EgressNetworkPolicy", "default"), [""; 0]);
}

#[test]
fn a_status_is_no_change_of_a_policy() {
    let scene = Scene::new("");
    let store = scene.server.store(Reader::Agent);
    let (to, events) = std::sync::mpsc::channel();
    let _ingest = ingest::spawn(&store, to).unwrap();
    let changed = |what: &str, within: Duration| {
        let deadline = Instant::now() + within;
        while let Ok(event) =
            events.recv_timeout(deadline.saturating_duration_since(Instant::now()))
        {
            if let ingest::Event::Changes(changes) = event
                && changes.iter().any(|it| format!("{it:?}").contains(what))
            {
                return true;
            }
        }
        false
    };
    scene.policy("a", "default", "192.0.2.0/24");
    assert!(changed("Policy(\"a\"", PATIENT));
    scene.until(&OF_A, "True InForce");
    scene.policy("a", "more", "192.0.2.0/24");
    scene.until(&OF_A, "False SeveralPolicies");
    scene.until(
        &["egressnetworkpolicy", "more", "-n", "a"],
        "False SeveralPolicies",
    );
    assert!(changed("\"more\"", PATIENT));
    // Whatever came of the status before this one is told before it.
    let mut statuses = 0;
    scene.policy("b", "last", "192.0.2.0/24");
    let deadline = Instant::now() + PATIENT;
    loop {
        let event = events
            .recv_timeout(deadline.saturating_duration_since(Instant::now()))
            .unwrap();
        let ingest::Event::Changes(changes) = event else {
            continue;
        };
        let text = format!("{changes:?}");
        statuses += usize::from(text.contains("Policy(\"a\""));
        if text.contains("\"last\"") {
            break;
        }
    }
    assert_eq!(
        statuses, 0,
        "the status of a policy was taken for another policy"
    );
}

/// A node and the pod of its agent, which is ready or not.
fn agent(server: &Server, node: &str, ready: bool) {
    let pod = format!("weft-agent-{node}");
    let objects = [
        json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": node}}),
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": pod, "namespace": "weft",
                "labels": {"app.kubernetes.io/name": "weft", "app.kubernetes.io/component": "agent"},
            },
            "spec": {
                "nodeName": node, "containers": [{"name": "agent", "image": "weft"}],
                "automountServiceAccountToken": false,
            },
        }),
    ];
    for object in objects {
        server.apply(&object.to_string());
    }
    let status = if ready { "True" } else { "False" };
    let patch =
        json!({"status": {"conditions": [{"type": "Ready", "status": status}]}}).to_string();
    server.kubectl(&[
        "patch",
        "pod",
        &pod,
        "-n",
        "weft",
        "--subresource=status",
        "-p",
        &patch,
    ]);
}

#[test]
fn a_policy_names_the_nodes_that_may_not_have_followed() {
    let scene = Scene::new("");
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": "weft"}});
    scene.server.apply(&account.to_string());
    agent(&scene.server, "n1", true);
    agent(&scene.server, "n2", false);
    scene.policy("a", "default", "192.0.2.0/24");
    let condition = scene.until(&OF_A, "True NodesBehind");
    let message = condition["message"].as_str().unwrap();
    assert!(
        message.ends_with("1 of 2 nodes may not have followed: n2 (its agent is not ready)"),
        "{message}"
    );
    let listed = |scene: &Scene| scene.get(&OF_A).unwrap()["status"]["nodesBehind"].clone();
    assert_eq!(listed(&scene), json!(["n2"]));
    assert_eq!(
        scene.events("EgressNetworkPolicy", "default"),
        [""; 0],
        "a node that is away is no fault of the policy"
    );
    agent(&scene.server, "n2", true);
    scene.until(&OF_A, "True InForce");
    assert_eq!(listed(&scene), Value::Null);

    // What an agent says of itself.
    let subnet = json!({
        "apiVersion": "network.openshift.io/v1", "kind": "HostSubnet", "metadata": {"name": "n1"},
        "host": "n1", "hostIP": "192.0.2.1", "subnet": "10.128.0.0/23",
    });
    scene.server.apply(&subnet.to_string());
    let patch = json!({"status": {"policiesNotInForce": [{"namespace": "a", "name": "default", "reason": "no room"}]}});
    let patch = patch.to_string();
    let status = [
        "patch",
        "hostsubnet",
        "n1",
        "--subresource=status",
        "--type=merge",
    ];
    scene
        .server
        .kubectl(&[&status[..], &["-p", &patch]].concat());
    let condition = scene.until(&OF_A, "True NodesBehind");
    let message = condition["message"].as_str().unwrap();
    assert!(
        message.ends_with("1 of 2 nodes may not have followed: n1 (no room)"),
        "{message}"
    );
    assert_eq!(
        scene.events("EgressNetworkPolicy", "default"),
        ["Warning NodesBehind"]
    );
}
