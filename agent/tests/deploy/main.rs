//! What stands in deploy/ fits together and fits the programs.
#![expect(clippy::unwrap_used, reason = "a panic is how a test reports")]

mod chart;
mod manifests;

use std::path::{Path, PathBuf};

fn deploy(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../deploy")
        .join(file)
}

fn read(file: &str) -> String {
    std::fs::read_to_string(deploy(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// The documents of a YAML file, as values.
fn documents(text: &str) -> Vec<serde_json::Value> {
    use serde::Deserialize as _;
    let documents = yaml_serde::Deserializer::from_str(text);
    documents
        .map(|it| serde_json::Value::deserialize(it).unwrap())
        .collect()
}
