//! What is wrong, and with what.

use std::fmt;

use serde::{Serialize, Serializer};

use super::{Kind, NamePattern};

/// What names an API object. Ordered by kind, namespace, name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectRef {
    /// Its kind.
    pub kind: Kind,
    /// Empty if the object is cluster-wide.
    pub namespace: String,
    /// metadata.name
    pub name: String,
}

impl ObjectRef {
    /// A cluster-wide object.
    pub fn cluster(kind: impl Into<Kind>, name: impl Into<String>) -> Self {
        Self {
            kind: kind.into(),
            namespace: String::new(),
            name: name.into(),
        }
    }

    /// An object of a namespace.
    pub fn namespaced(
        kind: impl Into<Kind>,
        namespace: impl Into<String>,
        name: impl Into<String>,
    ) -> Self {
        Self {
            kind: kind.into(),
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    /// The ClusterNetwork that counts.
    pub fn cluster_network() -> Self {
        Self::cluster(Kind::ClusterNetwork, "default")
    }

    /// An egress policy.
    pub fn egress_policy(project: impl Into<String>, name: impl Into<String>) -> Self {
        Self::namespaced(Kind::EgressNetworkPolicy, project, name)
    }
}

impl From<&Self> for ObjectRef {
    fn from(object: &Self) -> Self {
        object.clone()
    }
}

impl fmt::Display for ObjectRef {
    /// `kind/name`, `kind/namespace/name`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            write!(f, "{}/{}", self.kind, self.name)
        } else {
            write!(f, "{}/{}/{}", self.kind, self.namespace, self.name)
        }
    }
}

/// What something wrong is about. What users see of it is its text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// An API object.
    Object(ObjectRef),
    /// What is written into an object's status.
    Status(ObjectRef),
    /// A name in policies.
    Name(NamePattern),
    /// A part of the node or the cluster that is no API object, as users know it: a file's path, `data path`.
    Part(String),
}

impl From<ObjectRef> for Subject {
    fn from(object: ObjectRef) -> Self {
        Self::Object(object)
    }
}

impl From<&ObjectRef> for Subject {
    fn from(object: &ObjectRef) -> Self {
        Self::Object(object.clone())
    }
}

impl Serialize for Subject {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Object(object) => object.fmt(f),
            Self::Status(object) => write!(f, "status of {object}"),
            Self::Name(name) => write!(f, "dnsName {name}"),
            Self::Part(part) => f.write_str(part),
        }
    }
}

/// Something wrong, shown by status until it is mended.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Problem {
    /// What it is about.
    pub object: Subject,
    /// What is wrong, what holds meanwhile and what to do.
    pub message: String,
}

impl Problem {
    /// Something wrong with an object.
    pub fn with(object: impl Into<ObjectRef>, message: impl Into<String>) -> Self {
        Self {
            object: Subject::Object(object.into()),
            message: message.into(),
        }
    }

    /// Something wrong with what is no API object.
    pub fn of_part(part: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            object: Subject::Part(part.into()),
            message: message.into(),
        }
    }
}

/// In the order of what users see.
pub fn sort_problems(problems: &mut [Problem]) {
    problems.sort_by_cached_key(|it| (it.object.to_string(), it.message.clone()));
}
