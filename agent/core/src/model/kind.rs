//! Kinds of API objects.
//!
//! Whoever decides by the kind matches every one of them, without `_`: a kind that is added and forgotten somewhere then does
//! not compile (docs/kinds.md).

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

macro_rules! kinds {
    ($( $(#[$doc:meta])* $kind:ident, )*) => {
        /// A kind of API objects.
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        pub enum Kind {
            $( $(#[$doc])* $kind, )*
            /// One that weft makes nothing of; a directory of manifests may have any.
            Other(OtherKind),
        }

        impl Kind {
            /// Every kind that weft knows.
            pub const ALL: [Self; [$( stringify!($kind) ),*].len()] = [$( Self::$kind ),*];

            /// As it stands in an object.
            pub fn as_str(&self) -> &str {
                match self {
                    $( Self::$kind => stringify!($kind), )*
                    Self::Other(OtherKind(name)) => name,
                }
            }
        }

        impl From<&str> for Kind {
            fn from(name: &str) -> Self {
                match name {
                    $( stringify!($kind) => Self::$kind, )*
                    _ => Self::Other(OtherKind(name.into())),
                }
            }
        }
    };
}

kinds! {
    /// The cluster's ranges and mode; the one called `default` counts.
    ClusterNetwork,
    /// A node's part of the ranges.
    HostSubnet,
    /// A project's network number.
    NetNamespace,
    /// What a project may send out of the cluster.
    EgressNetworkPolicy,
    /// A node of the cluster.
    Node,
    /// A project.
    Namespace,
    /// A pod.
    Pod,
    /// By which controllers agree who is active.
    Lease,
    /// News about another object.
    Event,
}

impl Kind {
    /// Whether it is one of the API that weft serves, `network.openshift.io`.
    pub const fn is_ours(&self) -> bool {
        match self {
            Self::ClusterNetwork
            | Self::HostSubnet
            | Self::NetNamespace
            | Self::EgressNetworkPolicy => true,
            Self::Node
            | Self::Namespace
            | Self::Pod
            | Self::Lease
            | Self::Event
            | Self::Other(_) => false,
        }
    }
}

/// The name of a kind that weft does not know. Only a text makes one, so that no known kind has two values.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OtherKind(Arc<str>);

impl From<String> for Kind {
    fn from(name: String) -> Self {
        name.as_str().into()
    }
}

impl From<&Self> for Kind {
    fn from(kind: &Self) -> Self {
        kind.clone()
    }
}

impl Ord for Kind {
    /// By name.
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_str().cmp(other.as_str())
    }
}

impl PartialOrd for Kind {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
