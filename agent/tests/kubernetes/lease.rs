//! Controllers as processes: exactly one is active.

use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::rig::{Process, Server, until};

fn controller(server: &Server, name: &str) -> Process {
    let config = server
        .kubeconfig("admin")
        .with_file_name(format!("{name}.yaml"));
    std::fs::write(&config, format!("nodeName: {name}\n")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_weft"));
    command.arg("controller").arg("--config").arg(config);
    Process::start(
        command.arg("--kubeconfig").arg(server.kubeconfig("admin")),
        None,
    )
}

fn holder(server: &Server) -> Option<String> {
    let text = server.try_kubectl_at(
        6443,
        &[
            "get",
            "lease",
            "-n",
            "weft",
            "weft-controller",
            "-o",
            "json",
        ],
        "",
    );
    let lease: Value = serde_json::from_str(&text.ok()?).unwrap();
    Some(lease["spec"]["holderIdentity"].as_str()?.to_owned())
}

/// Waits until the project has its network; a controller was active then.
fn project(server: &Server, name: &str) -> Duration {
    let start = Instant::now();
    server.kubectl(&["create", "namespace", name]);
    until("the project's network", || {
        server
            .try_kubectl_at(6443, &["get", "netnamespace", name], "")
            .ok()
    });
    start.elapsed()
}

/// `weft pod-network` goes to the server that kubectl would go to, and a controller answers.
fn pod_network(server: &Server) {
    let netid =
        |name: &str| server.kubectl(&["get", "netnamespace", name, "-o", "jsonpath={.netid}"]);
    let weft = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_weft"));
        command.arg("pod-network").args(args);
        let output = command
            .env("KUBECONFIG", server.kubeconfig("admin"))
            .output()
            .unwrap();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        (
            output.status.code(),
            String::from_utf8(output.stdout).unwrap(),
            error,
        )
    };
    assert_ne!(netid("a"), netid("b"));
    let (code, out, error) = weft(&["join-projects", "--to=a", "b"]);
    assert_eq!(code, Some(0), "{out} {error}");
    assert_eq!(netid("a"), netid("b"));
    server.kubectl(&["label", "namespace", "b", "team=x"]);
    let (code, out, error) = weft(&["make-projects-global", "--selector=team=x", "-o", "json"]);
    assert_eq!(code, Some(0), "{out} {error}");
    assert_eq!(netid("b"), "0");
    let (code, _, error) = weft(&["isolate-projects", "b", "--context", "other"]);
    assert_eq!(code, Some(1));
    assert!(
        error.contains("context other") && error.contains("the contexts are weft"),
        "{error}"
    );
    let (code, out, error) = weft(&["isolate-projects", "b"]);
    assert_eq!(code, Some(0), "{out} {error}");
}

#[test]
fn exactly_one_controller_is_active() {
    let server = Server::new();
    let first = controller(&server, "first");
    // The namespace of the lease is not there: nothing happens, and it goes on when it is.
    server.kubectl(&["create", "namespace", "weft"]);
    let network = json!({
        "apiVersion": "network.openshift.io/v1", "kind": "ClusterNetwork", "metadata": {"name": "default"},
        "clusterNetworks": [{"CIDR": "10.128.0.0/14", "hostSubnetLength": 9}], "serviceNetwork": "172.30.0.0/16",
        "pluginName": "redhat/openshift-ovs-multitenant",
    });
    server.apply(&network.to_string());
    until("the first one holds the lease", || {
        holder(&server).filter(|it| it.starts_with("first_"))
    });
    project(&server, "a");
    let second = controller(&server, "second");
    let third = controller(&server, "third");
    project(&server, "b");
    pod_network(&server);
    assert!(holder(&server).unwrap().starts_with("first_"), "it lives");

    // Killed: the lease runs out.
    let killed = Instant::now();
    first.signal(Signal::SIGKILL);
    let took_over = until("another one holds the lease", || {
        holder(&server).filter(|it| !it.starts_with("first_"))
    });
    let after = killed.elapsed();
    assert!(
        after < Duration::from_secs(18),
        "within the lease of 15 s and a look a second: {after:?}"
    );
    project(&server, "c");

    // Ended in order: the next one begins at once.
    let mut others = [("second_", second), ("third_", third)];
    let index = others
        .iter()
        .position(|(name, _)| took_over.starts_with(name))
        .unwrap();
    let (_, active) = &mut others[index];
    active.signal(Signal::SIGTERM);
    active.wait();
    let ended = Instant::now();
    let next = until("the last one holds the lease", || {
        holder(&server).filter(|it| *it != took_over && !it.is_empty())
    });
    assert!(next.starts_with(others[1 - index].0), "{next}");
    assert!(
        ended.elapsed() < Duration::from_secs(5),
        "it was given up: {:?}",
        ended.elapsed()
    );
    project(&server, "d");

    // Every network was given once.
    let list: Value =
        serde_json::from_str(&server.kubectl(&["get", "netnamespaces", "-o", "json"])).unwrap();
    let mut numbers: Vec<_> = list["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["netid"].as_u64().unwrap())
        .collect();
    let count = numbers.len();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), count, "{list}");
}
