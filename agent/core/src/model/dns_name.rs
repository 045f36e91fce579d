//! Domain names as policies write them and DNS sees them.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A whole domain name: lower case, without the trailing dot. Clones share the text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DnsName(Arc<str>);

/// The text is no domain name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDnsName {
    /// Nothing, or only a dot.
    #[error("a domain name is empty")]
    Empty,
    /// More than DNS can carry.
    #[error("domain name {0:?} is longer than {max} characters", max = DnsName::MAX)]
    TooLong(String),
    /// Two dots in a row, or one at the start.
    #[error("domain name {0:?} has an empty label: write one dot between labels")]
    EmptyLabel(String),
    /// A label that DNS cannot carry.
    #[error("domain name {name:?}: label {label:?} is longer than {max} characters", max = DnsName::LABEL_MAX)]
    LongLabel {
        /// The whole name.
        name: String,
        /// The label.
        label: String,
    },
    /// A character that no host name has.
    #[error(
        "domain name {name:?}: character {character:?} is not one of letters, digits, '-' and '_'"
    )]
    Character {
        /// The whole name.
        name: String,
        /// The first such character.
        character: char,
    },
}

impl DnsName {
    /// The longest text of a name.
    pub const MAX: usize = 253;
    /// The longest label.
    pub const LABEL_MAX: usize = 63;

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The labels, the most specific one first.
    pub fn labels(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('.')
    }

    /// The names that it stands below, the nearest first.
    pub fn parents(&self) -> impl Iterator<Item = Self> {
        let parents = self.0.match_indices('.');
        parents.map(|(dot, _)| Self(self.0[dot + 1..].into()))
    }
}

impl FromStr for DnsName {
    type Err = InvalidDnsName;

    fn from_str(text: &str) -> Result<Self, InvalidDnsName> {
        let name = text.strip_suffix('.').unwrap_or(text);
        if name.is_empty() {
            return Err(InvalidDnsName::Empty);
        }
        // Before the length, so that no error repeats an endless text that is no name at all.
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if let Some(character) = name.chars().find(|c| !allowed(*c)) {
            return Err(InvalidDnsName::Character {
                name: short(text),
                character,
            });
        }
        if name.len() > Self::MAX {
            return Err(InvalidDnsName::TooLong(short(text)));
        }
        for label in name.split('.') {
            if label.is_empty() {
                return Err(InvalidDnsName::EmptyLabel(text.into()));
            }
            if label.len() > Self::LABEL_MAX {
                return Err(InvalidDnsName::LongLabel {
                    name: text.into(),
                    label: label.into(),
                });
            }
        }
        Ok(Self(name.to_ascii_lowercase().into()))
    }
}

fn short(text: &str) -> String {
    match text.char_indices().nth(DnsName::MAX) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.into(),
    }
}

impl TryFrom<String> for DnsName {
    type Error = InvalidDnsName;
    fn try_from(text: String) -> Result<Self, InvalidDnsName> {
        text.parse()
    }
}

impl From<DnsName> for String {
    fn from(name: DnsName) -> Self {
        name.as_str().into()
    }
}

impl fmt::Display for DnsName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for DnsName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

#[cfg(test)]
mod tests;
