//! The service accounts of deploy/ may do what weft does, and nothing else.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize as _;
use serde_json::{Value, json};
use weft_agent::config::Access;
use weft_agent::not_in_force::FIELD;
use weft_agent::store::{Kubernetes, ObjectRef, Reader};
use weft_core::model::Kind;

use crate::rig::{Process, Server, until};
use crate::told::Told;

/// Verb and resource, such as `update leases.coordination.k8s.io`.
type Verbs = BTreeSet<String>;

fn deploy(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../deploy")
        .join(file)
}

/// What rbac.yaml grants to a service account.
fn granted(account: &str) -> Verbs {
    let text = std::fs::read_to_string(deploy("manifests/rbac.yaml")).unwrap();
    let documents = yaml_serde::Deserializer::from_str(&text);
    let objects: Vec<Value> = documents
        .map(|it| Value::deserialize(it).unwrap())
        .collect();
    let of = |kind: &str| {
        let kind = kind.to_owned();
        objects
            .iter()
            .filter(move |it| it["kind"].as_str().unwrap().ends_with(&kind))
    };
    let mut verbs = Verbs::new();
    for binding in of("Binding").filter(|it| it["subjects"][0]["name"] == account) {
        let roles = of("Role").filter(|role| {
            role["kind"] == binding["roleRef"]["kind"]
                && role["metadata"]["name"] == binding["roleRef"]["name"]
        });
        for rule in roles.flat_map(|role| role["rules"].as_array().unwrap()) {
            let texts = |key: &str| -> Vec<String> {
                let list = rule[key].as_array().unwrap().iter();
                list.map(|it| it.as_str().unwrap().to_owned()).collect()
            };
            let group = &texts("apiGroups")[0];
            for resource in texts("resources") {
                verbs.extend(
                    texts("verbs")
                        .iter()
                        .map(|verb| name(verb, &resource, group)),
                );
            }
        }
    }
    verbs
}

fn name(verb: &str, resource: &str, group: &str) -> String {
    format!("{verb} {resource}.{group}")
        .trim_end_matches('.')
        .to_owned()
}

/// What the server was asked for, and what it refused.
fn asked(server: &Server, account: &str) -> (Verbs, Verbs) {
    let user = format!("system:serviceaccount:weft:{account}");
    let (mut used, mut refused) = (Verbs::new(), Verbs::new());
    for event in server
        .audit()
        .iter()
        .filter(|it| it["user"]["username"] == user.as_str())
    {
        let Some(object) = event["objectRef"].as_object() else {
            continue;
        };
        let text = |key: &str| object.get(key).and_then(Value::as_str).unwrap_or_default();
        let resource = [text("resource"), text("subresource")].join("/");
        let verb = name(
            event["verb"].as_str().unwrap(),
            resource.trim_end_matches('/'),
            text("apiGroup"),
        );
        if event["responseStatus"]["code"] == 403 {
            refused.insert(verb);
        } else {
            used.insert(verb);
        }
    }
    (used, refused)
}

fn weft(server: &Server, args: &[&str], account: Option<&Path>) -> String {
    let admin = server.kubeconfig("admin");
    let output = Command::new(env!("CARGO_BIN_EXE_weft"))
        .args(args)
        .arg("--kubeconfig")
        .arg(account.unwrap_or(&admin))
        .output()
        .unwrap();
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

fn address(server: &Server, address: &str) {
    server.apply(
        &json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node1"}}).to_string(),
    );
    let patch =
        json!({"status": {"addresses": [{"type": "InternalIP", "address": address}]}}).to_string();
    server.kubectl(&[
        "patch",
        "node",
        "node1",
        "--subresource=status",
        "--type=merge",
        "-p",
        &patch,
    ]);
}

/// Everything that makes a controller write.
fn work_of_the_controller(server: &Server) {
    let get = |args: &[&str]| {
        server
            .try_kubectl_at(6443, &[&["get"], args].concat(), "")
            .ok()
    };
    let subnet = |ip: &str| {
        until("the node's subnet", || {
            get(&["hostsubnet", "node1", "-o", "jsonpath={.hostIP}"]).filter(|it| it == ip)
        });
    };
    address(server, "192.0.2.10");
    subnet("192.0.2.10");
    address(server, "192.0.2.11");
    subnet("192.0.2.11");
    for project in ["a", "b"] {
        server.kubectl(&["create", "namespace", project]);
        until("the project's network", || get(&["netnamespace", project]));
    }
    let netid = |name: &str| get(&["netnamespace", name, "-o", "jsonpath={.netid}"]).unwrap();
    weft(
        server,
        &["pod-network", "join-projects", "--to=a", "b"],
        None,
    );
    until("the projects are joined", || {
        (netid("a") == netid("b")).then_some(())
    });
    work_on_status(server);
    server.kubectl(&["delete", "node", "node1"]);
    until("the node's subnet is free", || {
        get(&["hostsubnet", "node1"]).is_none().then_some(())
    });
    // Nobody finalizes namespaces here, so the one that goes is taken away whole.
    server.kubectl(&["delete", "namespace", "b", "--wait=false"]);
    let bare = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "b"}, "spec": {"finalizers": []}});
    let finalize = [
        "replace",
        "--raw",
        "/api/v1/namespaces/b/finalize",
        "-f",
        "-",
    ];
    drop(server.try_kubectl_at(6443, &finalize, &bare.to_string()));
    until("the project's network is free", || {
        get(&["netnamespace", "b"]).is_none().then_some(())
    });
}

