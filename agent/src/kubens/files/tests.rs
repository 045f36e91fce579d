use super::*;
use crate::store::scratch::Scratch;

fn files(scratch: &Scratch) -> Files {
    Files {
        root: scratch.path().to_owned(),
    }
}

fn text(text: &str) -> Content {
    Content::File(text.into(), 0o644)
}

/// Every file below a folder with its content, links as their target.
fn tree(folder: &Path) -> BTreeMap<PathBuf, Content> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.is_symlink() {
            found.extend(tree(&path));
        } else {
            found.insert(path.clone(), Content::read(&path).unwrap().unwrap());
        }
    }
    found
}

fn wanted() -> Vec<(PathBuf, Content)> {
    vec![
        ("/etc/a.service".into(), text("a")),
        ("/etc/b.service.d/x.conf".into(), text("b")),
        (
            "/etc/multi-user.target.wants/a.service".into(),
            Content::Link("/etc/a.service".into()),
        ),
    ]
}

#[test]
fn all_is_put_kept_replaced_and_taken_away() {
    let scratch = Scratch::new();
    let files = files(&scratch);
    let done = files.put(&wanted(), || Ok(())).unwrap();
    assert!(
        done.iter().all(|one| matches!(one, Done::Put(_))),
        "{done:?}"
    );
    let first = tree(scratch.path());
    let done = files.put(&wanted(), || Ok(())).unwrap();
    assert!(
        done.iter().all(|one| matches!(one, Done::Kept(_))),
        "{done:?}"
    );
    assert_eq!(
        tree(scratch.path()),
        first,
        "the same again changes nothing"
    );

    let newer = [("/etc/a.service".into(), text("newer"))];
    files.put(&newer, || Ok(())).unwrap();
    assert_eq!(
        fs::read_to_string(scratch.path().join("etc/a.service")).unwrap(),
        "newer"
    );
    let done = files.remove(|| Ok(())).unwrap();
    assert_eq!(done.len(), 3, "{done:?}");
    assert!(tree(scratch.path()).is_empty());
    assert!(
        !scratch.path().join("etc/b.service.d").exists(),
        "an empty folder goes, too"
    );
    assert!(files.remove(|| Ok(())).unwrap().is_empty());
}

#[test]
fn nothing_of_somebody_else_is_replaced_or_removed() {
    let scratch = Scratch::new();
    let files = files(&scratch);
    let foreign = scratch.path().join("etc/b.service.d/x.conf");
    fs::create_dir_all(foreign.parent().unwrap()).unwrap();
    fs::write(&foreign, "theirs").unwrap();
    let before = tree(scratch.path());
    let refused = files.put(&wanted(), || Ok(())).unwrap_err();
    assert!(
        matches!(&refused, FilesError::Foreign(path) if path.ends_with("x.conf")),
        "{refused}"
    );
    assert_eq!(tree(scratch.path()), before, "nothing was written at all");

    // The same content is no reason to refuse, nor to take it away later.
    Content::File("b".into(), 0o644).put(&foreign).unwrap();
    files.put(&wanted(), || Ok(())).unwrap();
    fs::write(scratch.path().join("etc/a.service"), "edited").unwrap();
    let refused = files.put(&wanted(), || Ok(())).unwrap_err();
    assert!(matches!(refused, FilesError::Changed(_)), "{refused}");
    let done = files.remove(|| Ok(())).unwrap();
    assert!(
        done.contains(&Done::Changed("/etc/a.service".into())),
        "{done:?}"
    );
    let left: Vec<_> = tree(scratch.path()).into_keys().collect();
    assert_eq!(left, [scratch.path().join("etc/a.service"), foreign]);
}

#[test]
fn a_failure_puts_everything_back() {
    let scratch = Scratch::new();
    let files = files(&scratch);
    let fail = || Err("systemctl daemon-reload: no".to_owned());
    let refused = files.put(&wanted(), fail).unwrap_err();
    assert!(refused.to_string().contains("daemon-reload"), "{refused}");
    assert!(tree(scratch.path()).is_empty(), "the note as well");

    files.put(&wanted(), || Ok(())).unwrap();
    let before = tree(scratch.path());
    let newer = [
        ("/etc/a.service".into(), text("newer")),
        ("/etc/c.service".into(), text("c")),
    ];
    files.put(&newer, fail).unwrap_err();
    assert_eq!(tree(scratch.path()), before);
    files.remove(fail).unwrap_err();
    assert_eq!(tree(scratch.path()), before);

    // A folder that cannot be made, in the middle of the work.
    let blocked = [
        ("/etc/a.service".into(), text("newer")),
        ("/etc/a.service/below".into(), text("x")),
    ];
    files.put(&blocked, || Ok(())).unwrap_err();
    assert_eq!(tree(scratch.path()), before);
}

#[test]
fn what_an_interrupted_run_left_is_ours() {
    let scratch = Scratch::new();
    let files = files(&scratch);
    files.put(&wanted(), || Ok(())).unwrap();
    // The note is written before the file: both contents are ours until the work is done.
    let mut note = files.note().unwrap();
    let digest = text("newer").digest();
    note.get_mut(Path::new("/etc/a.service"))
        .unwrap()
        .push(digest);
    files.write_note(&note).unwrap();
    let newer = [("/etc/a.service".into(), text("newer"))];
    files.put(&newer, || Ok(())).unwrap();
    assert_eq!(files.note().unwrap()[Path::new("/etc/a.service")].len(), 1);
}
