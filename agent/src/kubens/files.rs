//! Files of a node, written all or none. What was written is noted with its digest, so that removal takes away exactly that.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::install::{InstallError, replace};

/// The note, as the node names it.
pub const NOTE: &str = "/var/lib/weft/kubens.json";

/// Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// A call about a file.
    #[error(transparent)]
    File(#[from] InstallError),
    /// The note is not readable.
    #[error("{}: {source}: remove the files of kubens by hand, then this one", path.display())]
    Note {
        /// The note.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: serde_json::Error,
    },
    /// Of somebody else.
    #[error("{} is there already and is not ours: remove it if nothing else uses it, then repeat", .0.display())]
    Foreign(PathBuf),
    /// Ours once.
    #[error("{} was changed since it was written: move it away, then repeat", .0.display())]
    Changed(PathBuf),
    /// What came after the files failed; they are as they were.
    #[error("{0}; everything was put back")]
    After(String),
}

/// What a path shall be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// A file with its mode.
    File(Vec<u8>, u32),
    /// A symbolic link.
    Link(PathBuf),
}

impl Content {
    fn digest(&self) -> String {
        match self {
            Self::File(bytes, _) => {
                let mut text = String::new();
                for byte in Sha256::digest(bytes) {
                    write!(text, "{byte:02x}").unwrap_or_default();
                }
                text
            }
            Self::Link(target) => format!("link to {}", target.display()),
        }
    }

    fn read(path: &Path) -> Result<Option<Self>, InstallError> {
        let failed = |source| InstallError::File {
            call: "read",
            path: path.to_owned(),
            source,
        };
        let found = match fs::symlink_metadata(path) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        if found.is_symlink() {
            return fs::read_link(path)
                .map(|it| Some(Self::Link(it)))
                .map_err(failed);
        }
        let bytes = fs::read(path).map_err(failed)?;
        Ok(Some(Self::File(bytes, found.permissions().mode() & 0o7777)))
    }

    fn put(&self, path: &Path) -> Result<(), InstallError> {
        match self {
            Self::File(bytes, mode) => replace(path, bytes, *mode),
            Self::Link(target) => {
                let failed = |call| {
                    move |source| InstallError::File {
                        call,
                        path: path.to_owned(),
                        source,
                    }
                };
                if let Some(folder) = path.parent() {
                    fs::create_dir_all(folder).map_err(failed("create the folder of"))?;
                }
                remove(path)?;
                symlink(target, path).map_err(failed("link"))
            }
        }
    }
}

fn remove(path: &Path) -> Result<(), InstallError> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(InstallError::File {
            call: "remove",
            path: path.to_owned(),
            source,
        }),
        _ => Ok(()),
    }
}

/// Path, as the node names it, and the digests that it may have: two while it is being replaced.
type Note = BTreeMap<PathBuf, Vec<String>>;

/// What was done with a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Done {
    /// Written.
    Put(PathBuf),
    /// It was as it should be.
    Kept(PathBuf),
    /// Taken away.
    Removed(PathBuf),
    /// Somebody has changed it since; it stays.
    Changed(PathBuf),
}

/// The files below a root.
#[derive(Clone, Debug)]
pub struct Files {
    /// The node's root.
    pub root: PathBuf,
}

