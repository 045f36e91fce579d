use super::*;
use crate::kubens::files::{Done, Files};
use crate::store::scratch::Scratch;

fn node(scratch: &Scratch, services: &[(&str, &str)]) -> Places {
    let folder = scratch.path().join("usr/lib/systemd/system");
    fs::create_dir_all(&folder).unwrap();
    for (name, command) in services {
        fs::write(
            folder.join(name),
            format!("[Service]\nExecStart={command}\n"),
        )
        .unwrap();
    }
    fs::write(scratch.path().join("program"), "#!/bin/true").unwrap();
    Places {
        folders: Folders {
            root: scratch.path().to_owned(),
            etc: SYSTEMD_DIR.into(),
        },
        bin_dir: BIN_DIR.into(),
    }
}

fn paths(plan: &Plan) -> Vec<String> {
    plan.files
        .iter()
        .map(|(path, _)| path.display().to_string())
        .collect()
}

#[test]
fn kubelet_and_containerd_are_wrapped_and_crio_is_told_of_the_pin() {
    let scratch = Scratch::new();
    let services = [
        ("kubelet.service", "/usr/bin/kubelet $ARGS"),
        ("containerd.service", "/usr/bin/containerd"),
    ];
    let places = node(&scratch, &services);
    let plan = places
        .install(&scratch.path().join("program"), &[])
        .unwrap();
    let etc = |name: &str| format!("/etc/systemd/system/{name}");
    assert_eq!(
        paths(&plan),
        [
            "/usr/local/bin/kubensenter".to_owned(),
            etc("kubens.service"),
            etc("kubelet.service.d/01-kubens.conf"),
            etc("crio.service.d/01-kubens.conf"),
            etc("containerd.service.d/01-kubens.conf"),
            etc("kubelet.service.d/99-kubens-wrapper.conf"),
            etc("containerd.service.d/99-kubens-wrapper.conf"),
            etc("multi-user.target.wants/kubens.service"),
        ]
    );
    assert!(plan.remarks.is_empty(), "{:?}", plan.remarks);

    let files = Files {
        root: scratch.path().to_owned(),
    };
    files.put(&plan.files, || Ok(())).unwrap();
    let again = places
        .install(&scratch.path().join("program"), &[])
        .unwrap();
    assert_eq!(again, plan, "our own drop-ins are not wrapped once more");
    let done = files.put(&again.files, || Ok(())).unwrap();
    assert!(
        done.iter().all(|one| matches!(one, Done::Kept(_))),
        "{done:?}"
    );
}

#[test]
fn a_service_that_is_not_there_or_enters_by_itself_is_told() {
    let scratch = Scratch::new();
    let places = node(
        &scratch,
        &[(
            "kubelet.service",
            "/usr/local/bin/kubenswrapper /usr/bin/kubelet",
        )],
    );
    let plan = places
        .install(&scratch.path().join("program"), &[])
        .unwrap();
    assert!(
        !paths(&plan).concat().contains("99-kubens-wrapper"),
        "{:?}",
        paths(&plan)
    );
    assert_eq!(plan.remarks.len(), 2, "{:?}", plan.remarks);
    assert!(
        plan.remarks[0].contains("by itself")
            && plan.remarks[1].contains("weft kubens wrap containerd")
    );
}

#[test]
fn one_service_that_cannot_be_wrapped_leaves_all_as_they_are() {
    let scratch = Scratch::new();
    let places = node(
        &scratch,
        &[("a.service", "/bin/a"), ("b.service", "|/bin/b")],
    );
    let program = scratch.path().join("program");
    let refused = places.wrap(&["a".into()]).unwrap_err();
    assert!(matches!(refused, PlanError::NoProgram(_)), "{refused}");
    fs::create_dir_all(scratch.path().join("usr/local/bin")).unwrap();
    fs::copy(&program, scratch.path().join("usr/local/bin/kubensenter")).unwrap();
    assert_eq!(
        places
            .wrap(&["a".into(), "a.service".into()])
            .unwrap()
            .files
            .len(),
        1
    );
    for services in [["a", "b"], ["a", "missing"], ["a", "b.socket"]] {
        places.wrap(&services.map(str::to_owned)).unwrap_err();
    }
    places.install(&program, &["b".into()]).unwrap_err();
    places
        .install(Path::new("/no/such/program"), &[])
        .unwrap_err();
}

#[test]
fn another_folder_for_the_program_stands_in_the_unit() {
    let scratch = Scratch::new();
    let mut places = node(&scratch, &[]);
    places.bin_dir = "/opt/weft".into();
    let plan = places
        .install(&scratch.path().join("program"), &[])
        .unwrap();
    let Content::File(unit, _) = &plan.files[1].1 else {
        panic!("a link")
    };
    let unit = String::from_utf8(unit.clone()).unwrap();
    assert!(
        unit.contains("ExecStart=/opt/weft/kubensenter --create\n"),
        "{unit}"
    );
    assert!(!unit.contains(BIN_DIR), "{unit}");
    for wrong in ["relative", "/with blank", "/with%"] {
        places.bin_dir = wrong.into();
        places
            .install(&scratch.path().join("program"), &[])
            .unwrap_err();
    }
}
