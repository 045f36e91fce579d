use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use clap::Parser;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::config::SourceArgs;
use crate::controller;
use crate::controller::annotations::{CHANGE_NETWORK, REQUEST_ID};
use crate::store::scratch::Scratch;
use crate::store::{Manifests, Object, Store};

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: PodNetworkArgs,
}

fn parse(words: &str) -> Result<PodNetworkArgs, String> {
    let words = std::iter::once("weft").chain(words.split_whitespace());
    let parsed = Cli::try_parse_from(words);
    parsed.map(|cli| cli.args).map_err(|e| e.to_string())
}

/// A running controller.
struct Running(Arc<AtomicBool>, Option<JoinHandle<()>>);

impl Running {
    fn new(dir: &Scratch) -> Self {
        let config = StoreArgs {
            config: None,
            source: SourceArgs {
                manifests: Some(dir.path().into()),
                ..SourceArgs::default()
            },
        };
        let config = config.load().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            controller::run(&config, &flag, &controller::figures::Figures::default()).unwrap();
        });
        Self(stop, Some(thread))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
        self.1.take().unwrap().join().unwrap();
    }
}

fn cluster(dir: &Scratch, plugin: &str) {
    let network = json!({
        "apiVersion": "network.openshift.io/v1", "kind": "ClusterNetwork", "metadata": {"name": "default"},
        "clusterNetworks": [{"CIDR": "10.128.0.0/14", "hostSubnetLength": 9}],
        "serviceNetwork": "172.30.0.0/16", "pluginName": plugin,
    });
    dir.write("network.json", network.to_string());
}

fn project(dir: &Scratch, name: &str, netid: u32, team: &str) {
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace",
                           "metadata": {"name": name, "labels": {"team": team}}});
    let net = json!({"apiVersion": "network.openshift.io/v1", "kind": "NetNamespace",
                     "metadata": {"name": name}, "netname": name, "netid": netid});
    let list = json!({"apiVersion": "v1", "kind": "List", "items": [namespace, net]});
    dir.write(&format!("{name}.json"), list.to_string());
}

fn netid(dir: &Scratch, name: &str) -> u64 {
    get(dir, name).value["netid"].as_u64().unwrap()
}

fn get(dir: &Scratch, name: &str) -> Object {
    let listing = Manifests::new(dir.path()).list().unwrap();
    Object::clone(listing.get("NetNamespace", "", name).unwrap())
}

fn run_in(dir: &Scratch, words: &str) -> Result<bool, String> {
    let words = format!("{words} --manifests {}", dir.path().display());
    let code = run(&parse(&words).unwrap()).map_err(|e| format!("{e:#}"))?;
    Ok(code == ExitCode::SUCCESS)
}

