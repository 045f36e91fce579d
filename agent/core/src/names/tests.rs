//! The state machine under a clock and servers that the tests make up.

mod backoff;
mod grace;
mod lanes;
mod once;
mod properties;
mod reading;
mod refresh;
mod scene;
mod servers;
