//! Label selectors, as `kubectl -l` takes them.

use std::fmt;
use std::str::FromStr;

use crate::store::Object;

/// Requirements that must all hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector {
    text: String,
    requirements: Vec<Requirement>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    key: String,
    test: Test,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Test {
    Exists,
    Absent,
    In(Vec<String>),
    /// Holds for an object without the label too.
    NotIn(Vec<String>),
}

/// The text is no selector.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{part:?}: {reason}; write KEY=VALUE, KEY!=VALUE, KEY in (A,B), KEY notin (A,B), KEY or !KEY, separated by commas"
)]
pub struct SelectorError {
    part: String,
    reason: &'static str,
}

impl Selector {
    /// Whether an object's labels satisfy it.
    pub fn matches(&self, object: &Object) -> bool {
        self.requirements.iter().all(|requirement| {
            let label = object.label(&requirement.key);
            match (&requirement.test, label) {
                (Test::Exists, label) => label.is_some(),
                (Test::Absent, label) => label.is_none(),
                (Test::In(values), Some(label)) => values.iter().any(|v| v == label),
                (Test::In(_), None) => false,
                (Test::NotIn(values), Some(label)) => values.iter().all(|v| v != label),
                (Test::NotIn(_), None) => true,
            }
        })
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Selector {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, SelectorError> {
        let requirements = parts(text).map(requirement).collect::<Result<_, _>>()?;
        Ok(Self {
            text: text.to_owned(),
            requirements,
        })
    }
}

/// Cuts at the commas outside parentheses.
fn parts(text: &str) -> impl Iterator<Item = &str> {
    let mut inside = false;
    text.split(move |c| {
        inside = match c {
            '(' => true,
            ')' => false,
            _ => inside,
        };
        c == ',' && !inside
    })
}

fn requirement(part: &str) -> Result<Requirement, SelectorError> {
    let part = part.trim();
    let fail = |reason| SelectorError {
        part: part.to_owned(),
        reason,
    };
    let one = |value: &str| vec![value.trim().to_owned()];
    let (key, test) = if let Some((key, values)) = part.split_once('(') {
        let values = values.strip_suffix(')').ok_or(fail("the ) is missing"))?;
        let values: Vec<String> = values.split(',').map(|v| v.trim().to_owned()).collect();
        match key.trim().rsplit_once(char::is_whitespace) {
            Some((key, "in")) => (key, Test::In(values)),
            Some((key, "notin")) => (key, Test::NotIn(values)),
            _ => return Err(fail("in or notin is missing")),
        }
    } else if let Some((key, value)) = part.split_once("!=") {
        (key, Test::NotIn(one(value)))
    } else if let Some((key, value)) = part.split_once('=') {
        let value = value.strip_prefix('=').unwrap_or(value);
        (key, Test::In(one(value)))
    } else if let Some(key) = part.strip_prefix('!') {
        (key, Test::Absent)
    } else {
        (part, Test::Exists)
    };
    let key = key.trim();
    if !is_key(key) {
        return Err(fail("this is no label key"));
    }
    if let Test::In(values) | Test::NotIn(values) = &test
        && !values
            .iter()
            .all(|value| value.is_empty() || is_name(value))
    {
        return Err(fail("this is no label value"));
    }
    Ok(Requirement {
        key: key.to_owned(),
        test,
    })
}

/// A name, or a DNS subdomain, a slash and a name.
fn is_key(key: &str) -> bool {
    match key.split_once('/') {
        Some((prefix, name)) => weft_core::model::check_name(prefix).is_ok() && is_name(name),
        None => is_name(key),
    }
}

/// 1 to 63 letters, digits, `-`, `_` and `.`, a letter or digit at both ends.
fn is_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric();
    (1..=63).contains(&name.len())
        && name.chars().all(|c| plain(c) || "-_.".contains(c))
        && name.starts_with(plain)
        && name.ends_with(plain)
}
