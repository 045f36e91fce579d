//! Others at work on the same objects, and a controller that stood still.

use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use weft_agent::controller::annotations::{CHANGE_NETWORK, RESULT};
use weft_agent::store::{Kubernetes, Object, ObjectRef, Reader, Store as _, StoreError};

use crate::rig::{Process, Server, until};

const NETWORK: &str = r#"{"apiVersion": "network.openshift.io/v1", "kind": "ClusterNetwork", "metadata": {"name": "default"},
    "clusterNetworks": [{"CIDR": "10.128.0.0/14", "hostSubnetLength": 9}], "serviceNetwork": "172.30.0.0/16",
    "pluginName": "redhat/openshift-ovs-multitenant"}"#;

/// A server with a cluster network, and service accounts that may do everything and whose requests are noted.
fn cluster(accounts: &[&str]) -> Server {
    let server = Server::new();
    server.kubectl(&["create", "namespace", "weft"]);
    server.apply(NETWORK);
    for account in accounts {
        server.kubectl(&["create", "serviceaccount", "-n", "weft", account]);
        let subject = format!("--serviceaccount=weft:{account}");
        let binding = [
            "create",
            "clusterrolebinding",
            account,
            "--clusterrole=cluster-admin",
        ];
        server.kubectl(&[&binding[..], &[subject.as_str()]].concat());
    }
    server
}

/// A controller under the name of its account.
fn controller(server: &Server, account: &str) -> Process {
    let kubeconfig = server.kubeconfig_of_service_account(account);
    let config = kubeconfig.with_file_name(format!("{account}.yaml"));
    std::fs::write(&config, format!("nodeName: {account}\n")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_weft"));
    command.arg("controller").arg("--config").arg(config);
    Process::start(command.arg("--kubeconfig").arg(kubeconfig), None)
}

fn holder(server: &Server) -> String {
    let path = "jsonpath={.spec.holderIdentity}";
    let get = ["get", "lease", "-n", "weft", "weft-controller", "-o", path];
    server.try_kubectl_at(6443, &get, "").unwrap_or_default()
}

/// Answered writes of an account, by verb, resource, status and when they came, in the server's order.
fn writes(server: &Server, account: &str) -> Vec<(String, String, u64, String)> {
    let user = format!("system:serviceaccount:weft:{account}");
    let events = server.audit();
    let own = events
        .iter()
        .filter(|it| it["user"]["username"] == user.as_str() && it["stage"] == "ResponseComplete");
    let of = own.map(|it| {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let code = it["responseStatus"]["code"].as_u64().unwrap_or_default();
        let came = text(&it["requestReceivedTimestamp"]);
        (
            text(&it["verb"]),
            text(&it["objectRef"]["resource"]),
            code,
            came,
        )
    });
    of.filter(|(verb, ..)| !matches!(verb.as_str(), "get" | "list" | "watch"))
        .collect()
}

fn namespaces(server: &Server, names: impl Iterator<Item = String>) {
    let of = |name| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
    let items: Vec<_> = names.map(of).collect();
    let list = json!({"apiVersion": "v1", "kind": "List", "items": items});
    server.apply(&list.to_string());
}

fn networks(server: &Server) -> Vec<Value> {
    let list = server.kubectl(&["get", "netnamespaces", "-o", "json"]);
    let list: Value = serde_json::from_str(&list).unwrap();
    list["items"].as_array().unwrap().clone()
}

/// Waits until so many projects have networks.
fn projects(server: &Server, count: usize) {
    until("every project has its network", || {
        let names = server.kubectl(&["get", "netnamespaces", "-o", "name"]);
        (names.lines().count() >= count).then_some(())
    });
}

#[test]
fn a_controller_that_stood_still_has_lost_its_turn() {
    let server = cluster(&["first", "second"]);
    let mut first = controller(&server, "first");
    until("the first one holds the lease", || {
        holder(&server).starts_with("first_").then_some(())
    });
    let at_the_start = 6; // default, three of the server's own, weft, and one more
    namespaces(&server, std::iter::once("warm".to_owned()));
    projects(&server, at_the_start);
    let mut second = controller(&server, "second");

    // In the middle of its work.
    let burst = 60;
    std::thread::scope(|scope| {
        scope.spawn(|| namespaces(&server, (0..burst).map(|n| format!("burst-{n}"))));
        until("some projects have networks", || {
            let names = server.kubectl(&["get", "netnamespaces", "-o", "name"]);
            (names.lines().count() > at_the_start + 2).then_some(())
        });
        first.signal(Signal::SIGSTOP);
    });
    let stopped = Instant::now();
    until("the second one holds the lease", || {
        holder(&server).starts_with("second_").then_some(())
    });
    let after = stopped.elapsed();
    assert!(
        after < Duration::from_secs(18),
        "within the lease of 15 s and a look a second: {after:?}"
    );
    projects(&server, at_the_start + burst);

    // It goes on where it was, and finds that it is not its turn.
    let before = writes(&server, "first").len();
    first.signal(Signal::SIGCONT);
    let extra = 20;
    for n in 0..extra {
        server.kubectl(&["create", "namespace", &format!("extra-{n}")]);
    }
    projects(&server, at_the_start + burst + extra);
    let late = writes(&server, "first").split_off(before);
    let done = late
        .iter()
        .filter(|(_, resource, code, _)| resource == "leases" && *code < 300);
    assert_eq!(done.count(), 0, "it took the lease back: {late:?}");
    let objects = late.iter().filter(|(_, resource, ..)| resource != "leases");
    assert!(
        objects.count() <= 1,
        "one that was decided before it stood still, at most: {late:?}"
    );
    assert!(holder(&server).starts_with("second_"));
    assert!(!first.ended() && !second.ended());

    let networks = networks(&server);
    let mut numbers: Vec<_> = networks
        .iter()
        .map(|it| it["netid"].as_u64().unwrap())
        .collect();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), networks.len(), "each number was given once");

    // It is well, and takes over in its turn.
    second.signal(Signal::SIGTERM);
    second.wait();
    until("the first one holds the lease again", || {
        holder(&server).starts_with("first_").then_some(())
    });
    server.kubectl(&["create", "namespace", "last"]);
    projects(&server, at_the_start + burst + extra + 1);
}

