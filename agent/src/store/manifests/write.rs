//! Writes: under a lock file, checked against the version, by atomic rename.

use std::fs::{File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};

use super::document::{Format, parse};
use super::edit::{edit, render};
use super::read::{Reading, Stamp, objects, read_text};
use super::shared::{Shared, State};
use weft_core::model::check_name;

use crate::store::{Object, ObjectRef, StoreError};

/// Adds an object in a file of its own, `kind-name.yaml` or `kind-namespace_name.yaml`.
pub(super) fn create(shared: &Shared, object: &Object) -> Result<Arc<Object>, StoreError> {
    let key = &object.key;
    let unwritable = |reason| StoreError::Unwritable {
        object: key.clone(),
        reason,
    };
    let text = render(&object.value).map_err(unwritable)?;
    let path = shared.dir.join(file_name(key).map_err(unwritable)?);
    let _lock = lock(&shared.dir)?;
    let mut state = shared.lock();
    // A watch knows all but the last milliseconds; a namesake of those would be reported like any other.
    if !state.is_watched() {
        state
            .rescan(&shared.dir)
            .map_err(StoreError::io("list", &shared.dir))?;
    }
    let exists = |file: &Path| StoreError::Exists {
        object: key.clone(),
        there: file.display().to_string(),
    };
    if let Some(other) = state.get(key) {
        return Err(exists(other.file.as_deref().unwrap_or(&path)));
    }
    match write(&path, &text, None) {
        Err(StoreError::Io { source, .. }) if source.kind() == io::ErrorKind::AlreadyExists => {
            Err(exists(&path))
        }
        Err(error) => Err(error),
        Ok(stamp) => took(&mut state, shared, &path, stamp, &text, key),
    }
}

/// Replaces an object where it stands (`Some`) or removes it; `None` if it was removed.
pub(super) fn replace(
    shared: &Shared,
    object: &Object,
    new: Option<&serde_json::Value>,
) -> Result<Option<Arc<Object>>, StoreError> {
    let key = &object.key;
    let not_found = || StoreError::NotFound {
        object: key.clone(),
    };
    if let Some(new) = new {
        same_key(key, new)?;
    }
    let _lock = lock(&shared.dir)?;
    let mut state = shared.lock();
    let (path, text) = find(&mut state, shared, object)?.ok_or_else(not_found)?;
    let format = Format::of(&path).ok_or_else(not_found)?;
    let unparsable = |reason| StoreError::Unparsable {
        object: key.clone(),
        file: path.clone(),
        reason,
    };
    let documents = parse(&text, format).map_err(unparsable)?;
    let mut all = documents.iter().flat_map(|d| d.body.objects());
    let current = all.find(|o| o.key == *key).ok_or_else(not_found)?;
    if current.version != object.version {
        return Err(StoreError::Conflict {
            object: key.clone(),
        });
    }
    let edited = edit(&text, format, key, new).map_err(|reason| StoreError::Unwritable {
        object: key.clone(),
        reason,
    })?;
    let reading = if let Some(text) = edited {
        let meta = std::fs::metadata(&path).map_err(StoreError::io("stat", &path))?;
        let stamp = write(&path, &text, Some(&meta.permissions()))?;
        Some(Reading {
            stamp: Some(stamp),
            objects: objects(&path, &text, format),
        })
    } else {
        std::fs::remove_file(&path).map_err(StoreError::io("remove", &path))?;
        None
    };
    state.take(&shared.dir, vec![(path, reading)]);
    Ok(new.and_then(|_| state.get(key)))
}

/// The file that holds an object, and its text: the one it was read from, else the one in force.
fn find(
    state: &mut State,
    shared: &Shared,
    object: &Object,
) -> Result<Option<(PathBuf, String)>, StoreError> {
    let known = object
        .file
        .clone()
        .or_else(|| state.file_of(&object.key).cloned());
    if let Some(path) = known
        && let Some(text) = text_with(&path, &object.key)?
    {
        return Ok(Some((path, text)));
    }
    state
        .rescan(&shared.dir)
        .map_err(StoreError::io("list", &shared.dir))?;
    match state.file_of(&object.key).cloned() {
        Some(path) => Ok(text_with(&path, &object.key)?.map(|text| (path, text))),
        None => Ok(None),
    }
}

