//! Documents in a text, and edits that keep the others.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::document::{Body, Format, parse, split};
use super::super::edit::{edit, render};
use super::net_namespace;
use crate::store::ObjectRef;

fn names(text: &str) -> Vec<String> {
    let documents = parse(text, Format::Yaml).unwrap_or_else(|e| panic!("{e}: {text:?}"));
    let objects = documents.iter().flat_map(|d| d.body.objects());
    objects.map(|o| o.key.to_string()).collect()
}

#[test]
fn documents_are_separated_by_markers() {
    let (a, b) = (net_namespace("a", 1), net_namespace("b", 2));
    let both = ["NetNamespace/a", "NetNamespace/b"];
    let texts = [
        format!("{a}---\n{b}"),
        format!("---\n{a}---\n{b}"),
        format!("# one\n---\n# two\n{a}\n--- # three\n{b}---\n"),
        format!("%YAML 1.2\n---\n{a}...\n{b}"),
        format!("\u{feff}{a}---\n\n---\n{b}...\n"),
        format!("# x\n...\n{a}...\n# y\n...\n---\n{b}"),
        format!("{a}---\n{b}").replace('\n', "\r\n"),
    ];
    for text in texts {
        assert_eq!(names(&text), both, "{text}");
    }
}

#[test]
fn a_list_is_its_items() {
    let list = json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a"}},
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "a"}},
    ]});
    for (text, format) in [
        (render(&list).unwrap(), Format::Yaml),
        (list.to_string(), Format::Json),
    ] {
        let documents = parse(&text, format).unwrap();
        let objects = documents[0].body.objects();
        assert_eq!(objects[0].key.to_string(), "Namespace/a");
        assert_eq!(objects[1].key.to_string(), "Pod/a/p");
    }
}

#[test]
fn what_is_no_object_is_refused_with_its_place() {
    let good = net_namespace("a", 1);
    let cases = [
        ("- 1", "not a mapping"),
        ("a: b: c", "line 1"),
        ("kind: Pod\nmetadata: {name: a}", "apiVersion"),
        ("apiVersion: v1\nmetadata: {name: a}", "kind"),
        ("apiVersion: v1\nkind: Pod", "metadata"),
        ("apiVersion: v1\nkind: Pod\nmetadata: {}", "metadata.name"),
        ("apiVersion: v1\nkind: Pod\nmetadata: {name: 1}", "quotes"),
        ("apiVersion: v1\nkind: List", "no items"),
        (
            "apiVersion: v1\nkind: Pod\nkind: Pod\nmetadata: {name: a}",
            "duplicate",
        ),
        ("a: &a [*a]", ""),
    ];
    for (text, part) in cases {
        let error = parse(text, Format::Yaml).unwrap_err();
        assert!(error.contains(part), "{text:?} gave {error:?}");
        let error = parse(&format!("{good}---\n{text}"), Format::Yaml).unwrap_err();
        assert!(error.contains("document at line 7"), "{error:?}");
    }
    let error = parse("{\"a\": 1, \"a\": 2}", Format::Json).unwrap_err();
    assert!(error.contains("duplicate"), "{error}");
}

#[test]
fn an_edit_keeps_comments_and_other_documents() {
    let (a, b, c) = (
        net_namespace("a", 1),
        net_namespace("b", 2),
        net_namespace("c", 3),
    );
    let text = format!("# head\n{a}--- # second\n# about b\n{b}# after b\n---\n{c}");
    let new = json!({"apiVersion": "network.openshift.io/v1", "kind": "NetNamespace",
                     "metadata": {"name": "b"}, "netname": "b", "netid": 7});
    let key = ObjectRef::cluster("NetNamespace", "b");
    let edited = edit(&text, Format::Yaml, &key, Some(&new))
        .unwrap()
        .unwrap();
    let body = render(&new).unwrap();
    assert_eq!(
        edited,
        format!("# head\n{a}--- # second\n# about b\n{body}# after b\n---\n{c}")
    );
    let removed = edit(&text, Format::Yaml, &key, None).unwrap().unwrap();
    assert_eq!(removed, format!("# head\n{a}---\n{c}"));
    assert_eq!(edit(&b, Format::Yaml, &key, None).unwrap(), None);
}