/// Everything that makes a controller write status.
fn work_on_status(server: &Server) {
    let policy = json!({
        "apiVersion": "network.openshift.io/v1", "kind": "EgressNetworkPolicy",
        "metadata": {"name": "joined", "namespace": "a"},
        "spec": {"egress": [{"type": "Deny", "to": {"cidrSelector": "0.0.0.0/0"}}]},
    });
    let stray = json!({
        "apiVersion": "network.openshift.io/v1", "kind": "HostSubnet", "metadata": {"name": "stray"},
        "host": "stray", "hostIP": "192.0.2.12", "subnet": "192.168.0.0/24",
    });
    server.apply(&policy.to_string());
    server.apply(&stray.to_string());
    let second = json!({
        "apiVersion": "network.openshift.io/v1", "kind": "ClusterNetwork", "metadata": {"name": "second"},
        "clusterNetworks": [{"CIDR": "10.200.0.0/16", "hostSubnetLength": 9}], "serviceNetwork": "172.31.0.0/16",
        "pluginName": "redhat/openshift-ovs-multitenant",
    });
    server.apply(&second.to_string());
    for object in [
        &["egressnetworkpolicy", "joined", "-n", "a"][..],
        &["netnamespace", "b"],
        &["hostsubnet", "stray"],
        &["clusternetwork", "second"],
    ] {
        let args = [
            &["get", "-o", "jsonpath={.status.conditions[*].reason}"],
            object,
        ]
        .concat();
        until("a condition", || {
            Some(server.kubectl(&args)).filter(|it| !it.is_empty())
        });
    }
    server.kubectl(&["delete", "hostsubnet", "stray"]);
    server.kubectl(&["delete", "clusternetwork", "second"]);
    server.kubectl(&["delete", "egressnetworkpolicy", "joined", "-n", "a"]);
}

#[test]
fn each_granted_verb_is_used_and_none_is_missing() {
    let server = Server::new();
    for file in ["manifests/namespace.yaml", "manifests/rbac.yaml"] {
        server.kubectl(&["apply", "-f", deploy(file).to_str().unwrap()]);
    }
    let network = json!({
        "apiVersion": "network.openshift.io/v1", "kind": "ClusterNetwork", "metadata": {"name": "default"},
        "clusterNetworks": [{"CIDR": "10.128.0.0/14", "hostSubnetLength": 9}], "serviceNetwork": "172.30.0.0/16",
        "pluginName": "redhat/openshift-ovs-multitenant",
    });
    server.apply(&network.to_string());

    let account = server.kubeconfig_of_service_account("weft-controller");
    let config = account.with_file_name("controller.yaml");
    std::fs::write(&config, "nodeName: one\nleaseNamespace: weft\n").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_weft"));
    command
        .args(["controller", "--config"])
        .arg(&config)
        .arg("--kubeconfig")
        .arg(&account);
    let mut controller = Process::start(&mut command, None);
    work_of_the_controller(&server);
    controller.signal(nix::sys::signal::Signal::SIGTERM);
    controller.wait();

    let account = server.kubeconfig_of_service_account("weft-agent");
    let access = Access::Kubeconfig {
        files: vec![account.clone()],
        context: None,
    };
    let store = Kubernetes::open(&access, Reader::Agent).unwrap();
    let mut told = Told::by(&store);
    told.until("everything is listed", |told| told.listed);
    // The log tells of a watch when its answer begins, and that is with the first news.
    let policy = json!({
        "apiVersion": "network.openshift.io/v1", "kind": "EgressNetworkPolicy",
        "metadata": {"name": "default", "namespace": "a"},
        "spec": {"egress": [{"type": "Deny", "to": {"cidrSelector": "0.0.0.0/0"}}]},
    });
    server.apply(&policy.to_string());
    told.until("the policy is told", |told| {
        told.objects
            .keys()
            .any(|key| key.kind == Kind::EgressNetworkPolicy)
    });
    let node = json!({
        "apiVersion": "network.openshift.io/v1", "kind": "HostSubnet", "metadata": {"name": "node1"},
        "host": "node1", "hostIP": "192.0.2.10", "subnet": "10.128.0.0/23",
    });
    server.apply(&node.to_string());
    let node = ObjectRef::cluster("HostSubnet", "node1");
    let nothing = json!({ FIELD: null });
    store.patch_status(&node, &nothing).unwrap();
    let checks = weft(&server, &["preflight", "-o", "json"], Some(&account));
    assert!(!checks.contains("networks are not known"), "{checks}");

    for account in ["weft-controller", "weft-agent"] {
        let wanted = granted(account);
        assert!(wanted.len() > 3, "{wanted:?}");
        // The log is written behind the answers.
        until("each granted verb is in the log", || {
            let (used, refused) = asked(&server, account);
            assert!(
                refused.is_empty(),
                "{account} asked for what rbac.yaml does not grant: {refused:?}"
            );
            let unused: Vec<_> = wanted.difference(&used).collect();
            if !unused.is_empty() {
                eprintln!("{account}: granted and not used yet: {unused:?}");
            }
            unused.is_empty().then_some(())
        });
    }
}
