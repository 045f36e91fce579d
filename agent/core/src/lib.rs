//! The pure part of the agent: what it believes, what the data path should hold, and the difference.
//!
//! # Layout
//! - [`model`]: the world, a plain value made from API objects and configuration
//!
//! No crate that does I/O may stand in the manifest: Cargo is the layering lint.
#![forbid(unsafe_code)]

pub mod model;
