//! A lab with an API server in the place of the manifests directory; agents, controller and plugin are stubs.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Stdio;

use nix::sys::signal::Signal;
use serde_json::Value;
use weft_agent::store::Object;
use weft_lab::lab::process::Process;
use weft_lab::lab::{self, Action, Error, KubernetesMode, Lab, Options, PodSpec, Progress};

use crate::command_line::{keys, said, weft_lab};
use crate::stubs::Fixture;

fn options(fixture: &Fixture) -> Options {
    Options {
        kubernetes: Some(KubernetesMode::Api),
        ..fixture.options(&[])
    }
}

fn up(fixture: &Fixture) -> Lab {
    lab::up(&fixture.name, &options(fixture), Progress::SILENT).unwrap()
}

fn get(lab: &Lab, kind: &str, namespace: &str, name: &str) -> Option<Value> {
    let found = lab.objects().get(kind, namespace, name).unwrap();
    found.map(|object| Object::clone(&object).value)
}

/// API server and etcd as the status tells of them.
fn servers(lab: &Lab) -> (Option<i32>, Option<i32>) {
    let kubernetes = lab.status().unwrap().kubernetes.unwrap();
    (kubernetes.apiserver_pid, kubernetes.etcd_pid)
}

#[test]
fn from_up_to_down_on_the_command_line() {
    let fixture = Fixture::new();
    said(&fixture, &["up", "--nodes", "2", "--kubernetes=api"]);
    let status: Value = serde_json::from_str(&said(&fixture, &["status", "-o", "json"])).unwrap();
    let kubernetes = &status["kubernetes"];
    let mut keys = keys(kubernetes);
    keys.sort_unstable();
    assert_eq!(
        keys,
        ["apiserverPid", "etcdPid", "kubeconfig", "mode", "server"]
    );
    assert_eq!(kubernetes["mode"], "api");
    assert_eq!(kubernetes["server"], "https://192.168.50.1:6443");
    assert!(
        status["manifests"].is_null() && status["nodes"][1]["runDir"].is_string(),
        "{status:#}"
    );
    // Who can read it is the cluster's administrator.
    let kubeconfig = kubernetes["kubeconfig"].as_str().unwrap();
    let mode = fs::metadata(kubeconfig).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    for config in [
        status["nodes"][0]["config"].as_str().unwrap(),
        &format!("/run/weft-lab/{}/controller/config.yaml", fixture.name),
    ] {
        let config: Value = yaml_serde::from_str(&fs::read_to_string(config).unwrap()).unwrap();
        assert_eq!(config["source"]["kubernetes"]["kubeconfig"], kubeconfig);
        assert!(config["source"]["manifests"].is_null(), "{config}");
    }
    let table = said(&fixture, &["status"]);
    assert!(table.contains(kubeconfig), "{table}");

    let kubectl = |arguments: &[&str]| said(&fixture, &[&["kubectl", "--"], arguments].concat());
    assert_eq!(
        kubectl(&["get", "nodes", "-o", "name"]),
        "node/node1\nnode/node2\n"
    );
    assert_eq!(
        kubectl(&[
            "get",
            "clusternetworks",
            "default",
            "-o",
            "jsonpath={.network}"
        ]),
        "10.128.0.0/14",
        "weft's own kinds are there"
    );
    let output = weft_lab(&fixture, &["kubectl", "--", "get", "pod", "nobody"]);
    assert_eq!(output.status.code(), Some(1), "kubectl's own exit code");

    let pids = ["apiserverPid", "etcdPid"].map(|key| {
        let pid = kubernetes[key].as_i64().unwrap();
        Process::of_pid(pid.try_into().unwrap()).unwrap()
    });
    said(&fixture, &["down"]);
    assert!(pids.iter().all(|process| !process.is_alive()));
    assert_eq!(fixture.traces(), [""; 0]);
}

