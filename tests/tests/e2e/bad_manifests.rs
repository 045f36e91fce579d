//! Objects that do not parse, contradict each other, or ask for what there is not: an API server would refuse most of them.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Stdio};

use weft_lab::lab::{Action, Options, PodSpec};
use weft_wait::{SOON, eventually, poll};

use crate::bad_input::{Watched, agent};
use crate::cluster::Cluster;
use crate::plugin::Plugin;

impl Watched {
    /// A file in the manifests directory, as an operator's editor would put it there.
    fn file(&self, name: &str) -> PathBuf {
        self.cluster.status().unwrap().manifests.unwrap().join(name)
    }

    /// Waits until node1's status tells of a problem with all these words; then until both nodes' tell of none.
    fn tells(&self, words: &[&str]) {
        let mut problems = Vec::new();
        let told = poll(SOON, || {
            problems = self.problems("node1");
            problems
                .iter()
                .find(|line| words.iter().all(|word| line.contains(word)))
                .cloned()
        });
        let told = told.unwrap_or_else(|| panic!("no problem has {words:?}: {problems:#?}"));
        println!("{told}");
    }

    fn problems(&self, node: &str) -> Vec<String> {
        let problems = self.cluster.agent_status(node).problems;
        problems
            .iter()
            .map(|problem| format!("{}: {}", problem.object, problem.message))
            .collect()
    }

    fn quiet(&self, after: &str) {
        let mut problems = Vec::new();
        let quiet = poll(SOON, || {
            problems = [self.problems("node1"), self.problems("node2")].concat();
            problems.is_empty().then_some(())
        });
        assert!(quiet.is_some(), "after {after} was mended: {problems:#?}");
    }
}

/// An object of the API group, in JSON.
fn object(kind: &str, name: &str, fields: &str) -> String {
    format!(
        r#"{{"apiVersion": "network.openshift.io/v1", "kind": "{kind}", "metadata": {{"name": "{name}"}}, {fields}}}"#
    )
}

