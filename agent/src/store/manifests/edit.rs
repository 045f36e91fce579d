//! Changes one object in the text of a file and keeps every other document byte for byte.

use serde_json::Value;

use super::document::{Body, Document, Format, is_marker, is_trivia, parse};
use crate::store::{Object, ObjectRef};

/// A text with one object replaced (`Some`) or taken out (`None`); `None` if nothing but blank lines is left.
pub(super) fn edit(
    text: &str,
    format: Format,
    key: &ObjectRef,
    new: Option<&Value>,
) -> Result<Option<String>, String> {
    let documents = parse(text, format)?;
    let holder = documents
        .iter()
        .position(|d| d.body.objects().iter().any(|o| o.key == *key));
    let mut edited = String::with_capacity(text.len() + 256);
    for (index, document) in documents.iter().enumerate() {
        if Some(index) == holder {
            edited.push_str(&rewrite(document, format, key, new)?);
        } else {
            edited.push_str(document.text);
        }
    }
    verify(&documents, &edited, format, key, new)?;
    let blank = |line: &str| line.trim().is_empty() || is_marker(line, "---");
    Ok((!edited.lines().all(blank)).then_some(edited))
}

fn rewrite(
    document: &Document<'_>,
    format: Format,
    key: &ObjectRef,
    new: Option<&Value>,
) -> Result<String, String> {
    let value = match (&document.body, new) {
        (Body::List(list, objects), new) => {
            let index = objects.iter().position(|o| o.key == *key);
            let mut list = list.clone();
            if let (Some(Value::Array(items)), Some(index)) = (list.get_mut("items"), index) {
                match (new, items.get_mut(index)) {
                    (Some(new), Some(item)) => *item = new.clone(),
                    _ => drop(items.remove(index)),
                }
            }
            list
        }
        (_, Some(new)) => new.clone(),
        (_, None) => return Ok(String::new()),
    };
    match format {
        Format::Json => Ok(render_json(&value)),
        Format::Yaml => {
            let (head, tail) = margins(document.text);
            Ok(format!("{head}{}{tail}", render(&value)?))
        }
    }
}

/// The comments and markers around a YAML document, which outlive its rewriting.
fn margins(text: &str) -> (String, String) {
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let mut head = String::new();
    let mut first = 0;
    for line in &lines {
        if is_marker(line, "---") {
            // What stands behind the marker on its line belongs to the old body, unless it is a comment.
            let rest = line
                .trim_start_matches('\u{feff}')
                .trim_start_matches("---");
            let comment = rest.trim_start().starts_with('#');
            head.push_str(if comment { line } else { "---\n" });
        } else if is_trivia(line) {
            head.push_str(line);
        } else {
            break;
        }
        first += 1;
    }
    let outside = |line: &&&str| is_marker(line, "...") || is_trivia(line);
    let kept = lines.iter().skip(first).rev().take_while(outside).count();
    let tail: String = lines.iter().skip(lines.len() - kept).copied().collect();
    (head, tail)
}

/// An object as a YAML document without markers.
pub(super) fn render(value: &Value) -> Result<String, String> {
    yaml_serde::to_string(value).map_err(|e| e.to_string())
}

fn render_json(value: &Value) -> String {
    format!("{value:#}\n")
}

/// Nothing but the one object may differ. Guards against text that reads differently after the cut.
fn verify(
    before: &[Document<'_>],
    edited: &str,
    format: Format,
    key: &ObjectRef,
    new: Option<&Value>,
) -> Result<(), String> {
    let objects = |documents: &[Document<'_>]| -> Vec<Object> {
        let all = documents.iter().flat_map(|d| d.body.objects());
        all.cloned().collect()
    };
    let mut wanted = objects(before);
    if let Some(index) = wanted.iter().position(|o| o.key == *key) {
        match (new, wanted.get_mut(index)) {
            (Some(new), Some(object)) => object.value = new.clone(),
            _ => drop(wanted.remove(index)),
        }
    }
    let got = objects(&parse(edited, format)?);
    let values =
        |objects: &[Object]| -> Vec<Value> { objects.iter().map(|o| o.value.clone()).collect() };
    if values(&wanted) == values(&got) {
        Ok(())
    } else {
        Err("the file cannot be edited without changing another object in it".into())
    }
}
