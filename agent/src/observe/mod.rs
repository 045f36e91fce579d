//! Reads the actual content back from the kernel.
//!
//! # Layout
//! - [`maps`]: rows and counters of the eBPF maps

pub mod maps;
