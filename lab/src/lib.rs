//! The lab, a whole cluster on one machine with nodes as network namespaces, and what end-to-end tests need around it.
//!
//! - [`lab`]: topology, life cycle, pods; what `weft-lab` and the tests call
//! - [`probe`]: connections and packet streams between namespaces, without external programs
//! - [`dns`]: name servers whose records change while they run
//! - [`bpf`]: programs of a few instructions, as somebody else would attach them
//! - [`vm`]: weft on other kernels, in virtual machines
//! - [`cli`], `demo`, `smoke`: `weft-lab`

pub mod bpf;
pub mod cli;
mod demo;
pub mod dns;
pub mod lab;
pub mod probe;
mod smoke;
pub mod vm;
