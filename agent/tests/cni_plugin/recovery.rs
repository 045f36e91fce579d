use std::fs;

use weft_agent::cni::Journal;
use weft_agent::cni::journal::JournalError;
use weft_wait::eventually;

use crate::node::{Node, Pod, first_ip};

const V4: &[&str] = &["10.128.4.0/23"];

#[test]
fn a_restart_adopts_what_stands_and_reuses_no_address() {
    let mut node = Node::new(V4);
    let pods: Vec<Pod> = (0..3).map(|n| Pod::new(&node, &format!("p{n}"))).collect();
    let first = node.add(&pods[0]).ok();
    node.add(&pods[1]).ok();
    let before = node.fake.endpoints.lock().unwrap().clone();
    node.stop();
    let recovered = node.start();
    assert_eq!(recovered.adopted.len(), 2);
    assert_eq!((recovered.undone, recovered.problems.len()), (0, 0));
    assert_eq!(
        *node.fake.endpoints.lock().unwrap(),
        before,
        "the same endpoints"
    );
    node.check(&pods[0], &first).ok();
    assert_eq!(
        node.add(&pods[0]).ok(),
        first,
        "ADD is idempotent across a restart"
    );
    assert_eq!(first_ip(&node.add(&pods[2]).ok()), "10.128.4.4");
}

/// A crash at each step of an ADD: the state on disk and in the kernel is made as that step leaves it.
#[test]
fn a_crash_at_any_step_of_add_leaves_nothing_after_the_next_start() {
    for step in [
        "intent written",
        "interface made",
        "ready but not answered",
        "intent half written",
    ] {
        let mut node = Node::new(V4);
        let pod = Pod::new(&node, "web");
        node.add(&pod).ok();
        let file = node.endpoints_dir().join(&node.files()[0]);
        node.stop();
        let pass_to = |state: &str| fs::rename(&file, file.with_extension(state)).unwrap();
        match step {
            "intent half written" => {
                let text = fs::read_to_string(&file).unwrap();
                fs::write(file.with_extension("tmp"), &text[..40]).unwrap();
                fs::remove_file(&file).unwrap();
                pod.exec("ip link del eth0");
            }
            "intent written" => {
                pass_to("pending");
                pod.exec("ip link del eth0");
            }
            "interface made" => pass_to("pending"),
            _ => {}
        }
        let recovered = node.start();
        if step == "ready but not answered" {
            // The runtime sends DEL for an ADD without answer.
            assert_eq!(recovered.adopted.len(), 1, "{step}");
            node.del(&pod).ok();
        } else {
            let undone = usize::from(step != "intent half written");
            assert_eq!(recovered.adopted.len(), 0, "{step}");
            assert_eq!(recovered.undone, undone, "{step}");
            assert_eq!(node.veths(), [], "{step}");
            eventually("the file is removed", || node.files().is_empty());
        }
        node.assert_empty();
        node.add(&pod).ok();
    }
}

#[test]
fn a_crash_in_del_is_finished_by_the_next_start() {
    let mut node = Node::new(V4);
    let pod = Pod::new(&node, "web");
    node.add(&pod).ok();
    let file = node.endpoints_dir().join(&node.files()[0]);
    node.stop();
    fs::rename(&file, file.with_extension("removing")).unwrap();
    assert_eq!(node.start().undone, 1);
    eventually("the file is removed", || node.files().is_empty());
    node.assert_empty();
    node.del(&pod).ok();
}

#[test]
fn after_a_reboot_everything_is_void() {
    let mut node = Node::new(V4);
    let pods: Vec<Pod> = (0..2).map(|n| Pod::new(&node, &format!("p{n}"))).collect();
    node.add(&pods[0]).ok();
    node.add(&pods[1]).ok();
    node.stop();
    pods[0].exec("ip link del eth0"); // as a reboot does to all of them
    let recovered = node.start_in_boot("another-boot");
    assert_eq!((recovered.adopted.len(), recovered.undone), (0, 2));
    eventually("the files are removed", || node.files().is_empty());
    node.assert_empty();
}