/// Nothing of weft is there, and the kubelets say what they wait for.
#[test]
fn a_bare_cluster_waits_for_a_network() {
    let fixture = Fixture::new();
    said(&fixture, &["up", "--nodes", "1", "--kubernetes=bare"]);
    let kubectl = |arguments: &[&str]| said(&fixture, &[&["kubectl", "--"], arguments].concat());
    let not_ready = "--for=condition=Ready=false";
    kubectl(&["wait", not_ready, "--timeout=20s", "node/node1"]);
    let why = "jsonpath={.status.conditions[?(@.type==\"Ready\")].message}";
    let why = kubectl(&["get", "node", "node1", "-o", why]);
    assert!(why.contains("cni plugin not initialized"), "{why}");
    let kinds = kubectl(&["api-resources", "--api-group=network.openshift.io"]);
    assert!(!kinds.contains("clusternetworks"), "{kinds}");
    let socket = "/run/containerd/containerd.sock";
    let ctr = [
        "node-exec",
        "node1",
        "--",
        "ctr",
        "-a",
        socket,
        "-n",
        "k8s.io",
    ];
    let images = said(&fixture, &[&ctr[..], &["images", "list", "-q"]].concat());
    assert!(
        images.contains("localhost/agnhost:1") && !images.contains("weft"),
        "{images}"
    );
    let table = said(&fixture, &["status"]);
    assert!(table.contains("if installed"), "{table}");
    said(&fixture, &["down"]);
    assert_eq!(fixture.traces(), [""; 0]);
}

#[test]
fn objects_and_pods_are_those_of_the_api_server() {
    let fixture = Fixture::new();
    let lab = up(&fixture);
    let spec = PodSpec {
        labels: [("app".into(), "x".into())].into(),
        ..PodSpec::new("shop", "cart", "node2")
    };
    let pod = lab.add_pod(&spec).unwrap();
    let object = get(&lab, "pods", "shop", "cart").unwrap();
    assert_eq!(object["spec"]["nodeName"], "node2");
    assert_eq!(object["metadata"]["labels"]["app"], "x");
    assert_eq!(
        (
            &object["status"]["phase"],
            &object["status"]["podIPs"][1]["ip"]
        ),
        (&"Running".into(), &pod.ips[1].to_string().into())
    );
    let calls = fs::read_to_string(fixture.bin.join("calls")).unwrap();
    let uid = object["metadata"]["uid"].as_str().unwrap();
    assert!(
        calls.contains(&format!("K8S_POD_UID={uid}")),
        "the plugin is given the server's uid: {calls}"
    );
    fixture.set("refuse");
    let refused = lab.add_pod(&PodSpec::new("shop", "other", "node1"));
    assert!(matches!(refused, Err(Error::Cni { .. })), "{refused:?}");
    assert_eq!(get(&lab, "Pod", "shop", "other"), None);
    fixture.unset("refuse");
    lab.del_pod("shop", "cart").unwrap();
    assert_eq!(get(&lab, "Pod", "shop", "cart"), None);

    let policy = |rules: &str| {
        format!(
            "apiVersion: network.openshift.io/v1\nkind: EgressNetworkPolicy\n\
             metadata: {{name: p, namespace: bank}}\nspec: {{egress: [{rules}]}}\n"
        )
    };
    let deny = "{type: Deny, to: {cidrSelector: 0.0.0.0/0}}";
    let written = lab.apply(&policy(deny), "test").unwrap();
    assert_eq!(written, ["EgressNetworkPolicy/bank/p"]);
    assert!(
        get(&lab, "Namespace", "", "bank").is_some(),
        "made on the way, as with a manifests directory"
    );
    let first = get(&lab, "EgressNetworkPolicy", "bank", "p").unwrap();
    let status = serde_json::json!({"messages": "told"});
    let both = format!("{deny}, {deny}");
    lab.objects()
        .set_status("EgressNetworkPolicy", "bank", "p", status.clone())
        .unwrap();
    lab.apply(&policy(&both), "test").unwrap();
    let second = get(&lab, "EgressNetworkPolicy", "bank", "p").unwrap();
    assert_eq!(second["spec"]["egress"].as_array().unwrap().len(), 2);
    assert_eq!(
        (&second["metadata"]["uid"], &second["status"]),
        (&first["metadata"]["uid"], &status),
        "written in its place"
    );
    lab.delete("egressnetworkpolicies", Some("bank"), "p")
        .unwrap();
    assert_eq!(get(&lab, "EgressNetworkPolicy", "bank", "p"), None);
    lab.delete("Namespace", None, "bank").unwrap();
    assert_eq!(
        get(&lab, "Namespace", "", "bank"),
        None,
        "gone, though no controller ends namespaces here"
    );
    let again = lab
        .delete("Namespace", None, "bank")
        .unwrap_err()
        .to_string();
    assert_eq!(again, "no Namespace default/bank");
    let bad = "apiVersion: v1\nkind: Namespace\nmetadata: {name: Bad}\n";
    let refused = lab.apply(bad, "test").unwrap_err().to_string();
    assert!(
        refused.starts_with("create Namespace/Bad: ") && refused.contains("RFC 1123"),
        "the server's own words: {refused}"
    );
}

