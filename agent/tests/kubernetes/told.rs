//! What a watch has told so far.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use weft_agent::store::{Delta, Notice, Object, ObjectRef, Store, Watch};

use crate::rig::PATIENCE;

/// What a server says that makes the storage of a kind anew: for a moment, and at times a while after it has served a kind that
/// it has just learned. That it is told is not what a test here is about.
const SETTLING: &str = "storage is (re)initializing";

pub struct Told {
    watch: Watch,
    pub objects: BTreeMap<ObjectRef, Arc<Object>>,
    /// In the order in which they were told.
    pub deltas: Vec<String>,
    pub problems: Vec<String>,
    /// Also those that were taken back.
    pub all_problems: Vec<String>,
    pub listed: bool,
    /// Whether the server made storage anew, which is in neither list.
    pub settling: bool,
}

impl Told {
    pub fn by(store: &dyn Store) -> Self {
        Self {
            watch: store.watch().unwrap(),
            objects: BTreeMap::new(),
            deltas: Vec::new(),
            problems: Vec::new(),
            all_problems: Vec::new(),
            listed: false,
            settling: false,
        }
    }

    /// Takes notices in until something holds.
    #[track_caller]
    pub fn until(&mut self, what: &str, holds: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !holds(self) {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.watch.notices.recv_timeout(left) {
                Ok(notice) => self.take(notice),
                Err(error) => panic!(
                    "{what}: {error}; told so far: {:?}; problems: {:?}",
                    self.deltas, self.problems
                ),
            }
        }
    }

    /// Takes in what there is, without waiting.
    pub fn drain(&mut self) {
        while let Ok(notice) = self.watch.notices.recv_timeout(Duration::ZERO) {
            self.take(notice);
        }
    }

    fn take(&mut self, notice: Notice) {
        match notice {
            Notice::Listed => {
                assert!(!self.listed, "it comes once");
                self.listed = true;
            }
            Notice::Problems(problems) => {
                let text = problems
                    .iter()
                    .map(|p| format!("{}: {}", p.object, p.message));
                let (settling, problems): (Vec<_>, _) =
                    text.partition(|text| text.contains(SETTLING));
                self.settling |= !settling.is_empty();
                self.problems = problems;
                self.all_problems.extend_from_slice(&self.problems);
            }
            Notice::Changed(deltas) => {
                for delta in deltas {
                    match delta {
                        Delta::Put(object) => {
                            self.deltas.push(format!("+{}", object.key));
                            self.objects.insert(object.key.clone(), object);
                        }
                        Delta::Gone(key) => {
                            self.deltas.push(format!("-{key}"));
                            assert!(self.objects.remove(&key).is_some(), "{key} was never there");
                        }
                    }
                }
            }
        }
    }

    pub fn object(&self, kind: &str, name: &str) -> Option<&Arc<Object>> {
        self.objects.get(&ObjectRef::cluster(kind, name))
    }

    pub fn netid(&self, name: &str) -> Option<u64> {
        self.object("NetNamespace", name)?.value["netid"].as_u64()
    }
}
