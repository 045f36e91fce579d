//! The `kubensenter` program; needs root.
#![expect(clippy::unwrap_used, reason = "a failed preparation fails the test")]

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use nix::mount::{MsFlags, mount};
use weft_netns::{CommandNs as _, MountNs, NetNs};
use weft_wait::eventually;

mod one_cpu;
mod scratch;
use scratch::Scratch;

/// A host (a mount namespace with its own tmpfs) with one file of each sort that a variable may name.
struct Host {
    scratch: Scratch,
    mounts: MountNs,
    kubelet: String,
}

impl Host {
    fn new() -> Self {
        one_cpu::stay();
        let scratch = Scratch::new();
        let (mounts, kubelet) = MountNs::create_private(|| {
            let none: Option<&str> = None;
            mount(
                Some("tmpfs"),
                scratch.path(),
                Some("tmpfs"),
                MsFlags::empty(),
                none,
            )
            .unwrap();
            let (kubelet, ()) = MountNs::create_private(|| ()).unwrap();
            kubelet.pin(scratch.join("good")).unwrap();
            NetNs::create_at(scratch.join("network")).unwrap();
            fs::write(scratch.join("plain"), "").unwrap();
            link(&kubelet)
        })
        .unwrap();
        Self {
            scratch,
            mounts,
            kubelet,
        }
    }

    /// Runs `kubensenter WORDS` with the two variables naming files of the host.
    fn run(&self, explicit: Option<&str>, default: &str, words: &[&str]) -> Output {
        self.command(explicit, default, words).output().unwrap()
    }

    fn command(&self, explicit: Option<&str>, default: &str, words: &[&str]) -> Command {
        let path = |name: &str| -> PathBuf { self.scratch.join(name) };
        let mut command = Command::new(env!("CARGO_BIN_EXE_kubensenter"));
        command
            .args(words)
            .env_remove("KUBENSMNT")
            .env_remove("KUBENSENTER_LOG");
        command.env("DEFAULT_KUBENSMNT", path(default));
        explicit.map(|name| command.env("KUBENSMNT", path(name)));
        command.mount_ns(&self.mounts).unwrap();
        command
    }

    /// A line of the program, with the scratch directory for `%`.
    fn line(&self, text: &str) -> String {
        let directory = self.scratch.path().display().to_string();
        format!("kubensenter: {}\n", text.replace('%', &directory))
    }

    /// The mount namespace a command ran in, and what was said about it.
    fn entered(&self, explicit: Option<&str>, default: &str) -> (String, String) {
        let output = self.run(explicit, default, &["readlink", "/proc/self/ns/mnt"]);
        assert!(output.status.success(), "{output:?}");
        (text(&output.stdout), text(&output.stderr))
    }
}

/// Waits until a process has entered a namespace.
fn until_inside(pid: u32, namespace: &str) {
    let link = format!("/proc/{pid}/ns/mnt");
    eventually(&format!("{link} is {namespace}"), || {
        let comm = fs::read_to_string(format!("/proc/{pid}/comm"));
        fs::read_link(&link).unwrap().as_os_str() == namespace && comm.unwrap() == "sleep\n"
    });
}

/// As `readlink /proc/PID/ns/mnt` shows it.
fn link(ns: &MountNs) -> String {
    format!("mnt:[{}]\n", ns.id().ino)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn the_named_namespace_is_entered_before_the_default_one() {
    let host = Host::new();
    for default in ["good", "plain", "missing", "network"] {
        let (ns, said) = host.entered(Some("good"), default);
        assert_eq!(ns, host.kubelet, "KUBENSMNT wins over {default}");
        assert_eq!(said, "", "nothing to report");
    }
}

#[test]
fn the_default_namespace_is_found_where_one_is_pinned() {
    let host = Host::new();
    let (ns, said) = host.entered(None, "good");
    assert_eq!(ns, host.kubelet);
    assert_eq!(
        said,
        host.line("Autodetect: kubens.service namespace found at %/good"),
        "as documentation of the original shows it"
    );
    assert_eq!(
        host.entered(None, "missing"),
        (link(&host.mounts), String::new())
    );
    for default in ["plain", "network"] {
        let (ns, said) = host.entered(None, default);
        assert_eq!(ns, link(&host.mounts), "{default} is passed over");
        let wanted = format!("Autodetect: Stale or mismatched namespace at %/{default}");
        assert_eq!(said, host.line(&wanted));
    }
}

#[test]
fn a_name_without_a_namespace_warns_and_one_of_the_wrong_kind_fails() {
    let host = Host::new();
    for vacant in ["missing", "plain"] {
        let (ns, said) = host.entered(Some(vacant), "good");
        assert_eq!(ns, link(&host.mounts), "{vacant}: the default is not tried");
        let wanted = format!("WARNING: %/{vacant} is not mounted; running normally");
        assert_eq!(said, host.line(&wanted));
    }
    let output = host.run(Some("network"), "good", &["true"]);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(
        said.contains("is no mount namespace, but a network namespace"),
        "{said}"
    );
}

#[test]
fn options_stop_at_the_command_and_set_how_much_is_said() {
    let host = Host::new();
    let said = |words: &[&str]| text(&host.run(None, "plain", words).stderr);
    assert_eq!(said(&["-q", "true"]), "", "quiet");
    assert!(
        said(&["-v", "-q", "true"]).contains("Stale"),
        "options add up"
    );
    let output = host.run(None, "good", &["-q", "echo", "-v", "--help"]);
    assert_eq!(
        text(&output.stdout),
        "-v --help\n",
        "the command's own options are left to it"
    );
    let output = host.run(None, "good", &["--", "echo", "--"]);
    assert_eq!(text(&output.stdout), "--\n");
}

#[test]
fn exit_status_is_the_commands_or_says_what_failed() {
    let host = Host::new();
    let code = |words: &[&str]| host.run(None, "good", words).status.code();
    assert_eq!(code(&["sh", "-c", "exit 7"]), Some(7));
    assert_eq!(code(&["no-such-command-here"]), Some(127));
    assert_eq!(code(&["/"]), Some(126), "a directory cannot be run");
    assert_eq!(code(&["--frobnicate"]), Some(2));
    assert_eq!(code(&["--help"]), Some(0));
    assert_eq!(
        code(&[""]),
        Some(127),
        "an empty word ends the options and is no command"
    );
}

#[test]
fn the_process_stays_the_same_one() {
    let host = Host::new();
    let mut command = Command::new(env!("CARGO_BIN_EXE_kubensenter"));
    command
        .args(["sh", "-c", "echo $$"])
        .env_remove("KUBENSMNT");
    command.env("DEFAULT_KUBENSMNT", host.scratch.join("good"));
    command
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null());
    let child = command.mount_ns(&host.mounts).unwrap().spawn().unwrap();
    let id = child.id();
    let output = child.wait_with_output().unwrap();
    assert_eq!(
        text(&output.stdout).trim(),
        id.to_string(),
        "notify sockets look at the number"
    );
}

