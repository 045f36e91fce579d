//! What a node says of itself in the status of its HostSubnet.

use std::process::Command;
use std::sync::mpsc::channel;
use std::time::Instant;

use serde_json::{Value, json};
use weft_agent::config::Access;
use weft_agent::ingest::{self, Event};
use weft_agent::not_in_force::{FIELD, Said};
use weft_agent::store::{Kubernetes, ObjectRef, Reader, StoreError};
use weft_core::model::Change;

use crate::rig::{PATIENCE, Process, Server, until};

fn network(server: &Server) {
    let network = json!({
        "apiVersion": "network.openshift.io/v1", "kind": "ClusterNetwork", "metadata": {"name": "default"},
        "clusterNetworks": [{"CIDR": "10.128.0.0/14", "hostSubnetLength": 9}], "serviceNetwork": "172.30.0.0/16",
        "pluginName": "redhat/openshift-ovs-multitenant",
    });
    server.apply(&network.to_string());
}

fn host(server: &Server, name: &str, ip: &str, subnet: &str) -> ObjectRef {
    let host = json!({
        "apiVersion": "network.openshift.io/v1", "kind": "HostSubnet", "metadata": {"name": name},
        "host": name, "hostIP": ip, "subnet": subnet,
    });
    server.apply(&host.to_string());
    ObjectRef::cluster("HostSubnet", name)
}

fn status(server: &Server, key: &ObjectRef) -> Value {
    let text = server.kubectl(&["get", "hostsubnet", &key.name, "-o", "json"]);
    let object: Value = serde_json::from_str(&text).unwrap();
    object["status"].clone()
}

fn refused() -> Value {
    json!([{"namespace": "a", "name": "default", "reason": "no room"}])
}

#[test]
fn a_node_and_the_controller_leave_each_other_their_fields() {
    let server = Server::new();
    network(&server);
    server.kubectl(&["create", "namespace", "weft"]);
    let mut command = Command::new(env!("CARGO_BIN_EXE_weft"));
    command.arg("controller").arg("--kubeconfig");
    let _controller = Process::start(command.arg(server.kubeconfig("admin")), None);
    host(&server, "n1", "192.0.2.1", "10.128.0.0/23");
    let n2 = host(&server, "n2", "192.0.2.2", "10.128.4.0/24");
    let store = server.store(Reader::Agent);
    store
        .patch_status(&n2, &json!({ FIELD: refused() }))
        .unwrap();
    host(&server, "n2", "192.0.2.2", "10.128.0.0/24");
    let reason = "jsonpath={.status.conditions[0].reason}";
    until("the conflict is told", || {
        let told = server.kubectl(&["get", "hostsubnet", "n2", "-o", reason]);
        (told == "Conflict").then_some(())
    });
    assert_eq!(status(&server, &n2)[FIELD], refused());
    let wide = server.kubectl(&["get", "hostsubnets", "-o", "wide"]);
    assert!(wide.contains("NOT IN FORCE"), "{wide}");
    store.patch_status(&n2, &json!({ FIELD: null })).unwrap();
    let left = status(&server, &n2);
    assert!(left.get(FIELD).is_none(), "{left}");
    assert_eq!(left["conditions"][0]["reason"], "Conflict");
    let nobody = store.patch_status(
        &ObjectRef::cluster("HostSubnet", "n3"),
        &json!({ FIELD: null }),
    );
    assert!(
        matches!(nobody, Err(StoreError::NotFound { .. })),
        "{nobody:?}"
    );
}

#[test]
fn an_agent_hears_what_it_said_and_takes_it_for_no_change() {
    let server = Server::new();
    network(&server);
    let n1 = host(&server, "n1", "192.0.2.1", "10.128.0.0/23");
    let store = server.store(Reader::Agent);
    let (to_said, news) = channel();
    let mut said = Said::default();
    let note = move |delta: &_| {
        said.take("n1", delta);
        drop(to_said.send(said.clone()));
    };
    let (to, events) = channel();
    let _ingest = ingest::spawn_noting(&store, to, note).unwrap();
    let deadline = Instant::now() + PATIENCE;
    let left = || deadline.saturating_duration_since(Instant::now());
    while events.recv_timeout(left()).unwrap() != Event::Synced {}
    for value in [refused(), Value::Null] {
        store.patch_status(&n1, &json!({ FIELD: value })).unwrap();
        while news.recv_timeout(left()).unwrap() != Said::Field(value.clone()) {}
    }
    // Told after all that came of the status.
    host(&server, "n2", "192.0.2.2", "10.128.2.0/23");
    // A server that makes its storage anew for a moment is a problem of its own, and no change.
    let changes = loop {
        if let Event::Changes(changes) = events.recv_timeout(left()).unwrap() {
            break changes;
        }
    };
    assert!(
        matches!(&changes[0], Change::HostSubnet(name, Some(_)) if name == "n2"),
        "{changes:?}"
    );
    assert_eq!(changes.len(), 1, "{changes:?}");
}

#[test]
fn an_agent_writes_of_its_own_node_only() {
    let server = Server::new();
    let deploy = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/manifests");
    for file in ["namespace", "rbac", "admission"] {
        server.kubectl(&["apply", "-f", &format!("{deploy}/{file}.yaml")]);
    }
    let nodes = [("n1", "10.128.0.0/23"), ("n2", "10.128.2.0/23")];
    let [own, other] = nodes.map(|(name, subnet)| {
        let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}});
        server.apply(&node.to_string());
        host(&server, name, "192.0.2.1", subnet)
    });
    let store = |file| {
        let files = vec![file];
        let access = Access::Kubeconfig {
            files,
            context: None,
        };
        Kubernetes::open(&access, Reader::Agent).unwrap()
    };
    let agent = store(server.kubeconfig_of_agent("n1"));
    let elsewhere = store(server.kubeconfig_of_service_account("weft-agent"));
    let fields = json!({ FIELD: refused() });
    let refusal = |store: &Kubernetes, key, fields: &Value| {
        store
            .patch_status(key, fields)
            .err()
            .map(|it| it.to_string())
    };
    // The server takes a new policy up within a second or so.
    let told = until("another node is refused", || {
        refusal(&agent, &other, &fields)
    });
    assert!(told.contains("of its own node only"), "{told}");
    assert_eq!(refusal(&agent, &own, &fields), None);
    assert_eq!(status(&server, &own)[FIELD], refused());
    let told = refusal(&elsewhere, &own, &fields).unwrap();
    assert!(told.contains("of its own node only"), "{told}");
    let condition = json!({
        "type": "Accepted", "status": "False", "reason": "Invalid", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z",
    });
    let told = refusal(&agent, &own, &json!({"conditions": [condition]})).unwrap();
    assert!(told.contains("conditions are the controller's"), "{told}");
    // The controller and administrators are others' business.
    let admin = server.store(Reader::Controller);
    assert_eq!(
        refusal(
            &admin,
            &own,
            &json!({"conditions": [condition], FIELD: null})
        ),
        None
    );
    assert_eq!(
        refusal(&agent, &own, &fields),
        None,
        "with conditions there"
    );
}
