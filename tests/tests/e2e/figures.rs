//! Figures and probes over TCP, and what stands in deploy/monitoring about them.

use std::collections::BTreeSet;
use std::path::Path;

use weft_agent::controller::figures::Figures;
use weft_agent::figures::serve::Telling as _;
use weft_lab::lab::Options;
use weft_wait::eventually;

use crate::cluster::Cluster;

/// The names of samples, from what the lines `# TYPE` say.
fn samples(text: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let (name, kind) = line.split_once(' ').unwrap();
        let suffixes: &[&str] = match kind {
            "counter" => &["_total"],
            "histogram" => &["_bucket", "_sum", "_count"],
            _ => &[""],
        };
        names.extend(suffixes.iter().map(|suffix| format!("{name}{suffix}")));
    }
    names
}

/// Every metric of ours that a file names.
fn named(file: &str) -> BTreeSet<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../deploy/monitoring")
        .join(file);
    let text = std::fs::read_to_string(path).unwrap();
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words
        .filter(|word| word.starts_with("weft_"))
        .map(str::to_owned)
        .collect()
}

#[test]
fn dashboard_and_alerts_name_figures_that_exist() {
    let options = Options {
        nodes: 1,
        agent_config: Some("metricsAddress: 127.0.0.1:9618\n".into()),
        ..Options::default()
    };
    let cluster = Cluster::up(&options);
    let get = |path: &str| {
        let url = format!("http://127.0.0.1:9618{path}");
        cluster.run("node1", &["curl", "--silent", "--fail-with-body", &url])
    };
    eventually("the node is ready", || get("/readyz").code == Some(0));
    assert_eq!(get("/healthz").ok(), "ok\n");
    let text = get("/metrics").ok();
    assert!(text.lines().any(|line| line == "weft_ready 1"), "{text}");
    let mut known = samples(&text);
    assert!(known.len() > 20, "{known:?}");
    known.extend(samples(&Figures::default().metrics().unwrap()));
    for file in ["dashboard.json", "rules.yaml"] {
        let named = named(file);
        assert!(named.len() > 8, "{named:?}");
        let unknown: Vec<_> = named.difference(&known).collect();
        assert!(unknown.is_empty(), "{file} names {unknown:?}");
    }
}
