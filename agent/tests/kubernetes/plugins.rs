//! This program as plugins of kubectl.

use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use weft_agent::figures::serve::{Telling, serve};

use crate::rig::{Server, programs};

/// An address of this machine that is none of the loopback range, which the API server's proxy refuses.
struct Address(Ipv4Addr);

impl Address {
    fn new() -> Self {
        let [_, _, c, d] = rand::random::<u32>().to_be_bytes();
        let address = Self(Ipv4Addr::new(198, 19, c, d.clamp(1, 254)));
        address.ip("add");
        address
    }

    fn ip(&self, verb: &str) {
        let address = format!("{}/32", self.0);
        let made = Command::new("ip")
            .args(["address", verb, &address, "dev", "lo"])
            .output();
        assert!(made.as_ref().unwrap().status.success(), "{made:?}");
    }
}

impl Drop for Address {
    fn drop(&mut self) {
        self.ip("del");
    }
}

/// kubectl, with the plugins in its PATH.
struct Kubectl {
    dir: PathBuf,
}

impl Kubectl {
    fn new() -> Self {
        let name = format!("weft-test-plugins-{:016x}", rand::random::<u64>());
        let dir = std::env::temp_dir().join(name);
        std::fs::create_dir(&dir).unwrap();
        for name in [
            "kubectl-weft",
            "kubectl-pod_network",
            "kubectl_complete-weft",
            "kubectl_complete-pod_network",
        ] {
            symlink(env!("CARGO_BIN_EXE_weft"), dir.join(name)).unwrap();
        }
        Self { dir }
    }

    fn run(&self, kubeconfig: &Path, args: &[&str]) -> Output {
        let path = format!(
            "{}:{}",
            self.dir.display(),
            std::env::var("PATH").unwrap_or_default()
        );
        Command::new(programs().join("kubectl"))
            .args(args)
            .env("PATH", path)
            .env("KUBECONFIG", kubeconfig)
            .env("HOME", &self.dir)
            .output()
            .unwrap()
    }

    /// What it printed, and how it ended.
    fn text(&self, kubeconfig: &Path, args: &[&str]) -> (String, Option<i32>) {
        let output = self.run(kubeconfig, args);
        let text = [output.stdout, output.stderr].concat();
        (String::from_utf8(text).unwrap(), output.status.code())
    }
}

impl Drop for Kubectl {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.dir));
    }
}

/// An agent that tells this.
struct Agent(Value);

impl Telling for Agent {
    fn metrics(&self) -> Result<String, String> {
        Err("none".into())
    }
    fn alive(&self) -> Result<(), String> {
        Ok(())
    }
    fn ready(&self) -> Result<(), String> {
        Ok(())
    }
    fn status(&self) -> Option<Result<String, String>> {
        Some(Ok(self.0.to_string()))
    }
}

fn agent(address: &Address, node: &str, ready: bool, objects: &str) -> u16 {
    let not_ready = if ready {
        ""
    } else {
        "objects are being listed"
    };
    let egress = json!({"enforced": 3, "ignored": 0, "closed": 0, "refused": 0, "notLocal": 0, "pending": 0});
    let summary = json!({
        "node": node, "ready": ready, "notReady": not_ready, "pods": 7, "egress": egress, "problems": 2,
        "objects": objects, "storeStaleSeconds": 1, "version": "0.1.0",
    });
    serve((address.0, 0).into(), Arc::new(Agent(summary)))
        .unwrap()
        .port()
}

/// A node, and a pod of the agent on it with its port.
fn node(server: &Server, name: &str, pod: Option<(&Address, u16)>) {
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": {"name": name}}});
    server.apply(&node.to_string());
    let Some((address, port)) = pod else { return };
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": format!("agent-{name}"), "namespace": "weft",
            "labels": {"app.kubernetes.io/name": "weft", "app.kubernetes.io/component": "agent"},
        },
        "spec": {
            "nodeName": name, "automountServiceAccountToken": false, "hostNetwork": true,
            "containers": [{"name": "agent", "image": "weft", "ports": [{"name": "metrics", "containerPort": port, "hostPort": port}]}],
        },
    });
    server.apply(&pod.to_string());
    let ip = address.0.to_string();
    let status =
        json!({"status": {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}]}}).to_string();
    let name = format!("agent-{name}");
    server.kubectl(&[
        "patch",
        "pod",
        &name,
        "-n",
        "weft",
        "--subresource=status",
        "--type=merge",
        "-p",
        &status,
    ]);
}

