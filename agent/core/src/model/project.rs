//! Projects and their network numbers.

use serde::{Deserialize, Serialize};

/// A VXLAN network identifier has 24 bits (RFC 7348, section 5).
const MAX: u32 = 0x00ff_ffff;

/// Number of a project's network, 0..=16777215. Equal numbers talk; 0 talks to all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct Vnid(u32);

/// The number does not fit 24 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("VNID {0} is out of range: it must be 0 to 16777215")]
pub struct VnidOutOfRange(pub u64);

impl Vnid {
    /// The network that talks to all others.
    pub const GLOBAL: Self = Self(0);
    /// The first number that the controller gives out; 1 to 9 are reserved for an administrator.
    pub const FIRST_ALLOCATABLE: Self = Self(10);
    /// The last number.
    pub const MAX: Self = Self(MAX);

    /// Checks the range.
    pub const fn new(n: u64) -> Result<Self, VnidOutOfRange> {
        if n > MAX as u64 {
            return Err(VnidOutOfRange(n));
        }
        #[expect(clippy::cast_possible_truncation, reason = "24 bits, as just checked")]
        Ok(Self(n as u32))
    }

    /// The number.
    pub const fn number(self) -> u32 {
        self.0
    }

    /// Whether two networks may talk.
    pub const fn talks_to(self, other: Self) -> bool {
        self.0 == other.0 || self.0 == 0 || other.0 == 0
    }
}

impl TryFrom<u32> for Vnid {
    type Error = VnidOutOfRange;
    fn try_from(n: u32) -> Result<Self, VnidOutOfRange> {
        Self::new(u64::from(n))
    }
}

impl From<Vnid> for u32 {
    fn from(vnid: Vnid) -> Self {
        vnid.0
    }
}

impl std::fmt::Display for Vnid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// A project (Kubernetes namespace) with its network, from a NetNamespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Project {
    /// The namespace's name.
    pub name: String,
    /// Its network.
    pub vnid: Vnid,
}
