//! Reading DNS messages: against messages that another implementation encodes, and against bytes of any kind.
#![expect(clippy::unwrap_used, reason = "a panic is how a test reports")]

mod any_bytes;
mod carriers;
mod corpus;
mod leases;
mod messages;
mod names;
mod round_trip;
