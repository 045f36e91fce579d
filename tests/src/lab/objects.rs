//! API objects as files in the manifests directory.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize as _;
use yaml_serde::{Mapping, Value};

use super::state::write_atomic;

/// An object could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file could not be read or written.
    #[error("{call} {}: {source}", path.display())]
    File {
        /// What was tried.
        call: &'static str,
        /// On which file.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The file could not be replaced.
    #[error("{0}")]
    Write(#[source] Box<super::Error>),
    /// The text is no YAML or JSON.
    #[error("{origin}: {source}")]
    Parse {
        /// File, or `standard input`.
        origin: String,
        /// Where and why.
        source: yaml_serde::Error,
    },
    /// A document is no API object.
    #[error("{origin}: document {number}: {why}")]
    Document {
        /// File, or `standard input`.
        origin: String,
        /// Counted from 1.
        number: usize,
        /// What is missing.
        why: String,
    },
    /// There is nothing to delete.
    #[error("no {kind} {name}")]
    Missing {
        /// As the caller spelt it.
        kind: String,
        /// `NAME` or `NAMESPACE/NAME`
        name: String,
    },
}

/// Kinds without a namespace, of those a lab meets.
const CLUSTER_SCOPED: [&str; 5] = [
    "Namespace",
    "Node",
    "ClusterNetwork",
    "HostSubnet",
    "NetNamespace",
];

/// What tells one object from all others.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// `Pod`
    pub kind: String,
    /// Empty for kinds without.
    pub namespace: String,
    /// `metadata.name`
    pub name: String,
}

impl Key {
    /// Of an object; `default` stands for a namespace left out, as with kubectl.
    fn of(object: &Value) -> Result<Self, String> {
        let text = |value: Option<&Value>| {
            value
                .and_then(Value::as_str)
                .filter(|text| !text.is_empty())
                .map(str::to_owned)
        };
        let metadata = object.get("metadata");
        let field = |name: &str| metadata.and_then(|metadata| metadata.get(name));
        text(object.get("apiVersion")).ok_or("no apiVersion")?;
        let kind = text(object.get("kind")).ok_or("no kind")?;
        let name = text(field("name")).ok_or("no metadata.name")?;
        let scoped = !CLUSTER_SCOPED.contains(&kind.as_str());
        let namespace = match text(field("namespace")) {
            Some(namespace) if scoped => namespace,
            None if scoped => "default".to_owned(),
            _ => String::new(),
        };
        Ok(Self {
            kind,
            namespace,
            name,
        })
    }

    fn file_name(&self) -> String {
        // A namespace has no dot in it, so the parts cannot be read in two ways.
        let parts = [
            self.kind.to_lowercase(),
            self.namespace.clone(),
            self.name.clone(),
        ];
        let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        format!("{}.yaml", parts.join("."))
    }

    fn is(&self, kind: &str, namespace: &str, name: &str) -> bool {
        let own = self.kind.to_lowercase();
        let plural = match own.strip_suffix('y') {
            Some(stem) => format!("{stem}ies"),
            None if own.ends_with('s') => format!("{own}es"),
            None => format!("{own}s"),
        };
        let kind = kind.to_lowercase();
        (kind == own || kind == plural)
            && self.name == name
            && (self.namespace == namespace || self.namespace.is_empty())
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            write!(f, "{} {}", self.kind, self.name)
        } else {
            write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
        }
    }
}

/// The objects of a text of YAML or JSON documents; a `List` is taken apart. All or nothing.
pub fn parse(text: &str, origin: &str) -> Result<Vec<(Key, Value)>, Error> {
    let mut objects = Vec::new();
    for (index, document) in yaml_serde::Deserializer::from_str(text).enumerate() {
        let fail = |why: String| Error::Document {
            origin: origin.to_owned(),
            number: index + 1,
            why,
        };
        let value = Value::deserialize(document).map_err(|source| Error::Parse {
            origin: origin.to_owned(),
            source,
        })?;
        if value.is_null() {
            continue;
        }
        let kind = value
            .get("kind")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let items = match value.get("items").and_then(Value::as_sequence) {
            Some(items) if kind.ends_with("List") => items.clone(),
            _ => vec![value],
        };
        for item in items {
            objects.push((Key::of(&item).map_err(fail)?, item));
        }
    }
    Ok(objects)
}

