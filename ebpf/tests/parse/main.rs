//! Headers of a packet.
#![expect(clippy::unwrap_used, reason = "a test ends at what it did not expect")]

mod arbitrary;
mod build;
mod ipv4;
mod ipv6;
mod link;
mod opens;
mod unfit;
