//! One run, its output kept.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use weft_lab::vm::{self, Cache, Error, Init, Outcome, Output, Spec, kernel};
use weft_wait::patience;

/// A machine of this kernel that runs a shell's line.
pub fn spec(line: &str, script: &str) -> Spec<'static> {
    let binaries = Path::new(env!("CARGO_BIN_EXE_weft-lab")).parent().unwrap();
    Spec {
        kernel: kernel::line(line).unwrap(),
        memory: 2048,
        cpus: 2,
        append: Vec::new(),
        init: Init::Simple,
        binaries: binaries.to_owned(),
        add: Vec::new(),
        environment: vec![(patience::VARIABLE.into(), "10".into())],
        command: ["sh", "-c", script].map(OsString::from).into(),
        deadline: patience::patient(Duration::from_mins(10)),
        console: false,
    }
}

/// What came of it: how it ended, and standard output and error as they came.
pub fn run(spec: &Spec<'_>) -> (Result<Outcome, Error>, String) {
    // One machine at a time: each has two processors, and more than the host has make every deadline a lottery.
    let _turn = turn();
    let kept = Kept::default();
    let output = Output {
        stdout: Box::new(kept.clone()),
        stderr: Box::new(kept.clone()),
    };
    let say = |line: &str| eprintln!("{line}");
    let cache = Cache::open().unwrap();
    let result = vm::run(&cache, spec, output, (&say, &|| false));
    nothing_is_left(&cache);
    let bytes = kept.0.lock().unwrap().clone();
    (result, String::from_utf8_lossy(&bytes).into_owned())
}

/// However it ended: neither a folder nor a qemu of this process.
fn nothing_is_left(cache: &Cache) {
    let own = std::process::id().to_string();
    for entry in fs::read_dir(cache.path("runs")).unwrap().flatten() {
        let lock = fs::read_to_string(entry.path().join("lock")).unwrap_or_default();
        assert_ne!(lock, own, "{} is left", entry.path().display());
    }
    let children = fs::read_to_string(format!("/proc/{own}/task/{own}/children"));
    assert_eq!(children.unwrap_or_default(), "");
}

fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    // A test that failed has ended its machine.
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
