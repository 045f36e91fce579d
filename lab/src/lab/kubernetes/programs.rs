//! The programs of Kubernetes, which `make kubernetes` builds.

use std::path::{Path, PathBuf};

use crate::lab::error::Error;
use crate::lab::options::KubernetesMode;

/// Says which version is built; the script that builds it reads the same file.
const GO_MOD: &str = include_str!("../../../kubernetes/go.mod");

/// What runs for each mode.
fn wanted(mode: KubernetesMode) -> &'static [&'static str] {
    match mode {
        KubernetesMode::Api => &["kube-apiserver", "kubectl"],
        KubernetesMode::Cluster | KubernetesMode::Bare => &[
            "kube-apiserver",
            "kubectl",
            "kube-controller-manager",
            "kube-scheduler",
            "kubelet",
            "kube-proxy",
            "agnhost",
            "coredns",
        ],
    }
}

/// `WEFT_KUBERNETES`, else the version's folder in the user's cache.
pub fn directory(mode: KubernetesMode) -> Result<PathBuf, Error> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let cache = set("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(set("HOME")?).join(".cache")));
    let built = cache.map(|cache| cache.join("weft/kubernetes").join(version()));
    let told = set("WEFT_KUBERNETES").map(PathBuf::from);
    let directory = told.or(built).ok_or_else(|| {
        Error::Invalid("neither WEFT_KUBERNETES, XDG_CACHE_HOME nor HOME is set".into())
    })?;
    for name in wanted(mode) {
        program(&directory, name)?;
    }
    Ok(directory)
}

/// Debian's etcd, found as a shell would.
pub fn etcd() -> Result<PathBuf, Error> {
    installed("etcd", "etcd-server")
}

/// A program that a Debian package brings.
pub fn installed(name: &str, package: &str) -> Result<PathBuf, Error> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut found = std::env::split_paths(&path).map(|directory| directory.join(name));
    found.find(|path| path.is_file()).ok_or_else(|| {
        Error::Invalid(format!(
            "{name} is not there; `make setup` installs it (Debian: {package})"
        ))
    })
}

/// The path of a program; an error with the remedy if it is not there.
pub fn program(directory: &Path, name: &str) -> Result<PathBuf, Error> {
    let path = directory.join(name);
    if path.is_file() {
        Ok(path)
    } else {
        Err(Error::Kubernetes(path))
    }
}

/// The pinned version, as in `v1.35.4`.
fn version() -> &'static str {
    let mut lines = GO_MOD.lines().map(str::trim);
    let found = lines.find_map(|line| line.strip_prefix("k8s.io/kubernetes "));
    found
        .and_then(|rest| rest.split(' ').next())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_version_is_the_one_that_is_built() {
        let version = super::version();
        assert!(version.starts_with("v1."), "{version:?}");
    }
}
