//! The CNI plugin and its configuration, put where the container runtime looks.
//!
//! A runtime takes a node for ready as soon as it finds a configuration, so that file comes last, when the agent answers that
//! pods can be attached. Each file takes its place in one step. What was written is noted in the state directory, so
//! that removal takes away exactly that.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::cni::netconf::DEFAULT_RUN_DIR;

/// Name of the configuration file.
pub const CONFIGURATION: &str = "10-weft.conflist";
/// Where runtimes look for configurations.
pub const CONF_DIR: &str = "/etc/cni/net.d";
/// Where runtimes look for plugins.
pub const BIN_DIR: &str = "/opt/cni/bin";
/// Name of the plugin.
pub const PLUGIN: &str = "weft-cni";
/// The note of what was written.
const NOTE: &str = "installed.json";

/// A file could not be put into its place or taken away.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// A system call.
    #[error("{call} {}: {source}", path.display())]
    File {
        /// What was tried.
        call: &'static str,
        /// On which path.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The note of what was written is not readable.
    #[error("{}: {source}: remove the plugin and the configuration by hand, then this file", path.display())]
    Note {
        /// The note.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: serde_json::Error,
    },
}

/// Where what goes.
#[derive(Clone, Debug)]
pub struct Places {
    /// The plugin's directory.
    pub bin_dir: PathBuf,
    /// The configuration's directory.
    pub conf_dir: PathBuf,
    /// Where the note is kept.
    pub state_dir: PathBuf,
}

/// What was written: path and content of the configuration, path and size of the plugin.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Note {
    plugins: Vec<PathBuf>,
    configurations: Vec<PathBuf>,
}

/// The configuration list, with one plugin. `runDir` stands in it only if it is not the default.
pub fn configuration(run_dir: &Path) -> String {
    let mut plugin = json!({"type": PLUGIN});
    if run_dir != Path::new(DEFAULT_RUN_DIR) {
        plugin["runDir"] = Value::String(run_dir.display().to_string());
    }
    // A runtime before specification 1.1 (containerd before 2.0) goes by `cniVersion` and takes no other; a later one
    // finds the newest of the list.
    let list = json!({
        "cniVersion": "1.0.0", "cniVersions": ["0.4.0", "1.0.0", "1.1.0"], "name": "weft", "plugins": [plugin],
    });
    format!("{list:#}\n")
}

impl Places {
    /// Puts the plugin into its place.
    pub fn put_plugin(&self, from: &Path) -> Result<PathBuf, InstallError> {
        let content = fs::read(from).map_err(fail("read", from))?;
        let path = self.bin_dir.join(PLUGIN);
        self.noted(|note| note.plugins.push(path.clone()))?;
        replace(&path, &content, 0o755)?;
        Ok(path)
    }

    /// Puts the configuration into its place; whether it was another one before.
    pub fn put_configuration(&self, run_dir: &Path) -> Result<(PathBuf, bool), InstallError> {
        let path = self.conf_dir.join(CONFIGURATION);
        let content = configuration(run_dir);
        self.noted(|note| note.configurations.push(path.clone()))?;
        if fs::read_to_string(&path).is_ok_and(|old| old == content) {
            return Ok((path, false));
        }
        replace(&path, content.as_bytes(), 0o644)?;
        Ok((path, true))
    }

    /// Removes what was put, the configuration first: no pod is begun with a plugin that is about to go.
    pub fn remove(&self) -> Result<Vec<PathBuf>, InstallError> {
        let Note {
            plugins,
            configurations,
        } = self.note()?;
        let mut removed = Vec::new();
        for path in configurations.into_iter().chain(plugins) {
            match fs::remove_file(&path) {
                Ok(()) => removed.push(path),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(fail("remove", &path)(error)),
            }
        }
        let note = self.state_dir.join(NOTE);
        match fs::remove_file(&note) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(fail("remove", &note)(error))
            }
            _ => Ok(removed),
        }
    }

    /// Written before the file that it tells of, so that nothing is there that it does not tell of.
    fn noted(&self, change: impl FnOnce(&mut Note)) -> Result<(), InstallError> {
        let mut note = self.note()?;
        change(&mut note);
        for list in [&mut note.plugins, &mut note.configurations] {
            list.sort();
            list.dedup();
        }
        let path = self.state_dir.join(NOTE);
        let text = serde_json::to_vec_pretty(&note).map_err(|source| InstallError::Note {
            path: path.clone(),
            source,
        })?;
        replace(&path, &text, 0o600)
    }

    fn note(&self) -> Result<Note, InstallError> {
        let path = self.state_dir.join(NOTE);
        match fs::read(&path) {
            Ok(text) => {
                serde_json::from_slice(&text).map_err(|source| InstallError::Note { path, source })
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Note::default()),
            Err(error) => Err(fail("read", &path)(error)),
        }
    }
}

fn fail(call: &'static str, path: &Path) -> impl FnOnce(io::Error) -> InstallError + use<> {
    let path = path.to_owned();
    move |source| InstallError::File { call, path, source }
}

/// The file is there whole or not at all: written beside its place, then renamed. The temporary name begins with a dot and
/// ends like nothing a runtime reads.
pub(crate) fn replace(path: &Path, content: &[u8], mode: u32) -> Result<(), InstallError> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(folder).map_err(fail("create folder", folder))?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = folder.join(format!(".{name}.{:08x}.new", rand::random::<u32>()));
    let written = || -> io::Result<()> {
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&beside)?;
        file.write_all(content)?;
        file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(mode))?;
        file.sync_all()?;
        fs::rename(&beside, path)
    };
    written().map_err(|error| {
        drop(fs::remove_file(&beside));
        fail("write", path)(error)
    })
}

#[cfg(test)]
mod tests;