/// A manifests directory.
#[derive(Clone, Debug)]
pub struct Manifests(PathBuf);

impl Manifests {
    /// The directory need not exist yet.
    pub fn at(directory: PathBuf) -> Self {
        Self(directory)
    }

    /// Every object there is, with its file. Files that do not parse are left out: they are the agents' to report.
    pub fn list(&self) -> Result<Vec<(Key, Value, PathBuf)>, Error> {
        let mut objects = Vec::new();
        for path in self.files()? {
            let Ok(text) = fs::read_to_string(&path) else {
                continue;
            };
            let parsed = parse(&text, &path.display().to_string()).unwrap_or_default();
            objects.extend(
                parsed
                    .into_iter()
                    .map(|(key, value)| (key, value, path.clone())),
            );
        }
        Ok(objects)
    }

    fn files(&self) -> Result<Vec<PathBuf>, Error> {
        let entries = fs::read_dir(&self.0).map_err(file("list", &self.0))?;
        let wanted = |path: &PathBuf| {
            let hidden = path
                .file_name()
                .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
            !hidden
                && path
                    .extension()
                    .is_some_and(|end| ["yaml", "yml", "json"].iter().any(|known| end == *known))
        };
        let mut files: Vec<PathBuf> = entries
            .flatten()
            .map(|entry| entry.path())
            .filter(wanted)
            .collect();
        files.sort();
        Ok(files)
    }

    /// Writes an object in the place of the one with its key, wherever that is.
    ///
    /// As an API server would, keeps `metadata.uid` and `status` of the old one where the new one has none, and gives
    /// a new one a uid.
    pub fn apply(&self, key: &Key, mut object: Value) -> Result<(), Error> {
        let old = self.find(|found| found == key)?;
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_mapping_mut) {
            let kept = old
                .as_ref()
                .and_then(|(_, old)| old.get("metadata")?.get("uid").cloned());
            keep(metadata, "uid", Some(kept.unwrap_or_else(|| uid().into())));
        }
        if let (Some(object), Some((_, old))) = (object.as_mapping_mut(), &old) {
            keep(object, "status", old.get("status").cloned());
        }
        match old {
            Some((path, _)) => Self::rewrite(&path, key, Some(&object)),
            None => write(&self.0.join(key.file_name()), &[&object]),
        }
    }

    /// Writes an object unless there is one with its key, also if two commands do so at once.
    pub fn create(&self, object: Value) -> Result<(), Error> {
        let key = Key::of(&object).map_err(|why| Error::Document {
            origin: "lab".into(),
            number: 1,
            why,
        })?;
        match self.find(|found| *found == key)? {
            Some(_) => Ok(()),
            None => self.apply(&key, object),
        }
    }

    /// Removes an object; `kind` in any case, singular or plural.
    pub fn delete(&self, kind: &str, namespace: &str, name: &str) -> Result<(), Error> {
        match self.find(|key| key.is(kind, namespace, name))? {
            Some((path, object)) => {
                let key = Key::of(&object).map_err(|why| Error::Document {
                    origin: path.display().to_string(),
                    number: 1,
                    why,
                })?;
                Self::rewrite(&path, &key, None)
            }
            None => Err(Error::Missing {
                kind: kind.to_owned(),
                name: [namespace, name]
                    .into_iter()
                    .filter(|part| !part.is_empty())
                    .collect::<Vec<_>>()
                    .join("/"),
            }),
        }
    }

    /// The object with this key.
    pub fn get(&self, kind: &str, namespace: &str, name: &str) -> Result<Option<Value>, Error> {
        Ok(self
            .find(|key| key.is(kind, namespace, name))?
            .map(|(_, object)| object))
    }

    fn find(&self, wanted: impl Fn(&Key) -> bool) -> Result<Option<(PathBuf, Value)>, Error> {
        let mut objects = self.list()?.into_iter();
        Ok(objects.find_map(|(key, object, path)| wanted(&key).then_some((path, object))))
    }

    /// Replaces or removes one object of a file; the others stay.
    fn rewrite(path: &Path, key: &Key, new: Option<&Value>) -> Result<(), Error> {
        let text = fs::read_to_string(path).map_err(file("read", path))?;
        let mut objects: BTreeMap<Key, Value> = parse(&text, &path.display().to_string())?
            .into_iter()
            .collect();
        objects.remove(key);
        if let Some(new) = new {
            objects.insert(key.clone(), new.clone());
        }
        if objects.is_empty() {
            fs::remove_file(path).map_err(file("remove", path))
        } else {
            write(path, &objects.values().collect::<Vec<_>>())
        }
    }
}

