use std::sync::Arc;

use serde_json::{Value, json};

use super::*;
use crate::api::Unenforced;
use crate::store::{Delta, Object};

/// A reporter under a clock of the test, and the object that it is about.
struct Scene {
    reporter: Reporter,
    start: Instant,
    said: Said,
    chance: f64,
}

impl Scene {
    fn new(said: Value) -> Self {
        let start = Instant::now();
        Self {
            reporter: Reporter::new(start),
            start,
            said: Said::Field(said),
            chance: 0.0,
        }
    }

    fn at(&self, second: u64) -> Instant {
        self.start + Duration::from_secs(second)
    }

    fn look(&mut self, second: u64, found: &[Unenforced]) -> Option<Value> {
        let now = self.at(second);
        self.reporter.look(found, &self.said, now, self.chance)
    }

    /// Seconds in which something is written, the same policies being found in each; the object says what was written.
    fn writes(&mut self, seconds: std::ops::Range<u64>, found: &[Unenforced]) -> Vec<u64> {
        let mut times = Vec::new();
        for second in seconds {
            if let Some(value) = self.look(second, found) {
                let now = self.at(second);
                self.reporter.wrote(value.clone(), now);
                self.said = Said::Field(value);
                times.push(second);
            }
        }
        times
    }
}

fn policies(names: &[&str]) -> Vec<Unenforced> {
    let named = names.iter().map(|name| Unenforced {
        object: ObjectRef::egress_policy("shop", *name),
        reason: "no room".into(),
    });
    named.collect()
}

fn listed(names: &[&str]) -> Value {
    let items = names
        .iter()
        .map(|name| json!({"namespace": "shop", "name": name, "reason": "no room"}));
    items.collect()
}

#[test]
fn what_lasts_ten_seconds_is_told_and_taken_back_when_it_is_over() {
    let mut scene = Scene::new(Value::Null);
    assert_eq!(scene.writes(0..40, &policies(&["a"])), [10]);
    assert_eq!(scene.said, Said::Field(listed(&["a"])));
    assert!(scene.reporter.is_settled());
    assert_eq!(scene.writes(40..60, &[]), [40]);
    assert_eq!(scene.said, Said::Field(Value::Null));
}

#[test]
fn what_comes_and_goes_is_not_told() {
    let mut scene = Scene::new(Value::Null);
    for turn in 0..10 {
        assert_eq!(
            scene.writes(20 * turn..20 * turn + 10, &policies(&["a"])),
            [0; 0]
        );
        assert_eq!(scene.writes(20 * turn + 10..20 * turn + 20, &[]), [0; 0]);
    }
}

#[test]
fn each_policy_has_its_own_ten_seconds() {
    let mut scene = Scene::new(Value::Null);
    assert_eq!(scene.writes(0..5, &policies(&["a"])), [0; 0]);
    // Told once with what lasts by then, and ten seconds later with the rest.
    assert_eq!(scene.writes(5..40, &policies(&["a", "b"])), [10, 20]);
    assert_eq!(scene.said, Said::Field(listed(&["a", "b"])));
}

#[test]
fn another_agent_of_the_node_goes_on_with_what_the_object_says() {
    let mut scene = Scene::new(listed(&["a", "b"]));
    assert_eq!(scene.writes(0..5, &policies(&["a", "b"])), [0; 0]);
    assert_eq!(scene.writes(5..30, &policies(&["b"])), [5]);
    assert_eq!(scene.said, Said::Field(listed(&["b"])));
}

#[test]
fn nothing_is_written_where_there_is_no_object() {
    let mut scene = Scene::new(Value::Null);
    scene.said = Said::Nowhere;
    assert_eq!(scene.writes(0..40, &policies(&["a"])), [0; 0]);
    scene.said = Said::Field(Value::Null);
    assert_eq!(scene.writes(40..60, &policies(&["a"])), [40]);
}

#[test]
fn nodes_do_not_write_in_the_same_moment() {
    let times = [0.0, 0.5, 0.99].map(|chance| {
        let mut scene = Scene::new(Value::Null);
        scene.chance = chance;
        let told = scene.writes(0..40, &policies(&["a"]))[0];
        (told, scene.writes(40..60, &[])[0])
    });
    assert_eq!(times, [(10, 40), (13, 43), (15, 45)]);
}

#[test]
fn a_server_that_refuses_is_asked_ever_more_rarely() {
    let mut scene = Scene::new(Value::Null);
    let mut times = Vec::new();
    for second in 0..2_000 {
        if scene.look(second, &policies(&["a"])).is_some() {
            let now = scene.at(second);
            scene.reporter.failed(now);
            times.push(second);
        }
    }
    let waits: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(waits, [10, 20, 40, 80, 160, 300, 300, 300, 300, 300]);
    assert!(!scene.reporter.is_settled());
    assert!(scene.look(2_000, &[]).is_none());
    assert!(
        scene.reporter.is_settled(),
        "nothing is to be told any more"
    );
}

#[test]
fn what_somebody_undoes_is_written_ever_more_rarely() {
    let mut scene = Scene::new(Value::Null);
    let mut times = Vec::new();
    for second in 0..200 {
        times.extend(scene.writes(second..second + 1, &policies(&["a"])));
        scene.said = Said::Field(Value::Null);
    }
    assert_eq!(times, [10, 20, 40, 80, 160]);
}

#[test]
fn the_list_is_as_long_as_the_server_takes() {
    let mut found = policies(&[]);
    for n in 0..150 {
        found.push(Unenforced {
            object: ObjectRef::egress_policy("shop", format!("p{n:03}")),
            reason: "é".repeat(400),
        });
    }
    let mut scene = Scene::new(Value::Null);
    assert_eq!(scene.writes(0..40, &found), [10]);
    let Said::Field(Value::Array(items)) = &scene.said else {
        panic!("a list: {:?}", scene.said);
    };
    assert_eq!((items.len(), &items[99]["name"]), (100, &json!("p099")));
    assert_eq!(items[0]["reason"].as_str().unwrap().len(), 512);
}

#[test]
fn the_own_object_alone_is_followed() {
    let object = |name: &str, value: Value| {
        let value = json!({
            "apiVersion": "network.openshift.io/v1", "kind": "HostSubnet", "metadata": {"name": name}, "status": value,
        });
        Delta::Put(Arc::new(Object::from_value(value).unwrap()))
    };
    let mut said = Said::default();
    said.take("node1", &object("node2", json!({ FIELD: listed(&["a"]) })));
    assert_eq!(said, Said::Nowhere);
    said.take("node1", &object("node1", Value::Null));
    assert_eq!(said, Said::Field(Value::Null));
    said.take("node1", &object("node1", json!({ FIELD: listed(&["a"]) })));
    assert_eq!(said, Said::Field(listed(&["a"])));
    said.take(
        "node1",
        &Delta::Gone(ObjectRef::cluster("HostSubnet", "node2")),
    );
    assert_eq!(said, Said::Field(listed(&["a"])));
    said.take(
        "node1",
        &Delta::Gone(ObjectRef::cluster("HostSubnet", "node1")),
    );
    assert_eq!(said, Said::Nowhere);
}
