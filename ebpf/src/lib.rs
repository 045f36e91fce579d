//! What the kernel and user space share.
//!
//! # Layout
//! - [`addr`]: the 128-bit address every key and row uses (IPv4 is mapped, RFC 4291 section 2.5.5.2)
//! - [`tables`]: the eBPF maps, each declared once
//! - [`rows`]: their keys and rows
//! - [`packet`]: headers of one packet, parsed once
//! - [`decide`]: the packet decisions, plain functions over a packet and a [`decide::Tables`]
//! - [`dns`]: DNS messages, from which addresses of names are learned
//! - [`reason`]: why a packet was dropped
//! - [`event`]: what the ring buffer carries
//!
//! The crate is `no_std` and builds for the host and for BPF: tests, `explain` and the data path run the same code.
#![no_std]
#![forbid(unsafe_code)]
#![expect(
    clippy::inline_always,
    reason = "a call in the programs costs a stack frame of the 512 bytes and hides bounds from the verifier"
)]

pub mod addr;
pub mod decide;
pub mod dns;
pub mod event;
pub mod packet;
pub mod reason;
pub mod rows;
pub mod tables;

/// Version of everything that is pinned: map names, keys, rows, program names.
///
/// Change it with any of them; the pins of another version live in another folder (`v<ABI>`) and are never opened.
pub const ABI: u32 = 7;
