//! An agent, a controller, privileges, a file system, addresses that are not there.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use weft_lab::lab::{self, Action, Options, PodSpec, Progress};
use weft_lab::probe::Stream;
use weft_wait::SOON;

use super::{Watched, agent};
use crate::cluster::{Cluster, Pod, Said, Store, on_both_stores};
use crate::plugin::{Attachment, Plugin};

#[test]
fn an_agent_that_cannot_run_says_what_is_missing() {
    let watched = Watched::new();
    let cluster = &watched.cluster;
    let dir = cluster.name().dir().join("elsewhere");
    fs::create_dir(&dir).unwrap();
    let refused = |what: &str, said: Said, words: &[&str]| {
        assert_eq!(said.code, Some(1), "{what}: {said:?}");
        for word in words {
            assert!(
                said.stderr.contains(word),
                "{what}: no {word:?} in {}",
                said.stderr
            );
        }
        println!("--- {what}\n{}", said.stderr.trim());
    };
    let path = dir.display().to_string();

    // While the node's own agent runs: it is not disturbed by any of these.
    refused(
        "no BPF file system",
        Said::of(&mut agent(cluster, &["--bpf-dir", &path])),
        &["bpfDir", &path, "mount -t bpf"],
    );
    refused(
        "a folder that is not there",
        Said::of(&mut agent(
            cluster,
            &["--bpf-dir", &format!("{path}/no/where")],
        )),
        &["bpfDir", "no/where", "mount -t bpf"],
    );
    for (capability, name) in [
        ("net_admin", "CAP_NET_ADMIN"),
        ("sys_admin", "CAP_SYS_ADMIN"),
    ] {
        let inner = agent(cluster, &[]);
        let mut outer = cluster.on_host("node1", "setpriv").unwrap();
        let dropped = format!("-{capability}");
        outer
            .arg("--bounding-set")
            .arg(&dropped)
            .arg("--inh-caps")
            .arg(&dropped);
        outer.arg(inner.get_program()).args(inner.get_args());
        refused(
            "a missing capability",
            Said::of(&mut outer),
            &[name, "capabilities"],
        );
    }
    refused(
        "the state of an agent that runs",
        Said::of(&mut agent(cluster, &[])),
        &["in use by another", "stateDir"],
    );
    for (text, words) in [
        ("nodeNme: node1\n", &["nodeNme", "config.yaml"][..]),
        ("nodeIP: 300.1.1.1\n", &["nodeIP", "config.yaml"]),
        ("source: {manifest: /x}\n", &["manifest", "config.yaml"]),
        ("nodeName: [\n", &["config.yaml"]),
    ] {
        let config = dir.join("config.yaml");
        fs::write(&config, text).unwrap();
        let mut command = cluster.weft(Some("node1")).unwrap();
        command.args(["agent", "--config"]).arg(&config);
        refused("a configuration", Said::of(&mut command), words);
    }
    for (args, words) in [
        (["--node-ip", "127.0.0.1"], &["127.0.0.1", "nodeIP"][..]),
        (["--node-ip", "192.168.50.99"], &["192.168.50.99", "nodeIP"]),
        (["--node-interface", "eth9"], &["eth9", "nodeInterface"]),
    ] {
        let state = dir.join("state");
        let args = [&args[..], &["--state-dir", state.to_str().unwrap()]].concat();
        refused(
            "a node address",
            Said::of(&mut agent(cluster, &args)),
            words,
        );
    }
    assert!(cluster.agent_status("node1").ready);
    watched.attaches("fresh");
    watched.unharmed();
}

#[test]
fn a_lab_with_an_unknown_configuration_key_does_not_come_up() {
    let name = format!("e2e{:08x}", rand::random::<u32>()).parse().unwrap();
    let options = Options {
        agent_config: Some("nodeNme: x\n".into()),
        nodes: 1,
        ..Options::default()
    };
    let error = lab::up(&name, &options, Progress::SILENT)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("node1") && error.contains("nodeNme"),
        "{error}"
    );
    let gone = !name.dir().exists();
    drop(lab::down(&name));
    assert!(gone);
}

