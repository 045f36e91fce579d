use serde_json::json;
use weft_core::model::Kind;

use super::super::cache::{Cache, Keep, Known};
use crate::store::{Delta, Object, ObjectRef};

const KIND: Kind = Kind::NetNamespace;

fn object(name: &str, version: u64) -> Object {
    let value = json!({"apiVersion": "v1", "kind": KIND.as_str(), "metadata": {"name": name}});
    Object {
        version: version.to_string(),
        ..Object::from_value(value).unwrap()
    }
}

fn key(name: &str) -> ObjectRef {
    ObjectRef::cluster(KIND, name)
}

fn text(delta: Option<Delta>) -> String {
    match delta {
        None => "nothing".into(),
        Some(Delta::Put(object)) => format!("+{} {}", object.key.name, object.version),
        Some(Delta::Gone(key)) => format!("-{}", key.name),
    }
}

/// A cache that was listed with these objects.
fn listed(keep: Keep, objects: &[(&str, u64)]) -> Cache {
    let mut cache = Cache::new(keep, [KIND]);
    cache.begin(&KIND);
    for (name, version) in objects {
        assert_eq!(
            text(cache.put(object(name, *version))),
            format!("+{name} {version}")
        );
    }
    assert!(cache.end(&KIND).is_empty(), "there was nothing before");
    cache
}

#[test]
fn a_list_tells_what_vanished_when_it_is_complete() {
    let mut cache = listed(Keep::Names, &[("stays", 1), ("goes", 2)]);
    cache.begin(&KIND);
    assert_eq!(
        text(cache.put(object("stays", 1))),
        "nothing",
        "it is known"
    );
    assert_eq!(text(cache.put(object("new", 9))), "+new 9");
    let gone: Vec<_> = cache
        .end(&KIND)
        .into_iter()
        .map(|delta| text(Some(delta)))
        .collect();
    assert_eq!(gone, ["-goes"]);
}

#[test]
fn a_list_that_broke_off_takes_nothing() {
    let mut cache = listed(Keep::Names, &[("a", 1), ("b", 2)]);
    cache.begin(&KIND);
    assert_eq!(text(cache.put(object("a", 1))), "nothing");
    // No end: the list begins anew.
    cache.begin(&KIND);
    assert_eq!(text(cache.put(object("b", 2))), "nothing");
    let gone: Vec<_> = cache
        .end(&KIND)
        .into_iter()
        .map(|delta| text(Some(delta)))
        .collect();
    assert_eq!(gone, ["-a"], "what only the broken list had does not count");
}

#[test]
fn another_kind_is_none_of_a_lists_business() {
    let mut cache = Cache::new(Keep::Names, [KIND, Kind::HostSubnet]);
    cache.begin(&Kind::HostSubnet);
    let mut host = object("n1", 1);
    host.key.kind = Kind::HostSubnet;
    cache.put(host);
    cache.end(&Kind::HostSubnet);
    assert!(!cache.is_listed(), "one kind is missing");
    cache.begin(&KIND);
    assert!(cache.end(&KIND).is_empty());
    assert!(cache.is_listed());
}

#[test]
fn older_news_never_take_back_what_a_write_answered() {
    let mut cache = listed(Keep::Objects, &[("a", 5)]);
    assert_eq!(text(cache.put(object("a", 8))), "+a 8", "our write");
    assert_eq!(
        text(cache.put(object("a", 6))),
        "nothing",
        "what the watch tells of before"
    );
    assert_eq!(
        text(cache.put(object("a", 8))),
        "nothing",
        "and of our write"
    );
    assert_eq!(
        text(cache.put(object("a", 10))),
        "+a 10",
        "by number: the text \"10\" is less than \"8\""
    );
}

#[test]
fn a_write_during_a_list_is_not_lost_by_it() {
    let mut cache = listed(Keep::Objects, &[]);
    cache.begin(&KIND);
    assert_eq!(text(cache.put(object("ours", 7))), "+ours 7");
    assert!(
        cache.end(&KIND).is_empty(),
        "the server may have read before"
    );
}

#[test]
fn what_we_removed_does_not_come_back() {
    let mut cache = listed(Keep::Objects, &[("a", 5)]);
    assert_eq!(text(cache.bury(key("a"), "5")), "-a");
    assert_eq!(
        text(cache.put(object("a", 5))),
        "nothing",
        "the watch is late"
    );
    assert_eq!(text(cache.gone(key("a"), "6")), "nothing", "it was told");
    assert_eq!(
        text(cache.put(object("a", 9))),
        "+a 9",
        "a new one of the name"
    );
}

#[test]
fn a_late_removal_spares_a_new_object_of_the_name() {
    let mut cache = listed(Keep::Objects, &[("a", 5)]);
    assert_eq!(text(cache.put(object("a", 9))), "+a 9", "ours");
    assert_eq!(
        text(cache.gone(key("a"), "7")),
        "nothing",
        "that was the one before"
    );
    assert_eq!(text(cache.bury(key("a"), "5")), "nothing");
    assert_eq!(text(cache.gone(key("a"), "12")), "-a");
}

#[test]
fn objects_are_only_there_if_they_are_kept_and_complete() {
    assert!(listed(Keep::Names, &[("a", 1)]).objects().is_none());
    let cache = listed(Keep::Objects, &[("b", 1), ("a", 2)]);
    let names: Vec<_> = cache
        .objects()
        .unwrap()
        .map(|object| object.key.name.as_str())
        .collect();
    assert_eq!(names, ["a", "b"], "in the order of a listing");
    assert!(matches!(cache.get(&key("a")), Known::Here(_)));
    assert_eq!(cache.get(&key("x")), Known::Absent);
    assert_eq!(
        cache.get(&ObjectRef::cluster("Lease", "x")),
        Known::Unknown,
        "nobody watches leases"
    );
    let mut fresh = Cache::new(Keep::Objects, [KIND]);
    fresh.begin(&KIND);
    fresh.put(object("a", 1));
    assert!(fresh.objects().is_none());
    assert_eq!(
        fresh.get(&key("b")),
        Known::Unknown,
        "the list may still bring it"
    );
}
