use std::path::PathBuf;

use super::*;

const SENTER: &str = "/usr/local/bin/kubensenter";

fn unit(files: &[(&str, &str)]) -> Unit {
    let files = files
        .iter()
        .map(|(path, text)| (PathBuf::from(path), format!("[Service]\n{text}\n")));
    Unit {
        name: "a.service".into(),
        files: files.collect(),
    }
}

fn wrapped(unit: &Unit) -> Result<Outcome, Refusal> {
    wrap(unit, Path::new(SENTER))
}

/// The commands of the drop-in, `K` for kubensenter.
fn commands(settings: &str) -> Vec<String> {
    let Outcome::DropIn { text, .. } = wrapped(&unit(&[("/lib/a.service", settings)])).unwrap()
    else {
        panic!("{settings}: already wrapped");
    };
    let (head, commands) = text.split_once("[Service]\nExecStart=\n").unwrap();
    assert!(head.contains("[Unit]\nAfter=kubens.service\n"), "{head}");
    let commands = commands
        .lines()
        .map(|line| line.strip_prefix("ExecStart=").unwrap());
    commands.map(|line| line.replace(SENTER, "K")).collect()
}

#[test]
fn prefixes_stay_in_front() {
    let table = [
        ("/bin/a --x 'y z'", "K /bin/a --x 'y z'"),
        ("-/bin/a", "-K /bin/a"),
        ("+/bin/a", "+K /bin/a"),
        ("!/bin/a", "!K /bin/a"),
        ("!!/bin/a", "!!K /bin/a"),
        (":/bin/a $x", ":K /bin/a $x"),
        ("-:+/bin/a x", "-:+K /bin/a x"),
        // What follows is the name that the program finds as its own, which kubensenter must not take for a word of its.
        ("@/bin/a sh x", "K --argv0 sh /bin/a x"),
        ("-@/bin/a \"a b\"", "-K --argv0 \"a b\" /bin/a"),
        ("\"-/bin/a b\" c", "-K \"/bin/a b\" c"),
        ("\"/bin/a b\" c", "K \"/bin/a b\" c"),
        ("a -c \"x \\\" ; y\" \\;", "K a -c \"x \\\" ; y\" \\;"),
        ("/bin/a ${X} $MAINPID %i", "K /bin/a ${X} $MAINPID %i"),
    ];
    for (before, after) in table {
        assert_eq!(
            commands(&format!("ExecStart={before}")),
            [after],
            "{before}"
        );
    }
}

#[test]
fn every_command_of_a_oneshot_is_wrapped() {
    let several = "Type=oneshot\nExecStart=/bin/a\nExecStart=-/bin/b x\nExecStart=/bin/c ; -/bin/d";
    assert_eq!(
        commands(several),
        ["K /bin/a", "-K /bin/b x", "K /bin/c", "-K /bin/d"]
    );
    let part = "Type=oneshot\nExecStart=/opt/kubensenter -v /bin/a\nExecStart=/bin/b";
    assert_eq!(
        commands(part),
        ["/opt/kubensenter -v /bin/a", "K /bin/b"],
        "as it is where it enters"
    );
}

#[test]
fn what_a_reset_took_away_is_not_wrapped() {
    let unit = unit(&[
        ("/lib/a.service", "ExecStart=/bin/old"),
        (
            "/etc/a.service.d/10-x.conf",
            "ExecStart=\nExecStart=/bin/new",
        ),
    ]);
    let Outcome::DropIn { text, .. } = wrapped(&unit).unwrap() else {
        panic!("already wrapped");
    };
    assert!(
        text.ends_with("ExecStart=\nExecStart=/usr/local/bin/kubensenter /bin/new\n"),
        "{text}"
    );
}

