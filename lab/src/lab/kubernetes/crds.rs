//! The definitions of weft's own kinds.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use kube::core::gvk::GroupVersionKind;
use serde_json::Value;
use weft_agent::store::Object;

use super::api::Api;
use crate::lab::error::{Error, file};
use crate::lab::objects::{self, Objects as _};

/// Custom resource definitions, as a folder of YAML files has them.
pub struct Crds(Vec<Object>);

impl Crds {
    /// Reads them; one at least must be there.
    pub fn read(directory: &Path) -> Result<Self, Error> {
        let entries = fs::read_dir(directory).map_err(file("list", directory))?;
        let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
        paths.retain(|path| path.extension().is_some_and(|end| end == "yaml"));
        paths.sort();
        let mut all = Vec::new();
        for path in &paths {
            let text = fs::read_to_string(path).map_err(file("read", path))?;
            all.extend(objects::parse(&text, &path.display().to_string())?);
        }
        all.retain(|object| object.key.kind.as_str() == "CustomResourceDefinition");
        if all.is_empty() {
            let why = format!("{}: no CustomResourceDefinition in it", directory.display());
            return Err(Error::Invalid(why));
        }
        Ok(Self(all))
    }

    /// Writes them and waits until the server answers watches of the kinds.
    pub fn establish(&self, api: &Api, deadline: Instant) -> Result<(), Error> {
        for object in &self.0 {
            api.apply(object)?;
        }
        for object in &self.0 {
            while !established(api, object)? {
                if Instant::now() >= deadline {
                    return Err(Error::Invalid(format!("{} is not established", object.key)));
                }
                thread::sleep(Duration::from_millis(20));
            }
        }
        Ok(())
    }
}

/// Established, and ready to be watched, which is a moment later.
fn established(api: &Api, object: &Object) -> Result<bool, Error> {
    let key = &object.key;
    let found = api.get(key.kind.as_str(), "", &key.name)?;
    let conditions =
        found.and_then(|found| found.value["status"]["conditions"].as_array().cloned());
    let is =
        |condition: &Value| condition["type"] == "Established" && condition["status"] == "True";
    if !conditions.unwrap_or_default().iter().any(is) {
        return Ok(false);
    }
    let spec = &object.value["spec"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let versions = spec["versions"].as_array().into_iter().flatten();
    for version in versions.filter(|version| version["served"] == true) {
        let gvk = GroupVersionKind::gvk(
            &text(&spec["group"]),
            &text(&version["name"]),
            &text(&spec["names"]["kind"]),
        );
        if !api.is_watchable(&gvk)? {
            return Ok(false);
        }
    }
    Ok(true)
}
