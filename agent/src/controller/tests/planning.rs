//! Objects in, writes out.

mod nodes;
mod projects;

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::annotations::{CHANGE_NETWORK, Outcome, REQUEST_ID};
use super::super::plan::{Memory, Write};
use super::{namespace, network, node};
use crate::store::{Listing, Object, ObjectRef};

/// A store that takes every write.
#[derive(Default)]
struct Cluster {
    objects: BTreeMap<ObjectRef, Object>,
    memory: Memory,
    random: u32,
}

impl Cluster {
    fn new(objects: impl IntoIterator<Item = Object>) -> Self {
        let mut cluster = Self::default();
        let entries = json!([{"CIDR": "10.128.0.0/14", "hostSubnetLength": 9}]);
        cluster.put(network("multitenant", &entries));
        objects.into_iter().for_each(|object| cluster.put(object));
        cluster
    }

    fn put(&mut self, object: Object) {
        self.objects.insert(object.key.clone(), object);
    }

    fn remove(&mut self, kind: &str, name: &str) {
        self.objects
            .remove(&ObjectRef::cluster(kind, name))
            .unwrap();
    }

    fn get(&self, kind: &str, name: &str) -> &Value {
        &self.objects[&ObjectRef::cluster(kind, name)].value
    }

    fn netid(&self, name: &str) -> u64 {
        self.get("NetNamespace", name)["netid"].as_u64().unwrap()
    }

    fn has(&self, kind: &str, name: &str) -> bool {
        self.objects.contains_key(&ObjectRef::cluster(kind, name))
    }

    /// One pass; answers how many writes there were, and the problems.
    fn pass(&mut self) -> (usize, String) {
        let objects = self.objects.values().cloned().map(Arc::new).collect();
        let listing = Listing {
            objects,
            problems: Vec::new(),
        };
        let random = &mut self.random;
        let plan = self.memory.plan(&listing, &mut |bound| {
            *random = random.wrapping_mul(1_103_515_245).wrapping_add(12345);
            *random % bound
        });
        let count = plan.writes.len();
        for step in plan.writes {
            let there = self.objects.contains_key(&step.object.key);
            match step.how {
                Write::Create => assert!(!there, "{step:?}"),
                Write::Update | Write::Delete => assert!(there, "{step:?}"),
            }
            if step.how == Write::Delete {
                self.objects.remove(&step.object.key);
            } else {
                self.put(step.object);
            }
        }
        let lines: Vec<String> = plan
            .problems
            .iter()
            .map(|p| format!("{}: {}", p.object, p.message))
            .collect();
        (count, lines.join("\n"))
    }

    /// Passes until nothing is left to do.
    fn settle(&mut self) -> String {
        let (_, problems) = self.pass();
        let again = self.pass();
        assert_eq!(again.0, 0, "a pass without change writes nothing");
        problems
    }

    fn ask(&mut self, name: &str, request: &str, id: &str) {
        let object = self
            .objects
            .get_mut(&ObjectRef::cluster("NetNamespace", name))
            .unwrap();
        object.set_annotation(CHANGE_NETWORK, Some(request));
        object.set_annotation(REQUEST_ID, Some(id));
    }

    fn outcome(&self, name: &str) -> Outcome {
        let object = &self.objects[&ObjectRef::cluster("NetNamespace", name)];
        assert_eq!(
            object.annotation(CHANGE_NETWORK),
            None,
            "the request is gone"
        );
        assert_eq!(object.annotation(REQUEST_ID), None);
        Outcome::of(object).unwrap()
    }
}

#[test]
fn without_a_network_nothing_is_written() {
    let mut cluster = Cluster::new([node("n", "192.0.2.1"), namespace("a")]);
    cluster.remove("ClusterNetwork", "default");
    let (writes, problems) = cluster.pass();
    assert_eq!(writes, 0);
    assert!(
        problems.contains("ClusterNetwork/default: does not exist"),
        "{problems}"
    );
    cluster.put(network("wrong", &json!([])));
    assert_eq!(cluster.pass().0, 0);
}

/// Objects of the controller's kinds with whatever in their fields.
fn any_object() -> impl Strategy<Value = Object> {
    let word = prop::sample::select(vec![
        "",
        "a",
        "b",
        "default",
        "192.0.2.1",
        "192.0.2.2",
        "10.128.0.0/23",
        "fd01::/64",
        "0.0.0.0/0",
        "::/0",
        "x/y",
        "10.0.0.0/8",
        "fd01::/48",
        "join:b",
        "isolate",
        "global",
        "multitenant",
        "subnet",
        "InternalIP",
    ]);
    let leaf = prop_oneof![
        word.prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (0u32..70).prop_map(Value::from),
        Just(Value::Null),
    ];
    let field = prop::sample::select(vec![
        "CIDR",
        "hostSubnetLength",
        "type",
        "address",
        "addresses",
        "status",
        CHANGE_NETWORK,
        "annotations",
        "uid",
    ]);
    let value = leaf.prop_recursive(3, 12, 3, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map(field.clone().prop_map(str::to_owned), inner, 0..3)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    });
    let fields = prop::sample::select(vec![
        "netname",
        "netid",
        "host",
        "hostIP",
        "subnet",
        "subnets",
        "status",
        "metadata",
        "clusterNetworks",
        "serviceNetwork",
        "serviceNetworks",
        "pluginName",
        "mtu",
        "vxlanPort",
        "egressIPs",
        "network",
    ]);
    let kinds = [
        "ClusterNetwork",
        "HostSubnet",
        "NetNamespace",
        "Node",
        "Namespace",
    ];
    let names = prop::sample::select(vec!["a", "b", "default"]);
    let fields = prop::collection::vec((fields, value), 0..6);
    (prop::sample::select(kinds.to_vec()), names, fields).prop_map(|(kind, name, fields)| {
        let mut object = Object::cluster(
            "network.openshift.io/v1",
            kind,
            name,
            serde_json::Map::new(),
        );
        for (field, value) in fields {
            object.set_field(field, value);
        }
        object
    })
}

proptest! {
    #[test]
    fn no_object_panics_nor_keeps_the_controller_busy(all in prop::collection::vec(any_object(), 0..8)) {
        let mut cluster = Cluster::new([node("n", "192.0.2.77"), namespace("p")]);
        let mut intake = crate::ingest::Intake::default();
        for object in all {
            cluster.put(object.clone());
            drop(intake.take(vec![crate::store::Delta::Put(Arc::new(object))]));
        }
        cluster.pass();
        cluster.pass();
        cluster.pass();
        prop_assert_eq!(cluster.pass().0, 0);
    }
}