#[test]
fn a_wrapped_service_is_left_alone_and_our_drop_in_is_made_anew() {
    for program in [
        "/usr/bin/kubensenter",
        "-/usr/local/bin/kubenswrapper",
        "\"/opt/x/kubensenter\"",
    ] {
        let unit = unit(&[("/lib/a.service", &format!("ExecStart={program} /bin/a"))]);
        assert_eq!(wrapped(&unit), Ok(Outcome::Already), "{program}");
    }
    let plain = ("/lib/a.service", "ExecStart=/bin/a");
    let Outcome::DropIn { text, .. } = wrapped(&unit(&[plain])).unwrap() else {
        panic!("already wrapped");
    };
    let own = "/etc/systemd/system/a.service.d/99-kubens-wrapper.conf";
    let mut again = unit(&[("/lib/a.service", "ExecStart=/bin/a --new")]);
    again.files.push((own.into(), text.clone()));
    let Outcome::DropIn { text: new, .. } = wrapped(&again).unwrap() else {
        panic!("already wrapped");
    };
    assert_eq!(
        new,
        text.replace("/bin/a", "/bin/a --new"),
        "the service's command of now"
    );
}

#[test]
fn what_cannot_be_wrapped_is_refused_with_the_reason() {
    let table = [
        ("ExecStop=/bin/a", "no ExecStart="),
        ("ExecStart=/bin/a\nExecStart=", "no ExecStart="),
        ("ExecStart=/bin/a\nUser=www", "runs as www"),
        ("ExecStart=!!/bin/a\nUser=www", "runs as www"),
        ("ExecStart=/bin/a\nDynamicUser=yes", "a dynamic user"),
        (
            "ExecStart=/bin/a\nCapabilityBoundingSet=CAP_SYS_ADMIN",
            "CAP_SYS_CHROOT",
        ),
        (
            "ExecStart=/bin/a\nCapabilityBoundingSet=~CAP_SYS_ADMIN CAP_KILL",
            "CAP_SYS_ADMIN",
        ),
        ("ExecStart=/bin/a\nCapabilityBoundingSet=", "CAP_SYS_ADMIN"),
        ("ExecStart=/bin/a\nRootDirectory=/srv", "RootDirectory="),
        (
            "ExecStart=/bin/a\nRestrictNamespaces=yes",
            "RestrictNamespaces=",
        ),
        (
            "ExecStart=/bin/a\nRestrictNamespaces=net pid",
            "RestrictNamespaces=",
        ),
        ("ExecStart=|ls", "a shell"),
        ("ExecStart=/bin/a 'x", "a quote is not closed"),
        ("ExecStart=@/bin/a", "the prefix @"),
        ("ExecStart=-", "no program"),
    ];
    for (settings, reason) in table {
        let refused = wrapped(&unit(&[("/lib/a.service", settings)])).unwrap_err();
        let text = refused.to_string();
        assert!(
            text.contains(reason) && text.starts_with("a.service: "),
            "{settings}: {text}"
        );
    }
    let later = unit(&[
        ("/lib/a.service", "ExecStart=/bin/a"),
        ("/etc/a.service.d/zz.conf", "ExecStart=\nExecStart=/bin/b"),
    ]);
    let text = wrapped(&later).unwrap_err().to_string();
    assert!(
        text.contains("/etc/a.service.d/zz.conf comes after"),
        "{text}"
    );
}

#[test]
fn what_can_enter_all_the_same_is_wrapped() {
    for settings in [
        "User=root",
        "User=www\nUser=",
        "CapabilityBoundingSet=CAP_SYS_ADMIN\nCapabilityBoundingSet=cap_sys_chroot",
        "CapabilityBoundingSet=~CAP_KILL",
        "RestrictNamespaces=no",
        "RestrictNamespaces=~net",
        "RestrictNamespaces=mnt net",
    ] {
        assert_eq!(
            commands(&format!("{settings}\nExecStart=/bin/a")),
            ["K /bin/a"],
            "{settings}"
        );
    }
    assert_eq!(commands("User=www\nExecStart=+/bin/a"), ["+K /bin/a"]);
    assert_eq!(commands("User=www\nExecStart=!/bin/a"), ["!K /bin/a"]);
}

#[test]
fn what_a_service_loses_is_told() {
    let settings = "ExecStart=/bin/a\nPrivateTmp=yes\nProtectSystem=no\nReadOnlyPaths=/srv";
    let Outcome::DropIn { warnings, .. } = wrapped(&unit(&[("/lib/a.service", settings)])).unwrap()
    else {
        panic!("already wrapped");
    };
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings[0].contains("PrivateTmp=") && warnings[1].contains("ReadOnlyPaths="));
}