#[test]
fn a_pod_that_vanished_while_the_agent_was_away_is_released() {
    let mut node = Node::new(V4);
    let pods: Vec<Pod> = (0..2).map(|n| Pod::new(&node, &format!("p{n}"))).collect();
    node.add(&pods[0]).ok();
    let kept = node.add(&pods[1]).ok();
    node.stop();
    pods[0].exec("ip link del eth0");
    let recovered = node.start();
    assert_eq!((recovered.adopted.len(), recovered.undone), (1, 1));
    eventually("its file is removed", || node.files().len() == 1);
    node.check(&pods[1], &kept).ok();
}

/// A runtime repeats a DEL that failed. Until then the pod keeps what it has, so that nothing is given out twice.
#[test]
fn pods_that_end_while_the_agent_is_away_keep_their_addresses_until_del_is_repeated() {
    let mut node = Node::new(&["10.128.4.0/29"]);
    let pods: Vec<Pod> = (0..5).map(|n| Pod::new(&node, &format!("p{n}"))).collect();
    let mut results = Vec::new();
    for pod in &pods {
        results.push(node.add(pod).ok());
    }
    let socket = node.run_dir().join("cni.sock");
    let (files, links) = (node.files(), node.veths().len());
    node.stop();
    let late = Pod::new(&node, "late");
    for message in [node.del(&pods[0]).error(11), node.add(&late).error(11)] {
        assert!(
            message.contains("weft agent") && message.contains(socket.to_str().unwrap()),
            "{message}"
        );
    }
    assert_eq!((node.files(), node.veths().len()), (files, links));
    pods[1].exec("ip link del eth0"); // its namespace vanished
    let recovered = node.start();
    assert_eq!((recovered.adopted.len(), recovered.undone), (4, 1));
    eventually("the vanished pod's file is removed", || {
        node.files().len() == 4
    });
    for ended in &pods[..2] {
        node.del(ended).ok();
    }
    let mut given = [&late, &pods[0]].map(|pod| first_ip(&node.add(pod).ok()));
    let mut freed = [&results[0], &results[1]].map(first_ip);
    freed.sort();
    given.sort();
    assert_eq!(given, freed, "what ended has given its addresses back");
    for (pod, result) in pods.iter().zip(&results).skip(2) {
        node.check(pod, result).ok();
    }
}

#[test]
fn damaged_files_are_reported_and_cost_no_other_pod() {
    let mut node = Node::new(V4);
    let pods: Vec<Pod> = (0..3).map(|n| Pod::new(&node, &format!("p{n}"))).collect();
    let mut results = Vec::new();
    for pod in &pods {
        results.push(node.add(pod).ok());
    }
    let file = |pod: &Pod| {
        let name = &node.fake.endpoints.lock().unwrap()[&pod.id()].host_ifname;
        node.endpoints_dir().join(format!("{name}.ready"))
    };
    let (cut, swapped) = (file(&pods[0]), file(&pods[1]));
    let text = fs::read_to_string(&cut).unwrap();
    node.stop();
    fs::write(&cut, &text[..text.len() / 2]).unwrap();
    fs::write(&swapped, &text).unwrap(); // another attachment's content
    let recovered = node.start();
    assert_eq!((recovered.adopted.len(), recovered.undone), (1, 2));
    let problems = recovered.problems.join("\n");
    for path in [&cut, &swapped] {
        assert!(problems.contains(path.to_str().unwrap()), "{problems}");
    }
    assert_eq!(node.veths().len(), 1);
    node.check(&pods[2], &results[2]).ok();
    node.add(&pods[0]).ok();
}

