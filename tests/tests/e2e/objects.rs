//! Objects are changed where they are kept: by patches, annotations and labels of `weft-lab`.

use serde_json::json;
use weft_lab::lab::objects::change::Field;
use weft_wait::eventually;

use crate::cluster::{Cluster, Store, on_both_stores, two_nodes};

on_both_stores!(a_patched_object_is_in_force);

fn a_patched_object_is_in_force(store: Store) {
    let cluster = Cluster::up_on(store, &two_nodes());
    cluster.pod("a/p", "node1");
    let vnid = || {
        let projects = cluster.projects("node1");
        projects
            .iter()
            .find(|project| project.name == "a")
            .unwrap()
            .vnid
    };
    assert_ne!(vnid(), 4711);
    cluster
        .patch("netnamespaces", None, "a", &json!({"netid": 4711}))
        .unwrap();
    eventually("the new VNID is in force", || vnid() == 4711);

    let object = ("NetNamespace", None, "a");
    let annotate = |change: &str, overwrite| {
        let changes = [change.parse().unwrap()];
        cluster.annotate(object, Field::Annotations, &changes, overwrite)
    };
    annotate("example.test/a=1", false).unwrap();
    annotate("example.test/a=1", false).unwrap();
    let refused = annotate("example.test/a=2", false).unwrap_err().to_string();
    assert!(refused.contains("--overwrite"), "{refused}");
    annotate("example.test/a=2", true).unwrap();
    annotate("example.test/a-", false).unwrap();
    let missing = cluster.patch("NetNamespace", None, "nobody", &json!({}));
    assert!(missing.unwrap_err().to_string().contains("no NetNamespace"));
    assert_eq!(vnid(), 4711);
}
