//! CNI: the plugin's side, the protocol between plugin and agent, and the server that attaches pods.
//!
//! # Layout
//! Shared by plugin and agent, pure:
//! - [`spec`]: versions, commands, error object
//! - [`identity`]: validated container ids, interface names, pods
//! - [`netconf`]: the network configuration on standard input
//! - [`request`]: environment and standard input -> request
//! - [`result`]: the result object in every version
//!
//! Between them: [`protocol`], frames and the descriptor of the pod's network namespace. The plugin is [`plugin`].
//!
//! The agent's side:
//! - [`datapath`]: what attachment needs from the data path
//! - [`ipam`]: addresses of the node's subnets
//! - [`journal`]: which attachments exist, on disk, write-ahead
//! - [`service`]: the commands
//! - [`server`]: the socket and its threads
//! - [`metrics`]: requests by command and outcome

pub mod datapath;
pub mod identity;
pub mod ipam;
pub mod journal;
pub mod metrics;
pub mod netconf;
pub mod plugin;
pub mod protocol;
pub mod request;
pub mod result;
pub mod server;
pub mod service;
pub mod spec;

pub use datapath::{AttachError, DataPath, NotReady, PodNetwork};
pub use journal::{Journal, Recovered};
pub use server::{Server, serve};
