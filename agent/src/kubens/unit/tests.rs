use std::os::unix::fs::symlink;

use super::*;
use crate::store::scratch::Scratch;

fn folders(scratch: &Scratch) -> Folders {
    Folders {
        root: scratch.path().to_owned(),
        etc: SYSTEM.into(),
    }
}

const SYSTEM: &str = "/etc/systemd/system";

fn write(scratch: &Scratch, file: &str, text: &str) {
    let path = scratch.path().join(file);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn commands(unit: &Unit) -> Vec<String> {
    let values = unit.values("Service", "ExecStart").into_iter();
    values.map(|(_, value)| value).collect()
}

#[test]
fn lines_are_put_together_as_systemd_does() {
    let text = "\
# a comment \\
[Unit]
ExecStart=/not/this
[Service]
  ExecStart = /bin/a \\
  # within \\
    --x=#1 \\
; and this
  --y
ExecStart=/bin/b \"a=b\"
Nonsense
ExecStart=/bin/last \\";
    let unit = Unit {
        name: "a.service".into(),
        files: vec![("a".into(), text.into())],
    };
    let found: Vec<String> = commands(&unit)
        .iter()
        .map(|it| it.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    assert_eq!(found, ["/bin/a --x=#1 --y", "/bin/b \"a=b\"", "/bin/last"]);
}

#[test]
fn an_empty_value_takes_away_those_before_it() {
    let file = |text: &str| ("a".into(), text.to_owned());
    let unit = Unit {
        name: "a.service".into(),
        files: vec![
            file("[Service]\nExecStart=/bin/a\nUser=x\n"),
            file("[Service]\nExecStart=\nExecStart=/bin/b\nUser=\n"),
            file("[Service]\nExecStart=/bin/c\n"),
        ],
    };
    assert_eq!(commands(&unit), ["/bin/b", "/bin/c"]);
    assert_eq!(unit.value("Service", "User"), None);
}

#[test]
fn the_folders_of_systemd_are_searched_in_its_order() {
    let scratch = Scratch::new();
    let file = |folder: &str, name: &str, command: &str| {
        let text = format!("[Service]\nExecStart={command}\n");
        write(&scratch, &format!("{folder}/{name}"), &text);
    };
    file("usr/lib/systemd/system", "a-b.service", "/usr");
    file("etc/systemd/system", "a-b.service", "/etc");
    file(
        "usr/lib/systemd/system",
        "a-b.service.d/50-x.conf",
        "/hidden",
    );
    file("etc/systemd/system", "a-b.service.d/50-x.conf", "/50");
    file("run/systemd/system", "a-b.service.d/40-x.conf", "/40");
    file("etc/systemd/system", "a-.service.d/45-x.conf", "/45");
    file("etc/systemd/system", "service.d/99-x.conf", "/99");
    file("etc/systemd/system", "a-b.service.d/note.txt", "/not");
    let unit = load(&folders(&scratch), "a-b").unwrap();
    assert_eq!(unit.name, "a-b.service");
    assert_eq!(commands(&unit), ["/etc", "/40", "/45", "/50", "/99"]);
    // Linked to /dev/null: one of a later folder is hidden.
    let link = scratch
        .path()
        .join("etc/systemd/system/a-b.service.d/40-x.conf");
    symlink("/dev/null", link).unwrap();
    let unit = load(&folders(&scratch), "a-b.service").unwrap();
    assert_eq!(commands(&unit), ["/etc", "/45", "/50", "/99"]);
}

#[test]
fn aliases_templates_and_links_lead_to_their_files() {
    let scratch = Scratch::new();
    write(
        &scratch,
        "lib/systemd/system/real.service",
        "[Service]\nExecStart=/real\n",
    );
    write(
        &scratch,
        "lib/systemd/system/t@.service",
        "[Service]\nExecStart=/t %i\n",
    );
    write(
        &scratch,
        "opt/elsewhere.service",
        "[Service]\nExecStart=/opt\n",
    );
    write(
        &scratch,
        "etc/systemd/system/real.service.d/x.conf",
        "[Service]\nExecStart=/x\n",
    );
    let link = |target: &str, name: &str| {
        symlink(target, scratch.path().join("etc/systemd/system").join(name)).unwrap();
    };
    link("/lib/systemd/system/real.service", "alias.service");
    link("/lib/systemd/system/t@.service", "t@one.service");
    link("/opt/elsewhere.service", "elsewhere.service");
    link("/dev/null", "masked.service");
    link("loop2.service", "loop1.service");
    link("loop1.service", "loop2.service");
    write(&scratch, "etc/systemd/system/empty.service", "");
    let folders = folders(&scratch);
    let alias = load(&folders, "alias").unwrap();
    assert_eq!(
        (alias.name.as_str(), commands(&alias)),
        ("real.service", vec!["/real".to_owned(), "/x".to_owned()])
    );
    assert_eq!(commands(&load(&folders, "t@two").unwrap()), ["/t %i"]);
    assert_eq!(load(&folders, "t@one").unwrap().name, "t@one.service");
    assert_eq!(commands(&load(&folders, "elsewhere").unwrap()), ["/opt"]);
    for name in ["masked", "empty"] {
        let error = load(&folders, name).unwrap_err();
        assert!(matches!(error, UnitError::Masked { .. }), "{error}");
    }
    for name in ["missing", "loop1"] {
        let error = load(&folders, name).unwrap_err();
        assert!(matches!(error, UnitError::NotFound { .. }), "{error}");
    }
    for name in ["docker.socket", "", "../a", "a/b.service"] {
        let error = load(&folders, name).unwrap_err();
        assert!(matches!(error, UnitError::NoService { .. }), "{error}");
    }
}
