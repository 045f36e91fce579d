//! Mount namespaces whose order of creation the kernel recognizes.

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

/// Keeps the calling thread, and what it starts, on one CPU. The kernel takes a pin of a mount namespace only inside
/// one with a lower number, and since 6.18 each CPU numbers from a batch of its own.
pub fn stay() {
    let this = Pid::from_raw(0);
    let allowed = sched_getaffinity(this).unwrap();
    let first = (0..CpuSet::count())
        .find(|cpu| allowed.is_set(*cpu).unwrap())
        .unwrap();
    let mut one = CpuSet::new();
    one.set(first).unwrap();
    sched_setaffinity(this, &one).unwrap();
}
