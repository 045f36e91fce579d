//! The chart with its defaults is the manifests.

use serde_json::Value;

use super::{deploy, documents, read};

/// What helm would make of a template that only names values; anything else in braces is an error.
fn rendered(template: &str, values: &Value) -> String {
    let mut text = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{ ") {
        let (name, behind) = after.split_once(" }}").unwrap();
        let value = if name == ".Release.Namespace" {
            "weft".to_owned()
        } else {
            let path = name
                .strip_prefix(".Values.")
                .unwrap_or_else(|| panic!("{{{{ {name} }}}}"));
            let value = values.pointer(&format!("/{}", path.replace('.', "/")));
            match value.unwrap_or_else(|| panic!("no {path} in values.yaml")) {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            }
        };
        text.push_str(before);
        text.push_str(&value);
        rest = behind;
    }
    text + rest
}

fn templates() -> Vec<String> {
    let folder = std::fs::read_dir(deploy("helm/weft/templates")).unwrap();
    let names = folder.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.collect();
    names.sort();
    names
}

#[test]
fn the_chart_with_its_defaults_is_the_manifests() {
    let values = documents(&read("helm/weft/values.yaml")).remove(0);
    for name in templates() {
        let template = read(&format!("helm/weft/templates/{name}"));
        assert_eq!(
            rendered(&template, &values),
            read(&format!("manifests/{name}")),
            "{name}: run `make chart`"
        );
    }
}

#[test]
fn the_chart_and_the_kustomization_have_everything() {
    let chart = templates();
    let listed = documents(&read("kustomization.yaml")).remove(0);
    let listed: Vec<&str> = listed["resources"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it.as_str().unwrap())
        .collect();
    for folder in ["crds", "manifests"] {
        for entry in std::fs::read_dir(deploy(folder)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            assert!(
                listed.contains(&format!("{folder}/{name}").as_str()),
                "{folder}/{name} in kustomization.yaml"
            );
            // Helm is told the namespace, and may make it.
            assert!(
                folder == "crds" || name == "namespace.yaml" || chart.contains(&name),
                "{name} in the chart: name it in chart.sh"
            );
            if folder == "crds" {
                assert_eq!(
                    read(&format!("helm/weft/crds/{name}")),
                    read(&format!("crds/{name}"))
                );
            }
        }
    }
}

#[test]
fn every_value_is_used() {
    let all: String = templates()
        .iter()
        .map(|name| read(&format!("helm/weft/templates/{name}")))
        .collect();
    let values = documents(&read("helm/weft/values.yaml")).remove(0);
    for (name, value) in values.as_object().unwrap() {
        let names = match value.as_object() {
            Some(below) => below.keys().map(|key| format!("{name}.{key}")).collect(),
            None => vec![name.clone()],
        };
        for name in names {
            assert!(all.contains(&format!("{{{{ .Values.{name} }}}}")), "{name}");
        }
    }
}
