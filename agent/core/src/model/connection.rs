//! Connections that the host's connection tracking knows.

use std::net::SocketAddr;

/// A connection: both directions, as the host forwards them. They differ where an address is translated. Ports are 0 where the
/// protocol has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection {
    /// IP protocol number.
    pub protocol: u8,
    /// What its first packet showed.
    pub opened: Direction,
    /// What answers show.
    pub answered: Direction,
}

/// One direction of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Direction {
    /// Who sends.
    pub from: SocketAddr,
    /// To whom.
    pub to: SocketAddr,
}
