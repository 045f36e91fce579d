//! What the kernel has of weft's programs: handles on maps, and places where programs are attached.
//!
//! It lies below [`crate::apply`], which changes what the kernel has, and [`crate::observe`], which reads it.
//!
//! # Layout
//! - [`Row`]: a key or row as maps take it
//! - [`maps`]: typed handles on the maps
//! - [`hooks`]: where programs are attached, and which filters are ours

pub mod hooks;
pub mod maps;
mod row;

pub use row::Row;

/// What to do where the kernel interprets programs.
pub const JIT_REMEDY: &str = "the kernel's compiler for eBPF programs (JIT) is off, and callbacks need it: switch it on (sysctl -w net.core.bpf_jit_enable=1, and the same in /etc/sysctl.d to keep it)";
