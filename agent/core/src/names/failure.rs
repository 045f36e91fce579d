//! Why a lookup brought nothing.

use std::fmt;
use std::net::SocketAddr;

/// Why a server's answer does not count.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// Nothing came in time.
    #[error("no answer in time")]
    Timeout,
    /// The query could not be sent, or a connection could not be made.
    #[error("not reached: {0}")]
    Unreachable(String),
    /// SERVFAIL.
    #[error("server failure (SERVFAIL)")]
    ServFail,
    /// NXDOMAIN.
    #[error("the name does not exist (NXDOMAIN)")]
    NxDomain,
    /// REFUSED.
    #[error("the server refuses to answer (REFUSED)")]
    Refused,
    /// Another response code.
    #[error("the server answers with code {0}")]
    Code(u16),
    /// The name exists, and has neither A nor AAAA records.
    #[error("the name has no address")]
    NoAddress,
    /// The answer cannot be used.
    #[error("unusable answer: {0}")]
    Unusable(String),
}

impl Failure {
    /// Whether the server was not heard at all.
    pub fn is_silence(&self) -> bool {
        matches!(self, Self::Timeout | Self::Unreachable(_))
    }
}

/// What each server that was asked in vain said, in the order of asking.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failures(pub Vec<(SocketAddr, Failure)>);

impl fmt::Display for Failures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("no name server is known");
        }
        for (i, (server, failure)) in self.0.iter().enumerate() {
            let separator = if i == 0 { "" } else { "; " };
            write!(f, "{separator}{server}: {failure}")?;
        }
        Ok(())
    }
}