fn host_subnet(name: &str, ip: &str, subnet: &str) -> String {
    object(
        "HostSubnet",
        name,
        &format!(r#""host": "{name}", "hostIP": "{ip}", "subnet": "{subnet}""#),
    )
}

fn net_namespace(name: &str, netid: &str) -> String {
    object(
        "NetNamespace",
        name,
        &format!(r#""netname": "{name}", "netid": {netid}"#),
    )
}

#[test]
fn manifests_that_do_not_parse_or_contradict_each_other_are_named_and_harm_nothing() {
    let watched = Watched::new();
    // What the controller would tidy away is to stay while it is looked at.
    watched.cluster.controller(Action::Stop).unwrap();
    for (what, text, words) in [
        (
            "no YAML",
            "apiVersion: [v1\nkind: }".to_owned(),
            &["broken.yaml", "mend the file"][..],
        ),
        (
            "no object",
            "just: some\ntext: here\n".into(),
            &["broken.yaml", "apiVersion"],
        ),
        (
            "an unknown field",
            net_namespace("x", "17, \"netidd\": 5"),
            &["NetNamespace/x", "netidd"],
        ),
        (
            "a VNID out of range",
            net_namespace("x", "16777216"),
            &["NetNamespace/x", "netid", "16777215"],
        ),
        (
            "a name that is not its own",
            object("NetNamespace", "x", r#""netname": "y", "netid": 17"#),
            &["NetNamespace/x", "netname"],
        ),
        (
            "the subnet of another node",
            host_subnet("node9", "192.168.50.19", "10.128.0.0/23"),
            &["HostSubnet/node9", "10.128.0.0/23", "HostSubnet/node1"],
        ),
        (
            "the address of another node",
            host_subnet("node9", "192.168.50.12", "10.130.0.0/23"),
            &["HostSubnet/node9", "192.168.50.12", "HostSubnet/node2"],
        ),
        (
            "host bits",
            host_subnet("node9", "192.168.50.19", "10.130.0.1/23"),
            &["HostSubnet/node9", "host bits", "10.130.0.0/23"],
        ),
        (
            "a subnet outside of the cluster",
            host_subnet("node9", "192.168.50.19", "10.99.0.0/23"),
            &["HostSubnet/node9", "10.99.0.0/23"],
        ),
        (
            "no address",
            host_subnet("node9", "192.168.50.1900", "10.130.0.0/23"),
            &["HostSubnet/node9", "hostIP", "192.168.50.1900"],
        ),
        (
            "a loopback address",
            host_subnet("node9", "127.0.0.1", "10.130.0.0/23"),
            &["HostSubnet/node9", "127.0.0.1"],
        ),
        (
            "a second object of the name",
            net_namespace("a", "17"),
            &[
                "NetNamespace/a",
                "broken.yaml",
                "stays in force",
                "remove one",
            ],
        ),
        (
            "a second namespace of the name",
            r#"{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a"}}"#.into(),
            &["Namespace/a", "broken.yaml", "stays in force", "remove one"],
        ),
        (
            "a second cluster network",
            object(
                "ClusterNetwork",
                "other",
                r#""clusterNetworks": [], "serviceNetwork": "172.30.0.0/16""#,
            ),
            &["ClusterNetwork/other"],
        ),
    ] {
        println!("--- {what}");
        let file = watched.file("broken.yaml");
        fs::write(&file, text).unwrap();
        watched.tells(words);
        fs::remove_file(&file).unwrap();
        watched.quiet(what);
    }
    watched.attaches("fresh");
    watched.unharmed();
}

#[test]
fn a_broken_change_of_the_cluster_network_leaves_the_last_good_one_in_force() {
    let watched = Watched::new();
    let cluster = &watched.cluster;
    cluster.controller(Action::Stop).unwrap();
    let good = cluster
        .objects()
        .get("ClusterNetwork", "", "default")
        .unwrap()
        .unwrap();
    for (change, words) in [
        (
            r#"{"clusterNetworks": [{"CIDR": "10.128.0.0/14", "hostSubnetLength": 9}, {"CIDR": "10.130.0.0/16", "hostSubnetLength": 8}]}"#,
            &["clusterNetworks[1].CIDR", "overlaps"][..],
        ),
        (
            r#"{"clusterNetworks": [{"CIDR": "10.128.0.1/14", "hostSubnetLength": 9}]}"#,
            &["clusterNetworks[0].CIDR", "host bits"],
        ),
        (
            r#"{"clusterNetworks": [{"CIDR": "10.128.0.0/14", "hostSubnetLength": 30}]}"#,
            &["hostSubnetLength", "2 to 18"],
        ),
        (
            r#"{"serviceNetwork": "10.129.0.0/16", "serviceNetworks": ["10.129.0.0/16"]}"#,
            &["overlaps", "10.129.0.0/16"],
        ),
        (r#"{"vxlanPort": 0}"#, &["vxlanPort"]),
        (r#"{"mtu": 100000}"#, &["mtu"]),
        (
            r#"{"pluginName": "redhat/openshift-ovs-networkpolicy"}"#,
            &["pluginName", "networkpolicy", "multitenant"],
        ),
        (
            r#"{"pluginName": "something-else"}"#,
            &["pluginName", "something-else"],
        ),
    ] {
        println!("--- {change}");
        let mut object = (*good).clone();
        let change: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(change).unwrap();
        for (key, value) in change {
            object.set_field(&key, value);
        }
        cluster.objects().apply(&object).unwrap();
        watched.tells(&[&["ClusterNetwork/default"], words].concat());
        cluster.objects().apply(&good).unwrap();
        watched.quiet("the cluster network");
    }
    watched.attaches("fresh");
    watched.unharmed();
}

/// A process that ends with the test.
struct Guard(Child);

impl Drop for Guard {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[test]
fn networkpolicy_mode_is_refused_at_the_start_with_what_there_is() {
    let cluster = Cluster::up(&Options {
        nodes: 1,
        ..Options::default()
    });
    cluster.agent("node1", Action::Stop).unwrap();
    let good = cluster
        .objects()
        .get("ClusterNetwork", "", "default")
        .unwrap()
        .unwrap();
    let mut object = (*good).clone();
    object.set_field("pluginName", "redhat/openshift-ovs-networkpolicy".into());
    cluster.objects().apply(&object).unwrap();
    let mut agent = agent(&cluster, &[]);
    agent.stdout(Stdio::null()).stderr(Stdio::null());
    let _agent = Guard(agent.spawn().unwrap());
    let mut told = Vec::new();
    eventually("the agent says what is wrong", || {
        let said = cluster.ask("node1", &["status", "-o", "json"]);
        told = vec![format!("{said:?}")];
        said.code == Some(1) && said.stdout.contains("pluginName")
    });
    let status = cluster.agent_status("node1");
    assert!(
        !status.ready && status.not_ready.contains("ClusterNetwork"),
        "{told:?}"
    );
    let problem = &status.problems[0];
    assert_eq!(problem.object, "ClusterNetwork/default");
    for word in ["networkpolicy", "multitenant"] {
        assert!(problem.message.contains(word), "{problem:?}");
    }
    // Nothing is attached into a network that is not known.
    let plugin = Plugin::of(&cluster, "node1");
    let status = plugin.manage("STATUS", &[]);
    assert!(
        !status.success
            && status.value["msg"]
                .as_str()
                .unwrap()
                .contains("ClusterNetwork"),
        "{status:?}"
    );
    cluster.objects().apply(&good).unwrap();
    eventually("the agent is ready once it is mended", || {
        cluster.agent_status("node1").ready
    });
    cluster.add_pod(&PodSpec::new("a", "p", "node1")).unwrap();
}
