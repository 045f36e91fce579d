//! A directory that goes away with everything pinned in it.

use std::fs;
use std::path::{Path, PathBuf};

/// A new directory with a random name.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new() -> Self {
        let random = fs::read_to_string("/proc/sys/kernel/random/uuid").unwrap();
        let path = std::env::temp_dir().join(format!("weft-netns-{}", random.trim()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        for entry in fs::read_dir(&self.0).into_iter().flatten().flatten() {
            // Refuses and keeps what is no pin; that goes with the directory.
            drop(weft_netns::unpin(entry.path()));
        }
        drop(fs::remove_dir_all(&self.0));
    }
}
