//! What is in force: the last good objects of every file, one object a key.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use weft_core::model::{Problem, Subject};

use super::kept::Kept;
use super::read::{Reading, Stamp};
use crate::store::{Delta, Object, ObjectRef};

/// Objects that were just read. Those that are told need not be made from their texts again.
type Fresh = HashMap<ObjectRef, Vec<Arc<Object>>>;

/// Files and the objects in force. A plain value.
#[derive(Debug, Default)]
pub(super) struct Contents {
    files: BTreeMap<PathBuf, FileEntry>,
    /// Which files define a key.
    claims: HashMap<ObjectRef, BTreeSet<PathBuf>>,
    in_force: BTreeMap<ObjectRef, Arc<Kept>>,
}

#[derive(Debug, Default)]
struct FileEntry {
    stamp: Option<Stamp>,
    /// The last good ones.
    objects: BTreeMap<ObjectRef, Arc<Kept>>,
    /// Keys that the file defines more than once.
    repeated: BTreeSet<ObjectRef>,
    error: Option<String>,
}

impl Contents {
    /// The objects in force, in the order of their keys.
    pub(super) fn objects(&self) -> impl Iterator<Item = Arc<Object>> {
        self.in_force.values().filter_map(|kept| kept.object())
    }

    /// The object in force.
    pub(super) fn get(&self, key: &ObjectRef) -> Option<Arc<Object>> {
        self.in_force.get(key)?.object()
    }

    /// The file of the object in force.
    pub(super) fn file_of(&self, key: &ObjectRef) -> Option<&PathBuf> {
        self.in_force.get(key)?.file()
    }

    /// Known files.
    pub(super) fn files(&self) -> impl Iterator<Item = &PathBuf> {
        self.files.keys()
    }

    /// Whether a file was last read in this state.
    pub(super) fn is_current(&self, file: &Path, stamp: Option<Stamp>) -> bool {
        stamp.is_some() && self.files.get(file).is_some_and(|f| f.stamp == stamp)
    }

    /// Takes new states of files in (`None`: the file is gone) and tells what changed in what is in force.
    ///
    /// An object that several files define stays with the file it came from first; at the first reading that is the
    /// first file by name.
    pub(super) fn take(&mut self, files: Vec<(PathBuf, Option<Reading>)>) -> Vec<Delta> {
        let mut touched = BTreeSet::new();
        let mut fresh = Fresh::new();
        for (file, reading) in files {
            self.take_file(file, reading, &mut touched, &mut fresh);
        }
        touched
            .into_iter()
            .filter_map(|key| self.settle(key, &mut fresh))
            .collect()
    }

    fn take_file(
        &mut self,
        file: PathBuf,
        reading: Option<Reading>,
        touched: &mut BTreeSet<ObjectRef>,
        fresh: &mut Fresh,
    ) {
        let mut new = FileEntry::default();
        if let Some(reading) = reading {
            let entry = self.files.entry(file.clone()).or_default();
            entry.stamp = reading.stamp;
            match reading.objects {
                Err(error) => {
                    entry.error = Some(error);
                    return;
                }
                Ok(objects) => {
                    new.stamp = reading.stamp;
                    for object in objects {
                        if new.objects.contains_key(&object.key) {
                            new.repeated.insert(object.key);
                        } else {
                            let (key, object) = (object.key.clone(), Arc::new(object));
                            new.objects.insert(key.clone(), Arc::new(Kept::of(&object)));
                            fresh.entry(key).or_default().push(object);
                        }
                    }
                }
            }
        }
        let old = self.files.remove(&file).unwrap_or_default();
        for key in old.objects.keys() {
            if let Some(files) = self.claims.get_mut(key) {
                files.remove(&file);
            }
        }
        for key in new.objects.keys() {
            let files = self.claims.entry(key.clone()).or_default();
            files.insert(file.clone());
        }
        touched.extend(old.objects.into_keys());
        touched.extend(new.objects.keys().cloned());
        if new.stamp.is_some() {
            self.files.insert(file, new);
        }
    }

    /// Picks the object in force for a key whose files changed.
    fn settle(&mut self, key: ObjectRef, fresh: &mut Fresh) -> Option<Delta> {
        let old = self.in_force.get(&key);
        let incumbent = old.and_then(|kept| kept.file());
        let files = self.claims.get(&key);
        let holder = files.and_then(|files| {
            let stays = incumbent.filter(|file| files.contains(*file));
            stays.or_else(|| files.first())
        });
        let kept = holder
            .and_then(|file| self.files.get(file))
            .and_then(|entry| entry.objects.get(&key))
            .cloned();
        let Some(kept) = kept else {
            self.claims.remove(&key);
            let removed = self.in_force.remove(&key);
            return removed.map(|_| Delta::Gone(key));
        };
        let same = old.is_some_and(|old| old.version() == kept.version());
        let fresh = fresh.remove(&key).unwrap_or_default();
        self.in_force.insert(key, Arc::clone(&kept));
        if same {
            return None;
        }
        let of_file = |object: &Arc<Object>| object.file.as_ref() == kept.file();
        let fresh = fresh.into_iter().find(of_file);
        fresh.or_else(|| kept.object()).map(Delta::Put)
    }

    /// What is wrong with the files, in the order of what it is about.
    pub(super) fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        for (file, entry) in &self.files {
            if let Some(error) = &entry.error {
                let kept = match entry.objects.len() {
                    0 => "nothing of it is in force".into(),
                    n => format!("its {n} objects as last read stay in force"),
                };
                problems.push(Problem {
                    object: Subject::Part(file.display().to_string()),
                    message: format!("{error}; {kept}: mend the file"),
                });
            }
            for key in &entry.repeated {
                problems.push(Problem {
                    object: key.into(),
                    message: format!(
                        "is defined more than once in {}; the first one counts: remove the others",
                        file.display()
                    ),
                });
            }
        }
        for (key, files) in self.claims.iter().filter(|(_, files)| files.len() > 1) {
            let incumbent = self.file_of(key);
            let list = |file: &&PathBuf| Some(*file) != incumbent;
            let others: Vec<String> = files
                .iter()
                .filter(list)
                .map(|file| file.display().to_string())
                .collect();
            let incumbent = incumbent.map(|file| file.display().to_string());
            problems.push(Problem {
                object: key.into(),
                message: format!(
                    "is defined in {} too; the one in {} stays in force: remove one",
                    others.join(", "),
                    incumbent.unwrap_or_default(),
                ),
            });
        }
        problems.sort();
        problems
    }
}
