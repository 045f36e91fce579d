//! A service's settings, as systemd puts them together from its files: systemd.unit(5), systemd.syntax(7).
//!
//! Read from the files and not asked of systemd, so that an image that is not booted can be prepared too.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Where systemd looks for units, the first that has a file wins ("System Unit Search Path"). The administrator's own, to
/// which [`Folders::etc`] belongs, stands among them.
const BEFORE: [&str; 4] = [
    "etc/systemd/system.control",
    "run/systemd/system.control",
    "run/systemd/transient",
    "run/systemd/generator.early",
];
const AFTER: [&str; 8] = [
    "etc/systemd/system.attached",
    "run/systemd/system",
    "run/systemd/system.attached",
    "run/systemd/generator",
    "usr/local/lib/systemd/system",
    "usr/lib/systemd/system",
    "lib/systemd/system",
    "run/systemd/generator.late",
];
/// An alias of an alias of an alias.
const ALIASES_MAX: usize = 8;

/// The settings could not be read.
#[derive(Debug, thiserror::Error)]
pub enum UnitError {
    /// systemd does not know it either.
    #[error("{service}: there is no such service below {}", root.display())]
    NotFound {
        /// The name.
        service: String,
        /// Where it was looked for.
        root: PathBuf,
    },
    /// Linked to `/dev/null`, or empty.
    #[error("{service}: it is masked ({}): unmask it first", path.display())]
    Masked {
        /// The name.
        service: String,
        /// The file that says so.
        path: PathBuf,
    },
    /// Another kind of unit.
    #[error("{name}: only services can be wrapped")]
    NoService {
        /// The name.
        name: String,
    },
    /// A system call.
    #[error("{service}: read {}: {source}", path.display())]
    Read {
        /// The name.
        service: String,
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// Where a node's units are.
#[derive(Clone, Debug)]
pub struct Folders {
    /// The node's root.
    pub root: PathBuf,
    /// The administrator's folder, as the node names it: `/etc/systemd/system`.
    pub etc: PathBuf,
}

impl Folders {
    /// A path of the node, where it is now.
    pub fn at(&self, path: &Path) -> PathBuf {
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    fn all(&self) -> impl Iterator<Item = PathBuf> {
        let before = BEFORE.iter().map(|folder| self.root.join(folder));
        let after = AFTER.iter().map(|folder| self.root.join(folder));
        before.chain([self.at(&self.etc)]).chain(after)
    }
}

/// A service's files: its own, then its drop-ins in the order in which they count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    /// Its own name, with `.service`; an alias is resolved.
    pub name: String,
    /// Path and text.
    pub files: Vec<(PathBuf, String)>,
}

/// `containerd` is `containerd.service`.
pub fn full_name(name: &str) -> Result<String, UnitError> {
    const KINDS: [&str; 10] = [
        "socket",
        "device",
        "mount",
        "automount",
        "swap",
        "target",
        "path",
        "timer",
        "slice",
        "scope",
    ];
    let extension = name.rsplit_once('.').map(|(_, extension)| extension);
    let is_name = !name.is_empty() && !name.contains('/') && !name.starts_with('.');
    match extension {
        _ if !is_name => Err(UnitError::NoService { name: name.into() }),
        Some("service") => Ok(name.to_owned()),
        Some(kind) if KINDS.contains(&kind) => Err(UnitError::NoService { name: name.into() }),
        _ => Ok(format!("{name}.service")),
    }
}

/// Reads a service's files.
pub fn load(folders: &Folders, service: &str) -> Result<Unit, UnitError> {
    let mut name = full_name(service)?;
    for _ in 0..ALIASES_MAX {
        let failed = |path: &Path| {
            let (service, path) = (service.to_owned(), path.to_owned());
            move |source| UnitError::Read {
                service,
                path,
                source,
            }
        };
        let not_found = || UnitError::NotFound {
            service: name.clone(),
            root: folders.root.clone(),
        };
        let path = fragment(folders, &name).ok_or_else(not_found)?;
        let mut real = path.clone();
        if let Ok(target) = fs::read_link(&path) {
            let masked = || UnitError::Masked {
                service: name.clone(),
                path: path.clone(),
            };
            if target == Path::new("/dev/null") {
                return Err(masked());
            }
            let file = target
                .file_name()
                .and_then(|it| it.to_str())
                .unwrap_or_default();
            if file != name && template(&name).as_deref() != Some(file) {
                file.clone_into(&mut name);
                continue;
            }
            real = if target.is_absolute() {
                folders.at(&target)
            } else {
                path.parent().unwrap_or(Path::new("/")).join(target)
            };
        }
        let text = fs::read_to_string(&real).map_err(failed(&real))?;
        if text.is_empty() {
            return Err(UnitError::Masked {
                service: name,
                path,
            });
        }
        let mut files = vec![(path, text)];
        for path in drop_ins(folders, &name) {
            let text = fs::read_to_string(&path).map_err(failed(&path))?;
            files.push((path, text));
        }
        return Ok(Unit { name, files });
    }
    Err(UnitError::NotFound {
        service: service.into(),
        root: folders.root.clone(),
    })
}

/// `getty@.service` of `getty@tty1.service`.
fn template(name: &str) -> Option<String> {
    let (prefix, instance) = name.strip_suffix(".service")?.split_once('@')?;
    (!instance.is_empty()).then(|| format!("{prefix}@.service"))
}

fn fragment(folders: &Folders, name: &str) -> Option<PathBuf> {
    let names = [Some(name.to_owned()), template(name)];
    let mut paths = names.into_iter().flatten().flat_map(|name| {
        let folders: Vec<_> = folders.all().map(|folder| folder.join(&name)).collect();
        folders
    });
    paths.find(|path| path.symlink_metadata().is_ok())
}

/// By file name, whatever folder they are in; of two with one name the first folder's counts.
fn drop_ins(folders: &Folders, name: &str) -> Vec<PathBuf> {
    let mut found = BTreeMap::new();
    for folder in drop_in_folders(name) {
        for base in folders.all() {
            for entry in fs::read_dir(base.join(&folder))
                .into_iter()
                .flatten()
                .flatten()
            {
                let path = entry.path();
                if path.extension().is_some_and(|it| it == "conf") {
                    found.entry(entry.file_name()).or_insert(path);
                }
            }
        }
    }
    // Linked to /dev/null: it hides one of a later folder.
    found.into_values().filter(|path| path.is_file()).collect()
}

/// The most special first: of `a-b@c.service` also those of `a-b@.service`, `a-.service` and all services.
fn drop_in_folders(name: &str) -> Vec<String> {
    let mut names = vec![name.to_owned()];
    names.extend(template(name));
    let stem = name.strip_suffix(".service").unwrap_or(name);
    let stem = stem.split_once('@').map_or(stem, |(prefix, _)| prefix);
    let dashes: Vec<_> = stem.match_indices('-').map(|(at, _)| at).collect();
    names.extend(
        dashes
            .iter()
            .rev()
            .map(|at| format!("{}.service", &stem[..=*at])),
    );
    names.push("service".into());
    names.iter().map(|name| format!("{name}.d")).collect()
}

impl Unit {
    /// All values of a setting, with the file that each is from; an empty one takes away those before it.
    pub fn values(&self, section: &str, key: &str) -> Vec<(&Path, String)> {
        let mut values = Vec::new();
        for (path, text) in &self.files {
            for assignment in assignments(text) {
                if assignment.section != section || assignment.key != key {
                    continue;
                }
                if assignment.value.is_empty() {
                    values.clear();
                } else {
                    values.push((path.as_path(), assignment.value));
                }
            }
        }
        values
    }

    /// Every value of a setting as it was written, the empty ones too.
    pub fn written(&self, section: &str, key: &str) -> Vec<String> {
        let all = self.files.iter().flat_map(|(_, text)| assignments(text));
        let those = all.filter(|it| it.section == section && it.key == key);
        those.map(|it| it.value).collect()
    }

    /// The value of a setting that has one: the last; none if that is empty.
    pub fn value(&self, section: &str, key: &str) -> Option<String> {
        let last = self.written(section, key).pop();
        last.filter(|value| !value.is_empty())
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Assignment {
    section: String,
    key: String,
    value: String,
}

/// A backslash at the end of a line is a blank, and the next line follows; comments between the two do not count.
fn assignments(text: &str) -> Vec<Assignment> {
    let mut found = Vec::new();
    let mut section = String::new();
    let mut begun = String::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        if line.trim_start().starts_with(['#', ';']) {
            if lines.peek().is_some() || begun.is_empty() {
                continue;
            }
        } else if let Some(start) = line.strip_suffix('\\') {
            begun.push_str(start);
            begun.push(' ');
            if lines.peek().is_some() {
                continue;
            }
        } else {
            begun.push_str(line);
        }
        let line = std::mem::take(&mut begun);
        let line = line.trim();
        if let Some(name) = line.strip_prefix('[').and_then(|it| it.strip_suffix(']')) {
            name.clone_into(&mut section);
        } else if let Some((key, value)) = line.split_once('=') {
            found.push(Assignment {
                section: section.clone(),
                key: key.trim_end().to_owned(),
                value: value.trim_start().to_owned(),
            });
        }
    }
    found
}

#[cfg(test)]
mod tests;