impl Files {
    /// A path of the node, where it is now.
    pub fn at(&self, path: &Path) -> PathBuf {
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// Puts files and links into their places, then does `after`. When anything fails, everything is as before.
    pub fn put(
        &self,
        wanted: &[(PathBuf, Content)],
        after: impl FnOnce() -> Result<(), String>,
    ) -> Result<Vec<Done>, FilesError> {
        let old_note = self.note()?;
        let (mut note, mut done, mut changes) = (old_note.clone(), Vec::new(), Vec::new());
        for (path, content) in wanted {
            let current = Content::read(&self.at(path))?;
            let digest = content.digest();
            let own = old_note.get(path);
            match &current {
                Some(current) if current == content => {
                    done.push(Done::Kept(path.clone()));
                    continue;
                }
                Some(current) => match own {
                    None => return Err(FilesError::Foreign(path.clone())),
                    Some(own) if !own.contains(&current.digest()) => {
                        return Err(FilesError::Changed(path.clone()));
                    }
                    Some(_) => {}
                },
                None => {}
            }
            note.entry(path.clone()).or_default().push(digest);
            changes.push((path.clone(), current, Some(content.clone())));
            done.push(Done::Put(path.clone()));
        }
        self.change(&old_note, &note, changes, after)?;
        for digests in note.values_mut() {
            digests.drain(..digests.len() - 1);
        }
        self.write_note(&note)?;
        Ok(done)
    }

    /// Takes away what was put and is as it was put, then does `after`. When anything fails, everything is as before.
    pub fn remove(
        &self,
        after: impl FnOnce() -> Result<(), String>,
    ) -> Result<Vec<Done>, FilesError> {
        let note = self.note()?;
        let (mut done, mut changes) = (Vec::new(), Vec::new());
        for (path, own) in &note {
            match Content::read(&self.at(path))? {
                None => {}
                Some(current) if own.contains(&current.digest()) => {
                    done.push(Done::Removed(path.clone()));
                    changes.push((path.clone(), Some(current), None));
                }
                Some(_) => done.push(Done::Changed(path.clone())),
            }
        }
        self.change(&note, &note, changes, after)?;
        for path in note.keys() {
            let at = self.at(path);
            if let Some(folder) = at
                .parent()
                .filter(|it| it.extension().is_some_and(|it| it == "d" || it == "wants"))
            {
                // Not empty: of somebody else, too.
                drop(fs::remove_dir(folder));
            }
        }
        remove(&self.at(Path::new(NOTE)))?;
        Ok(done)
    }

    /// Paths that were put.
    pub fn noted(&self) -> Result<Vec<PathBuf>, FilesError> {
        Ok(self.note()?.into_keys().collect())
    }

    /// The note first, so that nothing is there that it does not tell of.
    fn change(
        &self,
        old_note: &Note,
        note: &Note,
        changes: Vec<(PathBuf, Option<Content>, Option<Content>)>,
        after: impl FnOnce() -> Result<(), String>,
    ) -> Result<(), FilesError> {
        let mut made = Vec::new();
        let work = || -> Result<(), FilesError> {
            if old_note != note {
                self.write_note(note)?;
            }
            for (path, old, new) in changes {
                let at = self.at(&path);
                made.push((at.clone(), old));
                match new {
                    Some(new) => new.put(&at)?,
                    None => remove(&at)?,
                }
            }
            after().map_err(FilesError::After)
        };
        let result = work();
        if result.is_err() {
            for (at, old) in made.into_iter().rev() {
                let undone = match old {
                    Some(old) => old.put(&at),
                    None => remove(&at),
                };
                if let Err(error) = undone {
                    tracing::error!(file = %at.display(), %error, "a file could not be put back");
                }
            }
            let undone = if old_note.is_empty() {
                remove(&self.at(Path::new(NOTE))).map_err(FilesError::from)
            } else {
                self.write_note(old_note)
            };
            if let Err(error) = undone {
                tracing::error!(%error, "the note of what was written could not be put back");
            }
        }
        result
    }

    fn note(&self) -> Result<Note, FilesError> {
        let path = self.at(Path::new(NOTE));
        match Content::read(&path)? {
            Some(Content::File(text, _)) => {
                serde_json::from_slice(&text).map_err(|source| FilesError::Note { path, source })
            }
            _ => Ok(Note::new()),
        }
    }

    fn write_note(&self, note: &Note) -> Result<(), FilesError> {
        let path = self.at(Path::new(NOTE));
        let text = serde_json::to_vec_pretty(note).map_err(|source| FilesError::Note {
            path: path.clone(),
            source,
        })?;
        Ok(replace(&path, &text, 0o600)?)
    }
}

#[cfg(test)]
mod tests;
