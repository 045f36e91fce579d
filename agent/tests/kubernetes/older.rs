//! A server with the schemas of an older version, and objects from that time.

use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use weft_agent::ingest::{self, Event};
use weft_agent::store::Reader;
use weft_core::model::{LocalNode, Problem, World};

use crate::rig::{PATIENCE, Server};

/// A kind as it was before there was a schema for it.
pub fn old_kind(kind: &str, plural: &str, scope: &str) -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.network.openshift.io")},
        "spec": {
            "group": "network.openshift.io", "scope": scope,
            "names": {"kind": kind, "listKind": format!("{kind}List"), "plural": plural, "singular": kind.to_lowercase()},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                "type": "object", "x-kubernetes-preserve-unknown-fields": true,
            }}}],
        },
    })
}

/// What the agent makes of what it is told.
struct Seen {
    events: Receiver<Event>,
    world: World,
    problems: Vec<Problem>,
    synced: bool,
    /// How often the world was changed.
    changes: usize,
}

impl Seen {
    #[track_caller]
    fn until(&mut self, what: &str, holds: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !holds(self) {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.events.recv_timeout(left) {
                Ok(event) => self.take(event),
                Err(error) => panic!("{what}: {error}; problems: {:?}", self.problems),
            }
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Changes(changes) => {
                self.changes += changes.len();
                for change in changes {
                    self.world.take(change);
                }
            }
            Event::Problems(problems) => self.problems = problems,
            Event::Synced => self.synced = true,
        }
    }

    fn problem(&self, object: &str) -> Option<&Problem> {
        self.problems
            .iter()
            .find(|it| it.object.to_string() == object)
    }
}

#[test]
fn objects_of_an_older_version_are_read_and_outlive_the_new_schema() {
    let server = Server::without_kinds();
    for (kind, plural, scope) in [
        ("ClusterNetwork", "clusternetworks", "Cluster"),
        ("HostSubnet", "hostsubnets", "Cluster"),
        ("NetNamespace", "netnamespaces", "Cluster"),
        ("EgressNetworkPolicy", "egressnetworkpolicies", "Namespaced"),
    ] {
        server.apply(&old_kind(kind, plural, scope).to_string());
    }
    server.kubectl(&[
        "wait",
        "--for=condition=Established",
        "--timeout=30s",
        "crd",
        "--all",
    ]);
    let object = |kind: &str, name: &str, mut fields: Value| {
        fields["apiVersion"] = "network.openshift.io/v1".into();
        fields["kind"] = kind.into();
        fields["metadata"]["name"] = name.into();
        server.apply(&fields.to_string());
    };
    // Fields that came later are absent, deprecated ones are there.
    let network = json!({"network": "10.128.0.0/14", "hostsubnetlength": 9, "serviceNetwork": "172.30.0.0/16",
        "pluginName": "redhat/openshift-ovs-multitenant", "clusterNetworks": [{"CIDR": "10.128.0.0/14", "hostSubnetLength": 9}]});
    object("ClusterNetwork", "default", network);
    let subnet = json!({"host": "n1", "hostIP": "192.0.2.1", "subnet": "10.128.0.0/23"});
    object("HostSubnet", "n1", subnet);
    object(
        "NetNamespace",
        "shop",
        json!({"netname": "shop", "netid": 12}),
    );
    object("NetNamespace", "broken", json!({"netname": "broken"}));
    let odd = json!({"netname": "odd", "netid": 14, "fromAnotherTime": "x"});
    object("NetNamespace", "odd", odd);

    let store = server.store(Reader::Agent);
    let (sender, events) = channel();
    let _running = ingest::spawn(&store, sender).unwrap();
    let ip = [192, 0, 2, 1].into();
    let world = World::new(LocalNode {
        name: "n1".into(),
        ip,
        addresses: vec![ip],
    });
    let mut seen = Seen {
        events,
        world,
        problems: Vec::new(),
        synced: false,
        changes: 0,
    };
    seen.until("all is read, and two objects are not understood", |seen| {
        seen.synced && seen.problems.len() == 2
    });
    let message = &seen.problem("NetNamespace/broken").unwrap().message;
    assert!(message.contains("netid"), "{message}");
    let message = &seen.problem("NetNamespace/odd").unwrap().message;
    assert!(
        message.contains("unknown field `fromAnotherTime`"),
        "what is not understood may mean anything: {message}"
    );
    assert_eq!((seen.world.hosts.len(), seen.world.projects.len()), (1, 1));
    assert!(seen.world.network.is_some());

    // The new schemas: what is stored stays stored, also what they would refuse, and nothing is taken back meanwhile.
    let changes = seen.changes;
    server.install_kinds();
    let egress = json!({"metadata": {"namespace": "default"},
        "spec": {"egress": [{"type": "Deny", "to": {"cidrSelector": "0.0.0.0/0"}}]}});
    object("EgressNetworkPolicy", "later", egress);
    seen.until("news under the new schema", |seen| seen.changes > changes);
    while let Ok(event) = seen.events.recv_timeout(Duration::from_secs(1)) {
        seen.take(event);
    }
    assert_eq!((seen.world.hosts.len(), seen.world.projects.len()), (1, 1));
    assert_eq!(seen.changes, changes + 1, "the policy and nothing else");
    // Mended under the new schema, which knows no other fields, the objects are taken.
    let mend = ["--type=merge", "-p", r#"{"netid": 13}"#];
    server.kubectl(&[&["patch", "netnamespace", "broken"], &mend[..]].concat());
    server.kubectl(&["annotate", "netnamespace", "odd", "looked-at=yes"]);
    seen.until("the objects are understood", |seen| {
        seen.world.projects.len() == 3 && seen.problems.is_empty()
    });
}