/// A file's text, if it does not parse or holds the object; `None` if it parses and does not hold it.
fn text_with(path: &Path, key: &ObjectRef) -> Result<Option<String>, StoreError> {
    let text = match read_text(path).map_err(StoreError::io("read", path))? {
        None => return Ok(None),
        Some((_, text)) => text.map_err(|reason| StoreError::Unparsable {
            object: key.clone(),
            file: path.to_owned(),
            reason,
        })?,
    };
    let holds = Format::of(path).is_some_and(|format| match parse(&text, format) {
        Ok(documents) => documents
            .iter()
            .flat_map(|d| d.body.objects())
            .any(|o| o.key == *key),
        Err(_) => true,
    });
    Ok(holds.then_some(text))
}

/// Takes a file that was just written in, without waiting for the watch to see it.
fn took(
    state: &mut State,
    shared: &Shared,
    path: &Path,
    stamp: Stamp,
    text: &str,
    key: &ObjectRef,
) -> Result<Arc<Object>, StoreError> {
    let reading = Reading {
        stamp: Some(stamp),
        objects: objects(path, text, Format::Yaml),
    };
    state.take(&shared.dir, vec![(path.to_owned(), Some(reading))]);
    state.get(key).ok_or_else(|| StoreError::NotFound {
        object: key.clone(),
    })
}

fn same_key(key: &ObjectRef, value: &serde_json::Value) -> Result<(), StoreError> {
    let unwritable = |reason| StoreError::Unwritable {
        object: key.clone(),
        reason,
    };
    let written = Object::from_value(value.clone()).map_err(unwritable)?;
    if written.key == *key {
        Ok(())
    } else {
        Err(unwritable(format!(
            "its content is that of {}",
            written.key
        )))
    }
}

fn file_name(key: &ObjectRef) -> Result<String, String> {
    check_name(&key.name)?;
    let kind = key.kind.as_str().to_lowercase();
    check_name(&kind)?;
    if key.namespace.is_empty() {
        return Ok(format!("{kind}-{}.yaml", key.name));
    }
    check_name(&key.namespace)?;
    Ok(format!("{kind}-{}_{}.yaml", key.namespace, key.name))
}

/// Keeps other writers out until it is dropped. Readers need no lock.
fn lock(dir: &Path) -> Result<File, StoreError> {
    let path = dir.join(".lock");
    let open = || {
        File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
    };
    let file = open().map_err(StoreError::io("open", &path))?;
    file.lock().map_err(StoreError::io("lock", &path))?;
    Ok(file)
}

/// Puts a text in the place of a file (`Some`: with these permissions) or makes a new one; never a partial file.
fn write(path: &Path, text: &str, over: Option<&Permissions>) -> Result<Stamp, StoreError> {
    // A link keeps pointing where it does; what it points to is replaced.
    let target = match &over {
        Some(_) => std::fs::canonicalize(path).map_err(StoreError::io("resolve", path))?,
        None => path.to_owned(),
    };
    let dir = target.parent().unwrap_or_else(|| Path::new("/"));
    let temp = dir.join(format!(".tmp-{:016x}", rand::random::<u64>()));
    let result = fill(&temp, text, over).and_then(|()| {
        let flags = match over {
            Some(_) => RenameFlags::empty(),
            None => RenameFlags::RENAME_NOREPLACE,
        };
        renameat2(AT_FDCWD, &temp, AT_FDCWD, &target, flags)?;
        Ok(())
    });
    if result.is_err() {
        // The failure to report is the first one.
        drop(std::fs::remove_file(&temp));
    }
    result.map_err(StoreError::io("write", path))?;
    // The rename changed the file's ctime.
    let meta = std::fs::metadata(path).map_err(StoreError::io("stat", path))?;
    Ok(Stamp::of(&meta))
}

fn fill(temp: &Path, text: &str, permissions: Option<&Permissions>) -> io::Result<()> {
    let mut file = File::create_new(temp)?;
    let permissions = permissions.cloned();
    file.set_permissions(permissions.unwrap_or_else(|| Permissions::from_mode(0o644)))?;
    file.write_all(text.as_bytes())?;
    // Without it a power failure after the rename could leave an empty file.
    file.sync_data()
}
