//! The packet decisions.
