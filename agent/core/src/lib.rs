//! The pure part of the agent: what it believes, what the data path should hold, and the difference.
//!
//! # Layout
//! - [`model`]: the world, a plain value made from API objects and configuration
//! - [`host`]: devices and routes of a host, as they are asked for and as they are
//! - [`compile`]: world -> tables, the whole wanted content of the data path
//! - [`names`]: which addresses domain names stand for, and when to ask again
//! - [`diff`]: wanted tables x actual tables -> writes
//! - [`explain`]: the data path's own decision code over compiled tables
//!
//! No crate that does I/O may stand in the manifest: Cargo is the layering lint.
#![forbid(unsafe_code)]

pub mod compile;
pub mod diff;
pub mod explain;
pub mod host;
pub mod model;
pub mod names;