#[test]
fn an_item_of_a_list_is_edited_in_place() {
    let item = |name: &str, n: u32| json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "n": n});
    let list = json!({"apiVersion": "v1", "kind": "List", "items": [item("a", 1), item("b", 2)]});
    let key = ObjectRef::cluster("Pod", "a");
    for (text, format) in [
        (render(&list).unwrap(), Format::Yaml),
        (list.to_string(), Format::Json),
    ] {
        let edited = edit(&text, format, &key, Some(&item("a", 9)))
            .unwrap()
            .unwrap();
        let documents = parse(&edited, format).unwrap();
        let Body::List(_, objects) = &documents[0].body else {
            panic!("no list: {edited}");
        };
        assert_eq!(objects[0].value, item("a", 9));
        assert_eq!(objects[1].value, item("b", 2));
        let removed = edit(&text, format, &key, None).unwrap().unwrap();
        assert_eq!(parse(&removed, format).unwrap()[0].body.objects().len(), 1);
    }
}

#[test]
fn hostile_text_is_an_error_and_no_panic() {
    let deep = "[".repeat(100_000);
    let nested = format!("{}1{}", "{a: ".repeat(5_000), "}".repeat(5_000));
    let bomb = (1..30).fold(String::from("a0: &a0 [x, x]\n"), |text, n| {
        let m = n - 1;
        format!("{text}a{n}: &a{n} [*a{m}, *a{m}, *a{m}]\n")
    });
    for text in [
        deep.as_str(),
        &nested,
        &bomb,
        "&a *a",
        "*nobody",
        "\0",
        "!!binary |\n  x",
    ] {
        for format in [Format::Yaml, Format::Json] {
            assert!(parse(text, format).is_err());
        }
    }
}

/// Values that YAML could take for something else when they are not quoted.
fn any_value() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        "\\PC{0,20}",
        "[-0-9a-fxoeE:._~ #\\n'\"|>&*!%@`]{0,12}",
        Just("null".to_owned()),
        Just("yes".to_owned()),
        Just("---".to_owned()),
        Just("a\n---\nb\n...\n".to_owned()),
        Just("2001:db8::1".to_owned()),
        Just("1e400".to_owned()),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        text.clone().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(text.clone(), inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn no_text_panics(text in "(?s).{0,200}") {
        drop(parse(&text, Format::Yaml));
        drop(parse(&text, Format::Json));
    }

    #[test]
    fn no_yaml_like_text_panics(text in "[-a-c:{}\\[\\],&*!|>'\"#%@`? \\n\\t.]{0,80}") {
        drop(parse(&text, Format::Yaml));
    }

    #[test]
    fn the_documents_joined_are_the_text(text in "([-.%#a: ]{0,4}\\r?\\n){0,12}") {
        prop_assert_eq!(split(&text).concat(), text);
    }

    #[test]
    fn an_object_reads_back_as_it_was_written(extra in any_value()) {
        let new = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "b"}, "x": extra});
        let key = ObjectRef::cluster("Pod", "b");
        let (a, c) = (net_namespace("a", 1), net_namespace("c", 2));
        let old = "---\napiVersion: v1\nkind: Pod\nmetadata: {name: b}\n";
        let text = format!("{a}{old}---\n{c}");
        let edited = edit(&text, Format::Yaml, &key, Some(&new)).unwrap().unwrap();
        prop_assert!(edited.starts_with(&a) && edited.ends_with(&c));
        let documents = parse(&edited, Format::Yaml).unwrap();
        prop_assert_eq!(&documents[1].body.objects()[0].value, &new);
    }
}
