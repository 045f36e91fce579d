//! Headers of a packet.

mod arbitrary;
mod build;
mod ipv4;
mod ipv6;
mod link;
