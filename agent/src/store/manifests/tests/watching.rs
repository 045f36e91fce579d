//! The watch of a directory.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::{Duration, Instant};

use serde_json::json;
use weft_core::model::Problem;

use super::net_namespace;
use crate::store::scratch::Scratch;
use crate::store::{Delta, Manifests, Notice, Object, Store, Watch};

/// What a watcher knows.
struct Seen {
    watch: Watch,
    objects: BTreeMap<String, u64>,
    problems: Vec<Problem>,
    listed: bool,
}

impl Seen {
    fn new(store: &dyn Store) -> Self {
        Self {
            watch: store.watch().unwrap(),
            objects: BTreeMap::new(),
            problems: Vec::new(),
            listed: false,
        }
    }

    fn until(&mut self, what: &str, holds: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !holds(self) {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.watch.notices.recv_timeout(left) {
                Ok(Notice::Changed(deltas)) => deltas.into_iter().for_each(|d| match d {
                    Delta::Put(o) => {
                        let netid = o.value["netid"].as_u64().unwrap_or(0);
                        self.objects.insert(o.key.name.clone(), netid);
                    }
                    Delta::Gone(key) => {
                        self.objects.remove(&key.name).unwrap();
                    }
                }),
                Ok(Notice::Problems(problems)) => self.problems = problems,
                Ok(Notice::Listed) => self.listed = true,
                Err(error) => panic!("never came true: {what}: {error}, {:?}", self.objects),
            }
        }
    }

    fn until_is(&mut self, wanted: &[(&str, u64)]) {
        let wanted: BTreeMap<String, u64> =
            wanted.iter().map(|(k, v)| ((*k).to_owned(), *v)).collect();
        self.until("these objects", |seen| {
            seen.listed && seen.objects == wanted
        });
    }
}

#[test]
fn every_way_to_change_a_file_is_seen() {
    let dir = Scratch::new();
    dir.write("a.yaml", net_namespace("a", 1));
    let store = Manifests::new(dir.path());
    let mut seen = Seen::new(&store);
    seen.until_is(&[("a", 1)]);

    dir.write("a.yaml", net_namespace("a", 2));
    seen.until_is(&[("a", 2)]);

    dir.write(".next", net_namespace("a", 3));
    let path = |name: &str| dir.path().join(name);
    std::fs::rename(path(".next"), path("a.yaml")).unwrap();
    seen.until_is(&[("a", 3)]);

    dir.write("b.yaml", net_namespace("b", 4));
    seen.until_is(&[("a", 3), ("b", 4)]);

    std::fs::rename(path("b.yaml"), path("b.yaml~")).unwrap();
    seen.until_is(&[("a", 3)]);

    std::fs::hard_link(path("b.yaml~"), path("b.yaml")).unwrap();
    seen.until_is(&[("a", 3), ("b", 4)]);

    std::fs::remove_file(path("a.yaml")).unwrap();
    seen.until_is(&[("b", 4)]);
}

#[test]
fn half_a_file_is_not_read() {
    let dir = Scratch::new();
    dir.write(
        "a.yaml",
        net_namespace("a", 1) + "---\n" + &net_namespace("b", 1),
    );
    let store = Manifests::new(dir.path());
    let mut seen = Seen::new(&store);
    seen.until_is(&[("a", 1), ("b", 1)]);

    // The first half parses, and would remove b.
    let mut file = std::fs::File::create(dir.path().join("a.yaml")).unwrap();
    file.write_all(net_namespace("a", 2).as_bytes()).unwrap();
    // Enough for an eager reader, whose reading would show as a removal below.
    let silent = seen.watch.notices.recv_timeout(Duration::from_millis(50));
    assert!(silent.is_err(), "{silent:?}");
    file.write_all(b"---\n").unwrap();
    file.write_all(net_namespace("b", 2).as_bytes()).unwrap();
    drop(file);
    let notice = seen
        .watch
        .notices
        .recv_timeout(Duration::from_secs(10))
        .unwrap();
    let Notice::Changed(deltas) = notice else {
        panic!("{notice:?}");
    };
    let puts = deltas.iter().filter(|d| matches!(d, Delta::Put(_))).count();
    assert_eq!((deltas.len(), puts), (2, 2), "{deltas:?}");
}