#[test]
fn a_lost_state_directory_is_reported_and_ends_no_pod() {
    let mut node = Node::new(V4);
    let pod = Pod::new(&node, "web");
    node.add(&pod).ok();
    node.stop();
    fs::rename(node.state_dir(), node.dir.join("elsewhere")).unwrap();
    let recovered = node.start();
    assert_eq!(recovered.adopted.len(), 0);
    assert!(
        recovered.problems[0].contains("weft"),
        "{:?}",
        recovered.problems
    );
    assert_eq!(node.veths().len(), 1);
    node.stop();
    fs::remove_dir_all(node.state_dir()).unwrap();
    fs::rename(node.dir.join("elsewhere"), node.state_dir()).unwrap();
    assert_eq!(
        node.start().adopted.len(),
        1,
        "nothing was lost by the mistake"
    );

    // Lost for good: the pod's own ADD and DEL know the interface by its name.
    for command in ["ADD", "DEL"] {
        node.stop();
        fs::remove_dir_all(node.state_dir()).unwrap();
        node.start();
        node.plugin(&pod.env(command), &node.conf("1.1.0")).ok();
        assert_eq!(
            node.veths().len(),
            usize::from(command == "ADD"),
            "{command}"
        );
    }
    node.assert_empty();
}

#[test]
fn a_journal_belongs_to_one_agent_and_to_a_version_that_knows_it() {
    let mut node = Node::new(V4);
    let pod = Pod::new(&node, "web");
    node.add(&pod).ok();
    let error = Journal::open(&node.state_dir()).unwrap_err();
    assert!(matches!(error, JournalError::InUse { .. }) && error.to_string().contains("stateDir"));
    let file = node.endpoints_dir().join(&node.files()[0]);
    node.stop();
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("\"schema\":1", "\"schema\":2")).unwrap();
    let journal = Journal::open(&node.state_dir()).unwrap();
    let error = node.netns.run(|| journal.recover().unwrap_err()).unwrap();
    assert!(
        matches!(error, JournalError::Newer { schema: 2, .. }),
        "{error}"
    );
    assert_eq!(
        node.veths().len(),
        1,
        "an older weft leaves a newer one's pods alone"
    );
}

#[test]
fn a_file_in_two_states_is_not_trusted() {
    let mut node = Node::new(V4);
    let pod = Pod::new(&node, "web");
    node.add(&pod).ok();
    let file = node.endpoints_dir().join(&node.files()[0]);
    node.stop();
    fs::copy(&file, file.with_extension("removing")).unwrap();
    let recovered = node.start();
    assert_eq!((recovered.adopted.len(), recovered.undone), (0, 1));
    assert!(
        recovered.problems[0].contains("two states"),
        "{:?}",
        recovered.problems
    );
    eventually("both files are removed", || node.files().is_empty());
    node.assert_empty();
}

#[test]
fn a_full_disk_refuses_new_pods_and_lets_old_ones_go() {
    struct SmallDisk(std::path::PathBuf);
    impl Drop for SmallDisk {
        fn drop(&mut self) {
            let detached = nix::mount::umount2(&self.0, nix::mount::MntFlags::MNT_DETACH);
            if let Err(e) = detached {
                eprintln!("unmount {}: {e}", self.0.display());
            }
        }
    }
    let mut node = Node::stopped(V4);
    fs::create_dir(node.state_dir()).unwrap();
    let (source, kind, size) = (Some("tmpfs"), Some("tmpfs"), Some("size=64k"));
    nix::mount::mount(
        source,
        &node.state_dir(),
        kind,
        nix::mount::MsFlags::empty(),
        size,
    )
    .unwrap();
    let disk = SmallDisk(node.state_dir());
    node.start();
    let pods: Vec<Pod> = (0..2).map(|n| Pod::new(&node, &format!("p{n}"))).collect();
    node.add(&pods[0]).ok();
    let filler = node.state_dir().join("filler");
    assert!(
        fs::write(&filler, vec![0; 1 << 20]).is_err(),
        "the disk is full now"
    );
    let message = node.add(&pods[1]).error(5);
    assert!(message.contains("No space left"), "{message}");
    assert_eq!(
        (node.veths().len(), node.files().len()),
        (1, 1),
        "nothing is left of it"
    );
    node.del(&pods[0]).ok();
    node.assert_empty();
    fs::remove_file(filler).unwrap();
    node.add(&pods[1]).ok();
    node.stop();
    drop(disk);
}