/// Changes an object until it was changed on top of what others did to it.
fn change(store: &Kubernetes, key: &ObjectRef, mut how: impl FnMut(&mut Object)) {
    until("a write without a conflict", || {
        let mut object = Object::clone(&store.get(key).unwrap().unwrap());
        how(&mut object);
        match store.update(&object) {
            Ok(_) => Some(()),
            Err(StoreError::Conflict { .. }) => None,
            Err(error) => panic!("{error}"),
        }
    });
}

fn count(object: &Object, name: &str) -> u32 {
    object.annotation(name).map_or(0, |it| it.parse().unwrap())
}

#[test]
fn what_several_write_at_once_is_not_lost_and_ends() {
    let server = cluster(&["controller"]);
    let _controller = controller(&server, "controller");
    server.kubectl(&["create", "namespace", "shop"]);
    server.kubectl(&["create", "namespace", "bank"]);
    projects(&server, 7);
    let key = ObjectRef::cluster("NetNamespace", "shop");
    let before = writes(&server, "controller").len();

    // Two programs with counters of their own, and a third that moves the project about.
    let (changes, requests) = (60, 15);
    std::thread::scope(|scope| {
        for name in ["test/a", "test/b"] {
            let (server, key) = (&server, &key);
            scope.spawn(move || {
                let store = server.store(Reader::PodNetwork);
                for _ in 0..changes {
                    change(&store, key, |object| {
                        let next = count(object, name) + 1;
                        object.set_annotation(name, Some(&next.to_string()));
                    });
                }
            });
        }
        let store = server.store(Reader::PodNetwork);
        for n in 0..requests {
            let request = ["join:bank", "isolate", "global"][n % 3];
            change(&store, &key, |object| {
                object.set_annotation(CHANGE_NETWORK, Some(request));
                object.set_annotation(RESULT, None);
            });
            until("the controller answers", || {
                let object = store.get(&key).unwrap().unwrap();
                let answered = object.annotation(CHANGE_NETWORK).is_none();
                (answered && object.annotation(RESULT)?.contains(request)).then_some(())
            });
        }
    });
    let store = server.store(Reader::PodNetwork);
    let object = store.get(&key).unwrap().unwrap();
    for name in ["test/a", "test/b"] {
        assert_eq!(count(&object, name), changes, "{name}: {}", object.value);
    }
    assert_eq!(object.value["netid"], 0, "the last request");
    let all = writes(&server, "controller").split_off(before);
    let all: Vec<_> = all
        .iter()
        .filter(|(_, resource, ..)| resource == "netnamespaces")
        .collect();
    let done = all.iter().filter(|(_, _, code, _)| *code == 200).count();
    assert_eq!(done, requests, "one write for each request: {all:?}");
    let refused = all.iter().filter(|(_, _, code, _)| *code == 409).count();
    assert_eq!(done + refused, all.len(), "{all:?}");
    let foreign = 2 * usize::try_from(changes).unwrap() + requests;
    assert!(
        refused <= foreign,
        "a try for each change of others at most: {refused}"
    );
    let audit = server.audit();
    let reads = audit
        .iter()
        .filter(|it| it["verb"] == "get" && it["objectRef"]["resource"] == "netnamespaces");
    assert_eq!(
        reads.count(),
        0,
        "a refused write waits for the watch: rbac.yaml grants no `get`"
    );

    // Nobody writes on, not in two of the controller's regular looks either.
    let version = object.version.clone();
    let end = Instant::now() + Duration::from_secs(21);
    while Instant::now() < end {
        let now = store.get(&key).unwrap().unwrap().version.clone();
        assert_eq!(now, version, "somebody writes on");
        std::thread::sleep(Duration::from_secs(1));
    }
}

/// Somebody who insists on a wrong address is corrected once each time, and the end is right.
#[test]
fn a_node_address_that_somebody_insists_on_is_mended_once_each_time() {
    let server = cluster(&["controller"]);
    let _controller = controller(&server, "controller");
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node1"}});
    server.apply(&node.to_string());
    let address =
        json!({"status": {"addresses": [{"type": "InternalIP", "address": "192.0.2.10"}]}});
    let patch = address.to_string();
    let status = ["--subresource=status", "--type=merge", "-p", &patch];
    server.kubectl(&[&["patch", "node", "node1"], &status[..]].concat());
    let store = server.store(Reader::Controller);
    let key = ObjectRef::cluster("HostSubnet", "node1");
    let right = || {
        let object = store.get(&key).unwrap()?;
        (object.value["hostIP"] == "192.0.2.10").then_some(object)
    };
    let subnet = until("the node's subnet", right).value["subnet"].clone();
    let before = writes(&server, "controller").len();
    let rounds = 10;
    for _ in 0..rounds {
        change(&store, &key, |object| {
            object.set_field("hostIP", json!("192.0.2.66"));
        });
        until("the address is right again", right);
    }
    let object = right().unwrap();
    assert_eq!(object.value["subnet"], subnet);
    let all = writes(&server, "controller").split_off(before);
    let done = all
        .iter()
        .filter(|(_, resource, code, _)| resource == "hostsubnets" && *code == 200);
    assert_eq!(done.count(), rounds, "{all:?}");
}
