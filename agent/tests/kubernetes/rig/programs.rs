//! Where the programs of Kubernetes lie.

use std::path::PathBuf;

/// The folder of kube-apiserver and kubectl.
pub fn programs() -> PathBuf {
    let missing = "`make kubernetes` builds it; or set WEFT_KUBERNETES to a folder that has kube-apiserver and kubectl";
    if let Some(folder) = std::env::var_os("WEFT_KUBERNETES") {
        let folder = PathBuf::from(folder);
        assert!(
            folder.join("kube-apiserver").exists(),
            "no kube-apiserver in {}: {missing}",
            folder.display()
        );
        return folder;
    }
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache
        .or_else(|| std::env::home_dir().map(|home| home.join(".cache")))
        .unwrap();
    let versions = cache.join("weft/kubernetes");
    let folders = std::fs::read_dir(&versions)
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().path());
    let with = folders
        .filter(|folder| folder.join("kube-apiserver").exists() && folder.join("kubectl").exists());
    let newest = with.max();
    newest.unwrap_or_else(|| {
        panic!(
            "no kube-apiserver and kubectl in a folder of {}: {missing}",
            versions.display()
        )
    })
}