/// Texts and levels of the original.
#[test]
fn every_case_says_what_the_original_says() {
    let host = Host::new();
    let lines =
        |explicit, default, words: &[&str]| text(&host.run(explicit, default, words).stderr);
    let all = |texts: &[&str]| -> String { texts.iter().map(|text| host.line(text)).collect() };
    let verbose = ["-v", "true"];
    assert_eq!(
        lines(Some("good"), "missing", &verbose),
        all(&[
            "Autodetect: $KUBENSMNT already set",
            "Joining mount namespace in %/good"
        ])
    );
    assert_eq!(
        lines(None, "missing", &verbose),
        all(&[
            "Autodetect: No mount namespace found at %/missing",
            "KUBENSMNT not set; running normally"
        ])
    );
    assert_eq!(
        lines(None, "good", &verbose),
        all(&[
            "Autodetect: kubens.service namespace found at %/good",
            "Joining mount namespace in %/good"
        ])
    );
    assert_eq!(
        lines(Some("plain"), "good", &verbose),
        all(&[
            "Autodetect: $KUBENSMNT already set",
            "Joining mount namespace in %/plain",
            "WARNING: %/plain is not mounted; running normally"
        ])
    );
    assert_eq!(lines(Some("plain"), "good", &["-q", "true"]), "");
    for level in ["0", " 0 "] {
        let mut command = host.command(None, "good", &["true"]);
        command.env("KUBENSENTER_LOG", level);
        let said = command.output().unwrap().stderr;
        assert!(said.is_empty(), "level {level}: {said:?}");
    }
}

#[test]
fn a_command_can_be_given_another_name() {
    let host = Host::new();
    let words = ["-q", "--argv0", "other", "sh", "-c", "echo $0"];
    let output = host.run(None, "good", &words);
    assert_eq!(text(&output.stdout), "other\n");
}

/// As `kubens.service` runs it, and who comes after it.
#[test]
fn create_and_remove_are_a_services_start_and_stop() {
    let host = Host::new();
    fs::create_dir(host.scratch.join("kubens")).unwrap();
    let default = "kubens/mnt";
    let run = |words: &[&str]| {
        let output = host.run(None, default, words);
        let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
        (output.status.code(), said)
    };
    let (code, said) = run(&["--create"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("pinned at"), "{said}");
    let (_, first) = run(&["-q", "readlink", "/proc/self/ns/mnt"]);
    assert!(said.contains(first.trim()), "{said}: {first}");
    assert_eq!(run(&["-q", "--create"]), (Some(0), String::new()));
    assert_eq!(
        run(&["-q", "readlink", "/proc/self/ns/mnt"]).1,
        first,
        "kept"
    );

    let mut command = host.command(None, default, &["-q", "sleep", "infinity"]);
    let mut inside = command.spawn().unwrap();
    until_inside(inside.id(), first.trim());
    let (code, said) = run(&["--remove"]);
    assert_eq!(code, Some(1), "{said}");
    let who = format!("{} (sleep)", inside.id());
    assert!(said.contains(&who) && said.contains("--force"), "{said}");
    assert_eq!(
        run(&["-q", "readlink", "/proc/self/ns/mnt"]).1,
        first,
        "nothing was changed"
    );

    let (code, said) = run(&["--remove", "--force"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains(&who), "{said}");
    inside.kill().unwrap();
    inside.wait().unwrap();
    let (code, said) = run(&["--remove"]);
    assert_eq!(
        (code, said.contains("no mount namespace is pinned")),
        (Some(0), true),
        "{said}"
    );
    for wrong in [
        &["--create", "true"][..],
        &["--force", "true"],
        &["--create", "--remove"],
    ] {
        assert_eq!(run(wrong).0, Some(2), "{wrong:?}");
    }
}
