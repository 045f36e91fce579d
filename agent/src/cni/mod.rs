//! CNI.
pub mod datapath;
