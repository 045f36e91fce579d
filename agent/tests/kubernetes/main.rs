//! The store on an API server, and the controllers on it: each test starts an etcd and a kube-apiserver of its own.
//!
//! The programs come from $WEFT_KUBERNETES, else from the newest folder in ~/.cache/weft/kubernetes, and etcd from the PATH.
#![expect(clippy::unwrap_used, reason = "a panic is how a test reports")]

mod conditions;
mod contention;
mod credentials;
mod documented;
mod faults;
mod goaway;
mod lease;
mod not_in_force;
mod older;
mod plugins;
mod rbac;
mod relay;
mod rig;
mod scale;
mod schema;
mod stalls;
mod store;
mod told;
mod vanished;
