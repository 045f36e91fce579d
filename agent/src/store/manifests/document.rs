//! The text of a manifest file: documents, and the objects in them.

use serde_json::Value;

use crate::store::Object;

/// How a file is written, from its extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// Several documents, separated by `---`.
    Yaml,
    /// One document.
    Json,
}

impl Format {
    /// The format of a file that is a manifest; other files are none of ours.
    pub(super) fn of(file: &std::path::Path) -> Option<Self> {
        let hidden = file.file_name()?.as_encoded_bytes().starts_with(b".");
        match file.extension()?.to_str()? {
            _ if hidden => None,
            "yaml" | "yml" => Some(Self::Yaml),
            "json" => Some(Self::Json),
            _ => None,
        }
    }
}

/// One document with the text it stands in. The texts of a file's documents, joined, are the file.
#[derive(Debug)]
pub(super) struct Document<'a> {
    pub(super) text: &'a str,
    pub(super) body: Body,
}

/// What a document holds.
#[derive(Debug)]
pub(super) enum Body {
    /// Blank lines and comments.
    Nothing,
    /// An object.
    One(Object),
    /// A v1 List, and its items.
    List(Value, Vec<Object>),
}

impl Body {
    pub(super) fn objects(&self) -> &[Object] {
        match self {
            Self::Nothing => &[],
            Self::One(object) => std::slice::from_ref(object),
            Self::List(_, objects) => objects,
        }
    }

    pub(super) fn into_objects(self) -> Vec<Object> {
        match self {
            Self::Nothing => Vec::new(),
            Self::One(object) => vec![object],
            Self::List(_, objects) => objects,
        }
    }
}

/// Reads a whole file; the error says where and what.
pub(super) fn parse(text: &str, format: Format) -> Result<Vec<Document<'_>>, String> {
    let mut line = 1;
    let mut documents = Vec::new();
    let texts = match format {
        Format::Yaml => split(text),
        Format::Json => vec![text],
    };
    for text in texts {
        let body = body(text, format).map_err(|e| match format {
            Format::Yaml => format!("document at line {line}: {e}"),
            Format::Json => e,
        })?;
        line += text.matches('\n').count();
        documents.push(Document { text, body });
    }
    Ok(documents)
}

fn body(text: &str, format: Format) -> Result<Body, String> {
    // The parser counts a byte order mark as a column.
    let text = text.trim_start_matches('\u{feff}');
    let empty = |line: &str| is_trivia(line) || is_marker(line, "...");
    if format == Format::Yaml && text.lines().all(empty) {
        return Ok(Body::Nothing);
    }
    // Through a YAML value in both formats, because it refuses duplicate keys and too deep nesting.
    let value = match format {
        Format::Yaml => yaml_serde::from_str::<yaml_serde::Value>(text).map_err(|e| e.to_string()),
        Format::Json if text.trim().is_empty() => return Ok(Body::Nothing),
        Format::Json => serde_json::from_str::<yaml_serde::Value>(text).map_err(|e| e.to_string()),
    }?;
    if value.is_null() {
        return Ok(Body::Nothing);
    }
    let value = {
        let yaml = value;
        serde_json::to_value(&yaml).map_err(|e| e.to_string())?
    };
    let is_list = value.get("kind").is_some_and(|kind| kind == "List");
    match value.get("items") {
        Some(Value::Array(items)) if is_list => {
            let objects = items.iter().enumerate().map(|(index, item)| {
                Object::from_value(item.clone()).map_err(|e| format!("items[{index}]: {e}"))
            });
            let objects = objects.collect::<Result<_, _>>()?;
            Ok(Body::List(value, objects))
        }
        _ if is_list => Err("List has no items".into()),
        _ => Object::from_value(value).map(Body::One),
    }
}

/// Cuts before each `---` and after each `...`; markers count at the start of a line only, also inside scalars
/// (YAML 1.2.2, 9.1.2). Lines with nothing but comments or directives go with the document they stand before.
pub(super) fn split(text: &str) -> Vec<&str> {
    let mut documents = Vec::new();
    let (mut start, mut at) = (0, 0);
    let mut only_trivia = true;
    for line in text.split_inclusive('\n') {
        if is_marker(line, "---") {
            if !only_trivia {
                documents.extend(text.get(start..at));
                start = at;
            }
            only_trivia = false;
        } else if !is_trivia(line) {
            only_trivia = false;
        }
        at += line.len();
        if is_marker(line, "...") {
            documents.extend(text.get(start..at));
            start = at;
            only_trivia = true;
        }
    }
    documents.extend(text.get(start..).filter(|rest| !rest.is_empty()));
    documents
}

/// Whether a line is a document marker: `---` or `...`, then white space or nothing.
pub(super) fn is_marker(line: &str, marker: &str) -> bool {
    line.trim_start_matches('\u{feff}')
        .strip_prefix(marker)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']))
}

/// Whether a line before a document is blank, a comment or a directive.
pub(super) fn is_trivia(line: &str) -> bool {
    let line = line.trim_start_matches('\u{feff}');
    line.starts_with(['#', '%']) || line.trim().is_empty()
}