#[test]
fn kubectl_weft_status_asks_every_node() {
    let server = Server::new();
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/manifests");
    for file in ["namespace.yaml", "rbac.yaml"] {
        server.kubectl(&["apply", "-f", deploy.join(file).to_str().unwrap()]);
    }
    server.kubectl(&["create", "serviceaccount", "default", "-n", "weft"]);
    let (address, kubectl) = (Address::new(), Kubectl::new());
    let admin = server.kubeconfig("admin");
    for name in ["n1", "n2"] {
        node(
            &server,
            name,
            Some((&address, agent(&address, name, true, "x"))),
        );
    }
    let (text, code) = kubectl.text(&admin, &["weft", "status"]);
    assert_eq!(code, Some(0), "{text}");

    node(
        &server,
        "n3",
        Some((&address, agent(&address, "n3", false, "y"))),
    );
    node(&server, "n4", None);
    // Takes the connection and never says a word.
    let silent = TcpListener::bind((address.0, 0)).unwrap();
    let port = silent.local_addr().unwrap().port();
    node(&server, "n5", Some((&address, port)));
    // Nobody listens at its port, as where metricsAddress is a loopback address.
    let port = TcpListener::bind((address.0, 0))
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    node(&server, "n6", Some((&address, port)));

    let start = Instant::now();
    let (text, code) = kubectl.text(&admin, &["weft", "status", "--timeout=3"]);
    assert!(
        start.elapsed() < Duration::from_secs(20),
        "the silent one holds up nobody for good: {:?}",
        start.elapsed()
    );
    assert_eq!(code, Some(1), "{text}");
    let rows: Vec<String> = text
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    assert_eq!(
        rows[0],
        "NODE STATUS PODS POLICIES OBJECTS HEARD PROBLEMS VERSION REASON"
    );
    assert_eq!(rows[1], "n1 Ready 7 3 same 1s 2 0.1.0");
    assert_eq!(
        rows[3],
        "n3 NotReady 7 3 differ 1s 2 0.1.0 objects are being listed"
    );
    for (row, parts) in [
        (4, ["n4 Unreachable", "no pod of it on this node"]),
        (5, ["n5 Unreachable", "no answer within 3 s"]),
        (
            6,
            [
                "n6 Unreachable",
                "metricsAddress of the agents has to be one that it reaches",
            ],
        ),
    ] {
        assert!(
            parts.iter().all(|part| rows[row].contains(part)),
            "{}",
            rows[row]
        );
    }

    let (text, code) = kubectl.text(
        &admin,
        &["weft", "status", "-l", "name in (n1,n2)", "-o", "json"],
    );
    assert_eq!(code, Some(0), "{text}");
    let json: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (json.as_array().unwrap().len(), &json[1]["node"]),
        (2, &json!("n2"))
    );

    // Others need the roles for it, and nothing else.
    let limited = server.kubeconfig("limited");
    let (text, code) = kubectl.text(&limited, &["weft", "status"]);
    assert!(
        code == Some(1) && text.contains("cannot list resource \"nodes\""),
        "{text}"
    );
    server.kubectl(&[
        "create",
        "clusterrolebinding",
        "status",
        "--clusterrole=weft-status",
        "--user=limited",
    ]);
    server.kubectl(&[
        "create",
        "rolebinding",
        "-n",
        "weft",
        "status",
        "--role=weft-status",
        "--user=limited",
    ]);
    let (text, code) = kubectl.text(
        &limited,
        &[
            "weft",
            "status",
            "--namespace=weft",
            "-l=name=n1",
            "--context",
            "weft",
        ],
    );
    assert_eq!(code, Some(0), "{text}");
}

#[test]
fn kubectl_finds_and_completes_the_plugins() {
    let (kubectl, none) = (Kubectl::new(), Path::new("/dev/null"));
    let (text, code) = kubectl.text(none, &["pod-network", "--help"]);
    assert!(
        code == Some(0) && text.contains("kubectl pod-network") && text.contains("join-projects"),
        "{text}"
    );
    let (text, code) = kubectl.text(none, &["weft", "--help"]);
    assert!(
        code == Some(0) && text.contains("Usage: kubectl weft"),
        "{text}"
    );
    let (_, code) = kubectl.text(none, &["weft", "nonsense"]);
    assert_eq!(code, Some(2), "wrong usage");
    let (text, _) = kubectl.text(none, &["__complete", "weft", "st"]);
    assert!(text.starts_with("status\n:4\n"), "{text}");
    let (text, _) = kubectl.text(none, &["__complete", "pod-network", "make"]);
    assert!(text.starts_with("make-projects-global\n:4\n"), "{text}");
    for (shell, part) in [
        ("bash", "complete -F"),
        ("zsh", "#compdef weft"),
        ("fish", "complete -c weft"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_weft"))
            .args(["completion", shell])
            .output()
            .unwrap();
        let script = String::from_utf8(output.stdout).unwrap();
        assert!(
            script.contains(part) && script.contains("join-projects"),
            "{shell}"
        );
    }
    let bad = Command::new(env!("CARGO_BIN_EXE_weft"))
        .args(["completion", "dos"])
        .output()
        .unwrap();
    assert_eq!(bad.status.code(), Some(2));
}