#[test]
fn usage() {
    for good in [
        "join-projects --to=a b c",
        "join-projects --to a --selector team=x",
        "isolate-projects a -o json",
        "make-projects-global --selector !x --timeout 1",
    ] {
        assert!(parse(good).is_ok(), "{good}");
    }
    for bad in [
        "",
        "join-projects b",
        "join-projects --to=a",
        "isolate-projects",
        "isolate-projects a --selector team=x",
        "isolate-projects --selector team=x,=",
        "isolate-projects --selector=",
    ] {
        assert!(parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn outcomes_are_told() {
    let dir = Scratch::new();
    cluster(&dir, "redhat/openshift-ovs-multitenant");
    for (name, id, team) in [
        ("a", 11, "x"),
        ("b", 12, "x"),
        ("c", 13, "y"),
        ("default", 0, ""),
    ] {
        project(&dir, name, id, team);
    }
    let _controller = Running::new(&dir);
    assert_eq!(run_in(&dir, "join-projects --to=a b a"), Ok(true));
    assert_eq!(netid(&dir, "b"), 11);
    assert_eq!(run_in(&dir, "isolate-projects --selector team=x"), Ok(true));
    assert_ne!(netid(&dir, "a"), netid(&dir, "b"));
    assert_eq!(run_in(&dir, "make-projects-global c"), Ok(true));
    assert_eq!(netid(&dir, "c"), 0);

    assert_eq!(run_in(&dir, "isolate-projects c default nobody"), Ok(false));
    assert!(netid(&dir, "c") >= 10, "others go on when one is refused");
    assert_eq!(netid(&dir, "default"), 0);
    let again = change(
        &Manifests::new(dir.path()),
        &["default".into(), "nobody".into(), "c".into()],
        "isolate",
        Duration::from_secs(10),
    );
    let again = again.unwrap();
    let told: Vec<_> = again
        .iter()
        .map(|r| (r.project.as_str(), r.outcome))
        .collect();
    let wanted = [
        ("default", Outcome::Refused),
        ("nobody", Outcome::Failed),
        ("c", Outcome::Applied),
    ];
    assert_eq!(told, wanted);
    assert!(
        again[0]
            .reason
            .as_ref()
            .unwrap()
            .contains("has to stay global")
    );
    assert_eq!(
        again[2].from, again[2].to,
        "it was alone in its network already"
    );
}

#[test]
fn nothing_is_asked_where_nothing_can_be_done() {
    let dir = Scratch::new();
    let error = |words: &str| run_in(&dir, words).unwrap_err();
    assert!(error("isolate-projects a").contains("ClusterNetwork/default does not exist"));
    cluster(&dir, "bad");
    assert!(error("isolate-projects a").contains("pluginName"));
    cluster(&dir, "subnet");
    assert!(error("isolate-projects a").contains("multitenant"));
    cluster(&dir, "multitenant");
    project(&dir, "a", 11, "x");
    assert!(error("isolate-projects --selector team=y").contains("team=y"));
    assert!(error("join-projects --to=nobody a").contains("nobody"));
    let error = run_in(&Scratch::new(), "isolate-projects a --config /nonexistent");
    assert!(error.unwrap_err().contains("/nonexistent"));
}

#[test]
fn an_unanswered_request_is_withdrawn() {
    let dir = Scratch::new();
    cluster(&dir, "multitenant");
    project(&dir, "a", 11, "x");
    let before = get(&dir, "a").value;
    let store = Manifests::new(dir.path());
    let reports = change(&store, &["a".into()], "global", Duration::from_millis(50)).unwrap();
    assert_eq!(reports[0].outcome, Outcome::Failed);
    assert!(
        reports[0]
            .reason
            .as_ref()
            .unwrap()
            .contains("weft controller")
    );
    assert_eq!(get(&dir, "a").value, before);
}

#[test]
fn an_older_answer_is_not_taken_for_ours_and_a_rival_is_told() {
    let dir = Scratch::new();
    project(&dir, "a", 11, "x");
    let store = Manifests::new(dir.path());
    let mut object = get(&dir, "a");
    let old = r#"{"request":"global","id":"old","outcome":"applied","from":11,"to":0}"#;
    object.set_annotation(controller::annotations::RESULT, Some(old));
    store.update(&object).unwrap();
    let rival = Manifests::new(dir.path());
    let watch = rival.watch().unwrap();
    let (reports, ()) = std::thread::scope(|scope| {
        let asking =
            scope.spawn(|| change(&store, &["a".into()], "global", Duration::from_secs(10)));
        for notice in &watch.notices {
            let mut object = get(&dir, "a");
            if object.annotation(CHANGE_NETWORK).is_some() {
                object.set_annotation(REQUEST_ID, Some("rival"));
                rival.update(&object).unwrap();
                break;
            }
            drop(notice);
        }
        (asking.join().unwrap().unwrap(), ())
    });
    assert_eq!(reports[0].outcome, Outcome::Failed);
    assert!(
        reports[0]
            .reason
            .as_ref()
            .unwrap()
            .contains("another request")
    );
}

#[test]
fn selectors_as_kubectl_takes_them() {
    let mut object = Object::cluster("v1", "Namespace", "a", serde_json::Map::new());
    object.value["metadata"]["labels"] = json!({"team": "web", "x.io/tier": "db", "empty": ""});
    let matches = [
        "team=web",
        "team==web",
        " team = web ",
        "team",
        "!old",
        "team!=db",
        "old!=db",
        "team in (db, web)",
        "team notin (db)",
        "old notin (db)",
        "team=web,x.io/tier=db",
        "team in (web,db),!old",
        "empty=",
        "empty in ()",
    ];
    for text in matches {
        assert!(text.parse::<Selector>().unwrap().matches(&object), "{text}");
    }
    let others = [
        "team=db",
        "old",
        "!team",
        "team!=web",
        "old in (a)",
        "team notin (web)",
        "team=web,old",
    ];
    for text in others {
        assert!(
            !text.parse::<Selector>().unwrap().matches(&object),
            "{text}"
        );
    }
    let bad = [
        "",
        ",",
        "a,",
        "=a",
        "a=b=c",
        "a in b",
        "a in (b",
        "a within (b)",
        "in (a)",
        "a b",
        "-a",
        "a=-b",
        "a/b/c=d",
        "é",
    ];
    for text in bad {
        assert!(text.parse::<Selector>().is_err(), "{text}");
    }
}

proptest! {
    #[test]
    fn no_selector_panics(text in "[a-c!=,() in]{0,20}|\\PC{0,10}") {
        drop(text.parse::<Selector>());
    }
}