#[test]
fn an_object_that_moves_to_another_file_stays() {
    let dir = Scratch::new();
    dir.write("a.yaml", net_namespace("a", 1));
    let store = Manifests::new(dir.path());
    let mut seen = Seen::new(&store);
    seen.until_is(&[("a", 1)]);
    std::fs::rename(dir.path().join("a.yaml"), dir.path().join("z.yaml")).unwrap();
    dir.write("b.yaml", net_namespace("b", 2));
    // `until` panics on a removal of what it does not know, and a removal of `a` would be told before `b`.
    seen.until("b", |seen| {
        assert!(seen.objects.contains_key("a"));
        seen.objects.contains_key("b")
    });
}

#[test]
fn problems_come_and_go() {
    let dir = Scratch::new();
    dir.write("a.yaml", net_namespace("a", 1));
    let store = Manifests::new(dir.path());
    let mut seen = Seen::new(&store);
    seen.until_is(&[("a", 1)]);
    dir.write("a.yaml", "kind: [");
    seen.until("a problem", |seen| seen.problems.len() == 1);
    assert!(seen.problems[0].object.to_string().ends_with("a.yaml"));
    assert_eq!(seen.objects.len(), 1, "the last good object stays");
    dir.write("a.yaml", net_namespace("a", 2));
    seen.until("no problem", |seen| seen.problems.is_empty());
    seen.until_is(&[("a", 2)]);
}

#[test]
fn a_directory_that_comes_later_is_picked_up() {
    let parent = Scratch::new();
    let dir = parent.path().join("manifests");
    let store = Manifests::new(&dir);
    let mut seen = Seen::new(&store);
    seen.until("a problem", |seen| seen.problems.len() == 1);
    assert!(!seen.listed, "nothing was listed");
    assert!(seen.problems[0].object.to_string().ends_with("manifests"));
    std::fs::create_dir(&dir).unwrap();
    std::fs::write(dir.join("a.yaml"), net_namespace("a", 1)).unwrap();
    seen.until_is(&[("a", 1)]);
    seen.until("no problem", |seen| seen.problems.is_empty());

    // Moved away as a whole: what was read stays, and the next directory of the name is followed.
    std::fs::rename(&dir, parent.path().join("old")).unwrap();
    seen.until("a problem", |seen| seen.problems.len() == 1);
    assert_eq!(seen.objects.len(), 1);
    std::fs::create_dir(&dir).unwrap();
    std::fs::write(dir.join("b.yaml"), net_namespace("b", 2)).unwrap();
    seen.until_is(&[("b", 2)]);
    std::fs::write(dir.join("b.yaml"), net_namespace("b", 3)).unwrap();
    seen.until_is(&[("b", 3)]);
}

#[test]
fn own_writes_are_listed_at_once_and_told_to_every_watch() {
    let dir = Scratch::new();
    let (store, other) = (Manifests::new(dir.path()), Manifests::new(dir.path()));
    let (mut mine, mut theirs) = (Seen::new(&store), Seen::new(&other));
    mine.until_is(&[]);
    theirs.until_is(&[]);
    let fields = json!({"netname": "a", "netid": 1})
        .as_object()
        .unwrap()
        .clone();
    let object = Object::cluster("network.openshift.io/v1", "NetNamespace", "a", fields);
    let mut object = Object::clone(&store.create(&object).unwrap());
    for netid in 2..20 {
        object.set_field("netid", json!(netid));
        object = Object::clone(&store.update(&object).unwrap());
        let listed = store.list().unwrap();
        assert_eq!(listed.objects[0].value["netid"], netid);
    }
    mine.until_is(&[("a", 19)]);
    theirs.until_is(&[("a", 19)]);
}

#[test]
fn a_stopped_watch_is_disconnected() {
    let dir = Scratch::new();
    let store = Manifests::new(dir.path());
    let watch = store.watch().unwrap();
    let stopper = watch.stopper();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(move || watch.notices.iter().count());
        stopper.stop();
        waiting.join().unwrap();
    });
    // A later watch starts anew.
    dir.write("a.yaml", net_namespace("a", 1));
    Seen::new(&store).until_is(&[("a", 1)]);
}
