//! Where the API objects are: one of the manifests directory and a Kubernetes API server.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::ConfigError;

/// Where API objects come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A directory of YAML and JSON files.
    Manifests(PathBuf),
    /// A Kubernetes API server.
    Kubernetes(Access),
}

/// How an API server is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// As the service account of the pod that this process runs in.
    InCluster,
    /// As a kubeconfig file says.
    Kubeconfig {
        /// Several are merged, the first one to set a value counts.
        files: Vec<PathBuf>,
        /// The context to use, in the place of the current one.
        context: Option<String>,
    },
}

/// The manifests directory when none is configured.
pub const DEFAULT_MANIFESTS: &str = "/etc/weft/manifests";

/// Flags that say where the API objects are.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct SourceArgs {
    /// Directory of manifests that holds the API objects [default: /etc/weft/manifests]
    #[arg(long, value_name = "DIR", conflicts_with_all = ["kubeconfig", "context"])]
    pub manifests: Option<PathBuf>,
    /// Kubeconfig file of the API server that holds the API objects
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig file [default: its current one]
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,
}

/// The key `source` as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct SourceKeys {
    manifests: Option<PathBuf>,
    /// Told apart from a key that is not there: `kubernetes:` alone means in-cluster.
    #[serde(default, deserialize_with = "present")]
    kubernetes: Option<KubernetesKeys>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct KubernetesKeys {
    kubeconfig: Option<PathBuf>,
    context: Option<String>,
}

fn present<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<KubernetesKeys>, D::Error> {
    Ok(Some(Option::deserialize(from)?.unwrap_or_default()))
}

/// What is taken when neither flags nor file name a source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Fallback {
    /// The default manifests directory.
    #[default]
    Manifests,
    /// Where kubectl would look, and the default manifests directory if there is nothing.
    AsKubectl,
}

/// The parts of the environment that kubectl goes by.
pub(super) struct Surroundings<'a> {
    pub(super) kubeconfig: Option<&'a OsStr>,
    pub(super) home: Option<&'a Path>,
    pub(super) in_cluster: bool,
}

/// Decides between flags, file and fallback.
pub(super) fn source(
    args: &SourceArgs,
    keys: Option<SourceKeys>,
    fallback: Fallback,
    around: &Surroundings<'_>,
) -> Result<Source, ConfigError> {
    if let Some(dir) = &args.manifests {
        return Ok(Source::Manifests(dir.clone()));
    }
    let of_file = keys.as_ref().and_then(|keys| keys.kubernetes.as_ref());
    let context = args.context.clone();
    let context = context.or_else(|| of_file.and_then(|keys| keys.context.clone()));
    if let Some(file) = &args.kubeconfig {
        return access(Some(file.clone()), args.context.clone()).map(Source::Kubernetes);
    }
    if args.context.is_some()
        && of_file.is_none_or(|keys| keys.kubeconfig.is_none())
        && fallback == Fallback::Manifests
    {
        let reason = "--context needs a kubeconfig file: name it with --kubeconfig FILE";
        return Err(value("source.kubernetes.context", reason));
    }
    match keys.map(|keys| (keys.manifests, keys.kubernetes)) {
        None => Ok(implied(context, fallback, around)),
        // Flags override the file: the context is one of the files that kubectl would read.
        Some((Some(_), None)) if args.context.is_some() => Ok(implied(context, fallback, around)),
        Some((Some(dir), None)) => Ok(Source::Manifests(dir)),
        Some((None, Some(keys))) => access(keys.kubeconfig, context).map(Source::Kubernetes),
        Some((Some(_), Some(_))) => Err(value(
            "source",
            "names both manifests and kubernetes: keep exactly one",
        )),
        Some((None, None)) => Err(value(
            "source",
            "names nothing: write `manifests: DIRECTORY` or `kubernetes: {}`",
        )),
    }
}

fn access(kubeconfig: Option<PathBuf>, context: Option<String>) -> Result<Access, ConfigError> {
    match (kubeconfig, context) {
        (_, Some(context)) if context.is_empty() => Err(value(
            "source.kubernetes.context",
            "is empty: name a context or leave the key out",
        )),
        (Some(file), _) if file.as_os_str().is_empty() => Err(value(
            "source.kubernetes.kubeconfig",
            "is empty: name a file, or leave the key out to use the pod's service account",
        )),
        (Some(file), context) => Ok(Access::Kubeconfig {
            files: vec![file],
            context,
        }),
        (None, Some(_)) => Err(value(
            "source.kubernetes.context",
            "needs a kubeconfig file: set source.kubernetes.kubeconfig too",
        )),
        (None, None) => Ok(Access::InCluster),
    }
}

fn implied(context: Option<String>, fallback: Fallback, around: &Surroundings<'_>) -> Source {
    if fallback == Fallback::AsKubectl {
        let listed = around
            .kubeconfig
            .into_iter()
            .flat_map(std::env::split_paths);
        let mut files: Vec<_> = listed.filter(|p| !p.as_os_str().is_empty()).collect();
        let own = around.home.map(|home| home.join(".kube/config"));
        // A context that was asked for has to be somewhere: the error then names the file that is not there.
        let own = own.filter(|file| files.is_empty() && (context.is_some() || file.exists()));
        files.extend(own);
        if !files.is_empty() {
            return Source::Kubernetes(Access::Kubeconfig { files, context });
        }
        if around.in_cluster {
            return Source::Kubernetes(Access::InCluster);
        }
    }
    Source::Manifests(DEFAULT_MANIFESTS.into())
}

fn value(key: &'static str, reason: &str) -> ConfigError {
    ConfigError::Value {
        key,
        reason: reason.into(),
    }
}

#[cfg(test)]
mod tests;
