//! `weft kubens`: puts `kubens.service` on a node, and tells whether kubelet, runtime and agent are in one mount namespace.
//! The namespace itself is [`weft_netns::kubens`].
//!
//! # Layout
//! - [`unit`]: a service's settings, as systemd puts them together from its files; pure but for reading them
//! - [`wrap`]: the drop-in that starts a service inside; pure
//! - [`files`]: files written all or none, noted, and taken away again
//! - [`plan`]: what an installation consists of
//! - [`judge`]: what is wrong with where the processes of a node are; pure

pub mod files;
pub mod judge;
pub mod plan;
pub mod unit;
pub mod wrap;
