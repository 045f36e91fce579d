//! The eBPF object itself, in the kernel: crafted packets through `BPF_PROG_TEST_RUN`, pins, attachment, and a real
//! overlay device for what a test run cannot give. Needs root; everything stands in namespaces of its own.
#![expect(clippy::unwrap_used, reason = "a panic is how a test reports")]

mod after_dnat;
mod attach;
mod barrier;
mod carried;
mod drops;
mod egress;
mod events;
mod frames;
mod learn;
mod overlay;
mod pins;
#[path = "../../core/tests/properties/policies.rs"]
#[expect(dead_code, reason = "what random worlds need of it")]
mod policies;
mod rig;
mod shares;
mod stack;
mod takeover;
mod verdicts;
mod verifier;
