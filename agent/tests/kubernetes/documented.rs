//! What the documentation of OpenShift says to type, and clusters that were set up for an older version.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use weft_agent::ingest::{egress_network_policy, host_subnet, net_namespace};
use weft_agent::store::{Reader, Store as _};

use crate::rig::{Process, Server, until};

const NETWORK: &str = "
apiVersion: network.openshift.io/v1
kind: ClusterNetwork
metadata: {name: default}
network: 10.128.0.0/14
hostsubnetlength: 9
serviceNetwork: 172.30.0.0/16
clusterNetworks:
- CIDR: 10.128.0.0/14
  hostSubnetLength: 9
pluginName: redhat/openshift-ovs-multitenant
";

const POLICY: &str = "
kind: EgressNetworkPolicy
apiVersion: network.openshift.io/v1
metadata:
  name: default
  namespace: project1
spec:
  egress:
  - type: Allow
    to:
      cidrSelector: 1.2.3.0/24
  - type: Allow
    to:
      dnsName: www.foo.com
  - type: Deny
    to:
      cidrSelector: 0.0.0.0/0
";

fn controller(server: &Server) -> Process {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weft"));
    command.arg("controller").arg("--kubeconfig");
    Process::start(command.arg(server.kubeconfig("admin")), None)
}

fn field(server: &Server, object: &[&str], path: &str) -> Option<String> {
    let path = format!("jsonpath={{{path}}}");
    let args = [&["get", "-o", &path], object].concat();
    server.try_kubectl_at(6443, &args, "").ok()
}

#[test]
fn the_command_lines_of_the_documentation_work() {
    let server = Server::new();
    let create = |text: &str| {
        server
            .try_kubectl_at(6443, &["create", "-f", "-"], text)
            .unwrap()
    };
    create(NETWORK);
    for project in ["weft", "project1", "project2"] {
        server.kubectl(&["create", "namespace", project]);
    }
    let _controller = controller(&server);
    let netid = |project: &str| field(&server, &["netnamespace", project], ".netid");
    for project in ["project1", "project2"] {
        until("the project's network", || netid(project));
    }
    create(POLICY);
    create(
        "{apiVersion: network.openshift.io/v1, kind: HostSubnet, metadata: {name: node1}, host: node1,\n\
         hostIP: 192.168.1.1, subnet: 10.128.0.0/23}",
    );

    let patch = |kind: &str, name: &str, with: &str| {
        server.kubectl(&["patch", kind, name, "--type=merge", "-p", with]);
    };
    patch(
        "netnamespace",
        "project1",
        r#"{"egressIPs": ["192.168.1.100", "192.168.1.101"]}"#,
    );
    patch(
        "hostsubnet",
        "node1",
        r#"{"egressIPs": ["192.168.1.100", "192.168.1.101"]}"#,
    );
    patch(
        "hostsubnet",
        "node1",
        r#"{"egressCIDRs": ["192.168.1.0/24"]}"#,
    );
    server.kubectl(&[
        "annotate",
        "netnamespace",
        "project1",
        "netnamespace.network.openshift.io/multicast-enabled=true",
    ]);
    server.kubectl(&[
        "annotate",
        "netnamespace",
        "project1",
        "netnamespace.network.openshift.io/multicast-enabled-",
    ]);
    let change = |project: &str, to: &str| {
        let annotation = format!("pod.network.openshift.io/multitenant.change-network={to}");
        server.kubectl(&["annotate", "netnamespace", project, &annotation]);
    };
    change("project2", "join:project1");
    until("joined", || {
        (netid("project1") == netid("project2")).then_some(())
    });
    let enforced = || {
        field(
            &server,
            &["enp", "default", "-n", "project1"],
            ".status.conditions[0].reason",
        )
    };
    until("it is said", || {
        enforced().filter(|it| it == "JoinedProject")
    });
    change("project2", "isolate");
    until("isolated", || {
        (netid("project1") != netid("project2")).then_some(())
    });
    until("it is said", || enforced().filter(|it| it == "InForce"));
    change("project2", "global");
    until("global", || netid("project2").filter(|it| it == "0"));

    // All that was typed is understood.
    let store = server.store(Reader::Agent);
    let listing = store.list().unwrap();
    let get = |kind, namespace, name| listing.get(kind, namespace, name).unwrap();
    let policy = egress_network_policy(get("EgressNetworkPolicy", "project1", "default"));
    assert_eq!(policy.value.rules.as_ref().unwrap().len(), 3);
    let project = net_namespace(get("NetNamespace", "", "project1")).unwrap();
    assert_eq!(project.warning, None);
    assert_eq!(
        host_subnet(get("HostSubnet", "", "node1")).unwrap().warning,
        None
    );
    server.kubectl(&["delete", "egressnetworkpolicy", "default", "-n", "project1"]);
}

/// Our definitions as an older version had them: nothing of status.
fn old_kinds() -> Vec<Value> {
    let crds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/crds");
    let files = std::fs::read_dir(crds).unwrap();
    let texts = files.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap());
    let mut kinds: Vec<Value> = texts
        .map(|text| yaml_serde::from_str(&text).unwrap())
        .collect();
    for kind in &mut kinds {
        let version = kind["spec"]["versions"][0].as_object_mut().unwrap();
        version.remove("subresources");
        version.remove("additionalPrinterColumns");
        let properties = version["schema"]["openAPIV3Schema"]["properties"]
            .as_object_mut()
            .unwrap();
        properties.remove("status");
    }
    kinds
}

#[test]
fn old_kinds_lack_the_status_and_nothing_else() {
    let server = Server::without_kinds();
    for kind in old_kinds() {
        server.apply(&kind.to_string());
    }
    server.kubectl(&[
        "wait",
        "--for=condition=Established",
        "--timeout=30s",
        "crd",
        "--all",
    ]);
    server.apply(NETWORK);
    for project in ["weft", "project1"] {
        server.kubectl(&["create", "namespace", project]);
    }
    server.apply(POLICY);
    let _controller = controller(&server);
    let netid = |project: &str| field(&server, &["netnamespace", project], ".netid");
    let first = until("the project's network", || netid("project1"));
    // There is no place for a condition: other work goes on.
    server.kubectl(&["create", "namespace", "project2"]);
    until("another project's network", || netid("project2"));

    // The new kinds take the objects over as they are, and the conditions come by themselves.
    server.install_kinds();
    let path = ".status.conditions[0].reason";
    let policy = ["egressnetworkpolicy", "default", "-n", "project1"];
    until("the condition", || {
        field(&server, &policy, path).filter(|it| it == "InForce")
    });
    assert_eq!(netid("project1").unwrap(), first);
    // What was there is as it was.
    let rules = json!(["Allow", "Allow", "Deny"]);
    let object = server.kubectl(&[
        "get", "-o", "json", policy[0], policy[1], policy[2], policy[3],
    ]);
    let object: Value = serde_json::from_str(&object).unwrap();
    let kept: Vec<_> = object["spec"]["egress"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["type"].clone())
        .collect();
    assert_eq!(json!(kept), rules);
}
