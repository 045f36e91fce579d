//! What a process takes, from `/proc`.

use std::fs;
use std::time::Duration;

use nix::unistd::{SysconfVar, sysconf};

/// Resident memory, in KiB.
pub fn resident(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let text = line.unwrap().trim().trim_end_matches(" kB");
    text.parse().unwrap()
}

/// Processor time since its start, in user space and in the kernel.
pub fn processor_time(pid: i32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // proc(5): the name in parentheses may hold anything. Behind it is field 3; 14 and 15 count clock ticks.
    let fields = stat.rsplit_once(')').unwrap().1.split_whitespace();
    let ticks: u64 = fields
        .skip(11)
        .take(2)
        .map(|it| it.parse::<u64>().unwrap())
        .sum();
    let rate = sysconf(SysconfVar::CLK_TCK).unwrap().unwrap();
    Duration::from_millis(ticks * 1_000 / u64::try_from(rate).unwrap())
}
