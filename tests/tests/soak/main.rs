//! Long and heavy cases: `make soak`. Each prints how far it is, leaves its figures in `target/soak/`, and fails if a bound
//! is broken.
//!
//! # Layout
//! - [`process`]: what a process takes
//! - [`figures`]: numbers, their bounds and their file
//! - [`policies`]: a thousand policy updates a minute, pods that come and go
#![expect(
    clippy::unwrap_used,
    reason = "a panic is how a test fails, also in its fixture"
)]

mod figures;
mod policies;
mod process;