#[test]
fn the_api_server_is_ended_and_started_alone() {
    let fixture = Fixture::new();
    let lab = up(&fixture);
    let (first, etcd) = servers(&lab);
    lab.add_pod(&PodSpec::new("a", "p", "node1")).unwrap();
    // Does not end before the server closes it.
    let mut watch = lab.kubectl().unwrap();
    watch.args(["get", "pods", "-A", "--watch"]);
    let mut watch = watch
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    lab.api(Action::Stop).unwrap();
    watch.kill().unwrap();
    watch.wait().unwrap();
    assert_eq!(servers(&lab), (None, etcd), "status needs no API server");
    let error = lab.api(Action::Kill).unwrap_err().to_string();
    assert_eq!(error, "the API server does not run");
    let error = lab.add_pod(&PodSpec::new("a", "q", "node1"));
    let error = error.unwrap_err().to_string();
    assert!(error.contains("no answer of the API server"), "{error}");
    assert_eq!(
        lab.status().unwrap().pods.len(),
        1,
        "nothing of a pod without object is left"
    );
    lab.api(Action::Start).unwrap();
    let (second, _) = servers(&lab);
    assert!(second.is_some() && second != first);
    let error = lab.api(Action::Start).unwrap_err().to_string();
    assert_eq!(
        error,
        format!("the API server runs, pid {}", second.unwrap())
    );
    assert!(get(&lab, "Pod", "a", "p").is_some(), "etcd kept it");
    lab.api(Action::Kill).unwrap();
    assert_eq!(servers(&lab), (None, etcd));
    lab.api(Action::Start).unwrap();
    lab.add_pod(&PodSpec::new("a", "q", "node1")).unwrap();

    // A lab that lost a server does not work any more: the next `up` makes it anew.
    let etcd = Process::of_pid(etcd.unwrap()).unwrap();
    etcd.signal(Signal::SIGKILL);
    assert!(etcd.wait_end(std::time::Duration::from_secs(10)));
    let lab = up(&fixture);
    assert!(
        get(&lab, "Pod", "a", "p").is_none(),
        "with nothing of the old one"
    );
    lab::down(&fixture.name).unwrap();
    assert_eq!(fixture.traces(), [""; 0]);
}

#[test]
fn what_is_missing_is_named_before_anything_is_made() {
    let fixture = Fixture::new();
    let empty = fixture.bin.join("empty");
    fs::create_dir(&empty).unwrap();
    let refused = |crds: &Path| {
        let options = Options {
            crds: Some(crds.to_owned()),
            ..options(&fixture)
        };
        let error = lab::up(&fixture.name, &options, Progress::SILENT);
        error.unwrap_err().to_string()
    };
    let error = refused(&empty);
    assert!(error.contains("no CustomResourceDefinition"), "{error}");
    let error = refused(&empty.join("nowhere"));
    assert!(error.contains("nowhere"), "{error}");
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_weft-lab"));
    command
        .args(["--lab", &fixture.name.to_string(), "up", "--kubernetes=api"])
        .env("WEFT_BIN_DIR", &fixture.bin)
        .env("WEFT_KUBERNETES", &empty);
    let output = command.output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        error.contains("kube-apiserver is not there; `make kubernetes` builds it"),
        "{error}"
    );
    assert_eq!(fixture.traces(), [""; 0]);

    let lab = fixture.up(&[]);
    for error in [
        lab.kubectl().map(drop).unwrap_err(),
        lab.api(Action::Kill).unwrap_err(),
    ] {
        assert!(error.to_string().contains("up --kubernetes=api"), "{error}");
    }
    assert!(lab.status().unwrap().kubernetes.is_none());
}
