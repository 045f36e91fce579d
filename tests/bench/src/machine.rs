//! What the numbers were taken on.

use std::fs;

use serde::Serialize;

/// The machine, for the head of a report.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Machine {
    /// Model name of the first CPU.
    pub cpu: String,
    /// CPUs this process may run on.
    pub cpus: usize,
    /// Kernel release.
    pub kernel: String,
    /// MiB.
    pub memory: u64,
    /// Runnable processes per CPU over the last minute before the run: above 0 something else was at work.
    pub load: f64,
}

impl Machine {
    /// Asks `/proc`; what it does not say is left empty or zero.
    pub fn find() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let field = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name));
            let value = line.and_then(|line| line.split_once(':'));
            value.map_or(String::new(), |(_, value)| value.trim().to_owned())
        };
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        let load = read("/proc/loadavg");
        let load: f64 = load
            .split(' ')
            .next()
            .and_then(|word| word.parse().ok())
            .unwrap_or(0.0);
        let memory = field(&read("/proc/meminfo"), "MemTotal");
        let memory: u64 = memory
            .split(' ')
            .next()
            .and_then(|word| word.parse().ok())
            .unwrap_or(0);
        Self {
            cpu: field(&read("/proc/cpuinfo"), "model name"),
            cpus,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            memory: memory / 1024,
            load: load / f64::from(u32::try_from(cpus).unwrap_or(1)),
        }
    }
}

impl std::fmt::Display for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            cpu,
            cpus,
            kernel,
            memory,
            load,
        } = self;
        write!(
            f,
            "{cpus} CPUs ({cpu}), {memory} MiB, Linux {kernel}, load {load:.2} per CPU before the run"
        )
    }
}
