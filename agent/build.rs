//! Compiles the eBPF programs for the BPF target and hands the object to `apply` as `$WEFT_TC_OBJECT`.
//!
//! `EBPF=stub` embeds an empty object instead, for lint and pure tests on a machine without the BPF toolchain; loading
//! it fails with a clear error. `EBPF=/path/to/object` embeds that file.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, exit};

/// Types of maps are told by BTF. By default bpf-linker has LLVM turn small copies and clearings into calls, which loop over
/// single bytes, in a stack frame of their own: here they become loads and stores.
const FLAGS: &str = "-Cdebuginfo=2 -Clink-arg=--btf -Clink-arg=--disable-expand-memcpy-in-order";

fn main() {
    println!("cargo::rerun-if-env-changed=EBPF");
    for input in ["src", "Cargo.toml", "programs/src", "programs/Cargo.toml"] {
        println!("cargo::rerun-if-changed=../ebpf/{input}");
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    let object = match env::var("EBPF").as_deref() {
        Ok("stub") => {
            let stub = out.join("stub");
            if let Err(e) = std::fs::write(&stub, []) {
                fail(&format!("write {}: {e}", stub.display()));
            }
            stub
        }
        Ok("build" | "") | Err(_) => build(&out),
        Ok(path) => PathBuf::from(path),
    };
    println!("cargo::rustc-env=WEFT_TC_OBJECT={}", object.display());
}

/// Where `core`'s source and a compiler that accepts `-Z build-std` come from.
enum Toolchain {
    /// Debian's `rustc-web` with `rust-web-src`, driven by rustup's cargo.
    Debian,
    /// A rustup nightly with the component `rust-src`.
    Nightly,
}

fn build(out: &Path) -> PathBuf {
    let linker = find_linker().unwrap_or_else(|| {
        fail("bpf-linker is neither on PATH nor in ~/.cargo/bin: run `make setup`, or build with EBPF=stub")
    });
    println!("cargo::rerun-if-changed={}", linker.display());
    let toolchain = find_toolchain().unwrap_or_else(|| {
        fail(
            "no compiler for the BPF target: neither /usr/bin/rustc with its library source nor a nightly with \
             rust-src is here: run `make setup`, or build with EBPF=stub",
        )
    });

    let target_dir = out.join("ebpf");
    let mut cargo = match toolchain {
        Toolchain::Debian => {
            let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
            cargo
                .env("RUSTC", "/usr/bin/rustc")
                .env("RUSTC_BOOTSTRAP", "1");
            cargo
        }
        Toolchain::Nightly => {
            let mut cargo = Command::new("rustup");
            cargo.args(["run", "nightly", "cargo"]).env_remove("RUSTC");
            cargo
        }
    };
    // The outer cargo's settings are for the host: its flags, wrappers and target directory must not leak in.
    for name in [
        "CARGO_ENCODED_RUSTFLAGS",
        "RUSTC_WRAPPER",
        "RUSTC_WORKSPACE_WRAPPER",
        "CARGO_TARGET_DIR",
        "RUSTUP_TOOLCHAIN",
    ] {
        cargo.env_remove(name);
    }
    let mut path = linker
        .parent()
        .map(Path::to_path_buf)
        .into_iter()
        .collect::<Vec<_>>();
    path.extend(env::split_paths(&env::var_os("PATH").unwrap_or_default()));
    let path = env::join_paths(path).unwrap_or_else(|e| fail(&format!("PATH: {e}")));
    let status = cargo
        .args([
            "build",
            "--release",
            "--package",
            "weft-ebpf-programs",
            "--bin",
            "weft-tc",
        ])
        .args([
            "--target",
            "bpfel-unknown-none",
            "-Z",
            "build-std=core",
            "--target-dir",
        ])
        .arg(&target_dir)
        .env("PATH", path)
        .env("RUSTFLAGS", FLAGS)
        .current_dir("..")
        .status();
    match status {
        Ok(status) if status.success() => target_dir.join("bpfel-unknown-none/release/weft-tc"),
        Ok(status) => fail(&format!("building the eBPF programs failed: {status}")),
        Err(e) => fail(&format!("run cargo for the eBPF programs: {e}")),
    }
}

fn find_linker() -> Option<PathBuf> {
    let home = env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cargo")))
        .map(|cargo| cargo.join("bin"));
    env::split_paths(&env::var_os("PATH").unwrap_or_default())
        .chain(home)
        .map(|dir| dir.join("bpf-linker"))
        .find(|file| file.is_file())
}

fn find_toolchain() -> Option<Toolchain> {
    let source = |sysroot: &str| {
        Path::new(sysroot.trim())
            .join("lib/rustlib/src/rust/library/core/src/lib.rs")
            .exists()
    };
    let sysroot = |cargo: &mut Command| {
        cargo
            .args(["--print", "sysroot"])
            .output()
            .ok()
            .map(|o| String::from_utf8_lossy(&o.stdout).into_owned())
    };
    if Path::new("/usr/bin/rustc").exists()
        && sysroot(&mut Command::new("/usr/bin/rustc")).is_some_and(|s| source(&s))
    {
        return Some(Toolchain::Debian);
    }
    let nightly = sysroot(Command::new("rustup").args(["run", "nightly", "rustc"]));
    nightly
        .is_some_and(|s| source(&s))
        .then_some(Toolchain::Nightly)
}

fn fail(message: &str) -> ! {
    println!("cargo::error={message}");
    exit(1)
}
