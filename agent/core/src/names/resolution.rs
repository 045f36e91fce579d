//! What is known about a name, for whoever uses it.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use super::failure::{Failure, Failures};

/// What is in force for a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolution {
    /// The addresses.
    pub addresses: BTreeMap<IpAddr, Until>,
    /// How they came about.
    pub state: NameState,
}

/// How long an address is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// It is in the latest answer: until a newer one drops it.
    Held,
    /// It dropped out of the answer: until then.
    Grace(Instant),
}

impl Until {
    pub(super) fn holds(self, now: Instant) -> bool {
        match self {
            Self::Held => true,
            Self::Grace(end) => end > now,
        }
    }
}

/// How the addresses of a name came about. Times that are past mean that the name is being asked right now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NameState {
    /// Never answered with an address.
    Unresolved {
        /// Since when it is wanted.
        since: Instant,
        /// The last failure; none before the first lookup has ended.
        error: Option<Failures>,
        /// When it is asked again.
        next_try: Instant,
    },
    /// The last lookup brought addresses.
    Resolved {
        /// The TTL that counts.
        ttl: Duration,
        /// When the answer came.
        answered: Instant,
        /// When it is asked again.
        next_refresh: Instant,
        /// Who answered.
        server: SocketAddr,
        /// A family that was not answered: its older addresses are kept, and it is asked again early.
        missing: Option<Failure>,
    },
    /// The last lookup failed: the addresses of the last answer are kept.
    Stale {
        /// The first failure since that answer.
        since: Instant,
        /// The last failure.
        error: Failures,
        /// When it is asked again.
        next_try: Instant,
        /// The TTL of the last answer.
        ttl: Duration,
        /// When the last answer came.
        answered: Instant,
        /// Who gave it.
        server: SocketAddr,
    },
}