fn keep(mapping: &mut Mapping, field: &str, old: Option<Value>) {
    if let (false, Some(old)) = (mapping.contains_key(field), old) {
        mapping.insert(field.into(), old);
    }
}

/// Random, in the form of RFC 9562 version 4.
fn uid() -> String {
    let bits = rand::random::<u128>() & !(0xf << 76 | 0x3 << 62) | 0x4 << 76 | 0x2 << 62;
    let hex = format!("{bits:032x}");
    [
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..],
    ]
    .join("-")
}

fn write(path: &Path, objects: &[&Value]) -> Result<(), Error> {
    let json = path.extension().is_some_and(|end| end == "json");
    let documents: Result<Vec<String>, _> = objects.iter().map(yaml_serde::to_string).collect();
    let text = documents
        .map_err(|source| Error::Parse {
            origin: path.display().to_string(),
            source,
        })?
        .join("---\n");
    // One JSON document a file; YAML is a superset, so several become YAML under the old name's stem.
    let text = match (json, objects) {
        (true, [only]) => serde_json::to_string_pretty(only).unwrap_or(text),
        _ => text,
    };
    write_atomic(path, text.as_bytes()).map_err(|error| Error::Write(Box::new(error)))
}

fn file(call: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::File { call, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory() -> (PathBuf, Manifests) {
        let path = std::env::temp_dir().join(format!("weft-objects-{:x}", rand::random::<u64>()));
        fs::create_dir(&path).unwrap();
        (path.clone(), Manifests::at(path))
    }

    fn pod(name: &str) -> String {
        format!("apiVersion: v1\nkind: Pod\nmetadata:\n  name: {name}\n  namespace: a\n")
    }

    #[test]
    fn an_object_is_replaced_where_it_is_and_its_neighbours_stay() {
        let (path, manifests) = directory();
        fs::write(
            path.join("mine.yaml"),
            format!("{}---\n{}", pod("p"), pod("q")),
        )
        .unwrap();
        let (key, mut object) = parse(&pod("p"), "test").unwrap().remove(0);
        object
            .as_mapping_mut()
            .unwrap()
            .insert("spec".into(), Mapping::new().into());
        manifests.apply(&key, object).unwrap();
        assert_eq!(
            manifests.files().unwrap(),
            [path.join("mine.yaml")],
            "no second file with the same object"
        );
        assert!(
            manifests
                .get("pod", "a", "p")
                .unwrap()
                .unwrap()
                .get("spec")
                .is_some()
        );
        manifests.delete("Pods", "a", "p").unwrap();
        assert!(manifests.get("pod", "a", "q").unwrap().is_some());
        manifests.delete("pod", "a", "q").unwrap();
        assert!(manifests.files().unwrap().is_empty());
        fs::remove_dir(path).unwrap();
    }

    #[test]
    fn applying_again_keeps_identity_and_status() {
        let (path, manifests) = directory();
        let (key, mut object) = parse(&pod("p"), "test").unwrap().remove(0);
        object
            .as_mapping_mut()
            .unwrap()
            .insert("status".into(), "old".into());
        manifests.apply(&key, object).unwrap();
        let uid = |manifests: &Manifests| {
            manifests.get("pod", "a", "p").unwrap().unwrap()["metadata"]["uid"].clone()
        };
        let first = uid(&manifests);
        let (_, object) = parse(&pod("p"), "test").unwrap().remove(0);
        manifests.apply(&key, object).unwrap();
        assert_eq!(uid(&manifests), first);
        assert_eq!(
            manifests.get("pod", "a", "p").unwrap().unwrap()["status"],
            Value::from("old")
        );
        fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn a_text_with_one_bad_document_gives_no_objects() {
        let error = parse(&format!("{}---\nkind: Pod\n", pod("p")), "f").unwrap_err();
        assert_eq!(error.to_string(), "f: document 2: no apiVersion");
    }
}
