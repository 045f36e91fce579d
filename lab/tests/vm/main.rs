//! weft on the kernels of Debian 12, each in a virtual machine: preflight, the programs through `BPF_PROG_TEST_RUN`, and
//! the smoke; and what becomes of machines that do not end well. Cold, it fetches and makes what the machines are made of.
//!
//! # Layout
//! - [`kernels`]: the matrix
//! - [`lacking`]: what a kernel lacks
//! - [`endings`]: exit codes, panics, hangs
//! - [`machine`]: one run, its output kept
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod endings;
mod kernels;
mod lacking;
mod machine;