#[test]
fn without_an_agent_pods_are_refused_with_code_11_and_those_there_go_on() {
    let watched = Watched::new();
    let cluster = &watched.cluster;
    cluster.agent("node1", Action::Kill).unwrap();
    let error = cluster
        .add_pod(&PodSpec::new("a", "late", "node1"))
        .unwrap_err()
        .to_string();
    assert!(error.contains("code 11"), "{error}");
    let plugin = Plugin::of(cluster, "node1");
    for command in ["STATUS", "GC"] {
        let answer = plugin.manage(command, &[]);
        assert!(!answer.success, "{command}: {answer:?}");
        let message = answer.value["msg"].as_str().unwrap();
        assert!(message.contains("agent"), "{command}: {message}");
    }
    let said = cluster.ask("node1", &["status"]);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(
        said.stderr.contains("agent.sock") && said.stderr.contains("running"),
        "{said:?}"
    );
    cluster.agent("node1", Action::Start).unwrap();
    watched.attaches("late");
    watched.unharmed();
}

on_both_stores!(without_a_controller_new_projects_wait_and_are_refused_with_what_is_missing);

fn without_a_controller_new_projects_wait_and_are_refused_with_what_is_missing(store: Store) {
    let watched = Watched::on(store);
    let cluster = &watched.cluster;
    cluster.controller(Action::Kill).unwrap();
    let start = Instant::now();
    thread::scope(|scope| {
        let new = scope.spawn(|| cluster.add_pod(&PodSpec::new("new", "p", "node1")));
        // A known project needs no controller, and does not wait behind the other.
        watched.attaches("quick");
        assert!(start.elapsed() < SOON);
        let said = cluster.ask(
            "node1",
            &[
                "pod-network",
                "isolate-projects",
                "a",
                "--timeout=1",
                "-o",
                "json",
            ],
        );
        assert_eq!(said.code, Some(1), "{said:?}");
        assert!(
            said.stdout.contains("failed") && said.stdout.contains("controller"),
            "{said:?}"
        );
        let error = new.join().unwrap().unwrap_err().to_string();
        let took = start.elapsed();
        assert!(took < Duration::from_mins(1), "{took:?}");
        for word in ["NetNamespace", "new", "controller"] {
            assert!(error.contains(word), "no {word}: {error}");
        }
        println!("{error}, after {took:?}");
    });
    // One that still waits when the controller comes back is served.
    thread::scope(|scope| {
        let new = scope.spawn(|| cluster.add_pod(&PodSpec::new("other", "p", "node1")));
        cluster.controller(Action::Start).unwrap();
        new.join().unwrap().unwrap();
    });
    watched.unharmed();
}

#[test]
fn an_exhausted_subnet_is_named_and_one_free_address_is_enough() {
    let cluster = Cluster::up(&Options {
        nodes: 1,
        pod_ranges: vec!["10.128.0.0/24:3".parse().unwrap()],
        ..Options::default()
    });
    let plugin = Plugin::of(&cluster, "node1");
    let pods: Vec<Pod> = (1..=5)
        .map(|n| cluster.pod(&format!("a/p{n}"), "node1"))
        .collect();
    let (first, second) = (&pods[0], &pods[1]);
    let stream = Stream::start(&first.netns, &second.netns, second.ips[0]).unwrap();
    let error = cluster
        .add_pod(&PodSpec::new("a", "more", "node1"))
        .unwrap_err()
        .to_string();
    for word in ["a/more", "10.128.0.0/29", "5"] {
        assert!(error.contains(word), "no {word}: {error}");
    }
    println!("{error}");
    let status = plugin.manage("STATUS", &[]);
    assert!(
        !status.success
            && status.value["msg"]
                .as_str()
                .unwrap()
                .contains("10.128.0.0/29"),
        "{status:?}"
    );
    // A container without a namespace of its own is refused before it takes the address.
    let answer = plugin.run("ADD", &Attachment::new("/proc/self/status", "a"));
    assert!(!answer.success, "{answer:?}");
    cluster.del_pod("a", "p5").unwrap();
    let again = cluster.pod("a/again", "node1");
    assert_eq!(again.ips, pods[4].ips);
    assert_eq!(stream.finish().unwrap().lost, [0; 0]);
}
