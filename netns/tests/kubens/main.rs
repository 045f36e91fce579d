//! The mount namespace of kubelet and runtime, in a host of the test's own: a mount namespace with its own `/run`. Needs
//! root.
//!
//! # Layout
//! - [`mounts`]: what is seen where
//! - [`starts`]: starts, stops, and what is in their way
//! - [`names`]: names of network namespaces that are pinned inside
#![expect(clippy::unwrap_used, reason = "a failed preparation fails the test")]

mod mounts;
mod names;
mod starts;

use std::fs;
use std::path::Path;

use nix::mount::{MsFlags, mount};
use weft_netns::kubens::Place;
use weft_netns::{MountNs, Mounts};

const NOTHING: Option<&str> = None;

fn tmpfs(at: impl AsRef<Path>) {
    let kind = Some("tmpfs");
    mount(kind, at.as_ref(), kind, MsFlags::empty(), NOTHING).unwrap();
}

/// All that a host has, shared as systemd makes it, and an empty `/run` of its own.
fn host() -> MountNs {
    let setup = || {
        tmpfs("/run");
        for directory in ["/run/a", "/run/b", "/run/c"] {
            fs::create_dir(directory).unwrap();
        }
    };
    MountNs::create_encapsulated(None, setup).unwrap().0
}

fn on<T: Send>(ns: &MountNs, work: impl FnOnce() -> T + Send) -> T {
    ns.run(work).unwrap()
}

/// A host with the namespace, and the namespace.
fn started() -> (MountNs, MountNs) {
    let host = host();
    let inside = on(&host, || {
        Place::default().start().unwrap();
        MountNs::open("/run/kubens/mnt").unwrap()
    });
    (host, inside)
}

fn is_mounted(ns: &MountNs, path: &str) -> bool {
    on(ns, || {
        Mounts::here().unwrap().is_mount_point(Path::new(path))
    })
}
