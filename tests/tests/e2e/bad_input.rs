//! Input that is wrong, and surroundings that are not there: a message that names the object and the remedy, and
//! whatever worked goes on.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use weft_tests::lab::{self, Action, Mode, Options, PodSpec, Progress};
use weft_tests::probe::Stream;

use crate::cluster::{Cluster, DEADLINE, Pod, Said, eventually, poll, two_nodes};
use crate::plugin::{Attachment, Plugin};

/// Two pods of a project on node1, one on node2, and traffic among them that must not notice anything.
struct Watched {
    cluster: Cluster,
    streams: Vec<Stream>,
}

impl Watched {
    fn new() -> Self {
        let cluster = Cluster::up(&two_nodes());
        let pods = [("a/p1", "node1"), ("a/p2", "node1"), ("a/p3", "node2")];
        let pods: [Pod; 3] = pods.map(|(label, node)| cluster.pod(label, node));
        let stream = |from: &Pod, to: &Pod, family: usize| {
            Stream::start(&from.netns, &to.netns, to.ips[family]).unwrap()
        };
        let streams = vec![
            stream(&pods[0], &pods[1], 0),
            stream(&pods[0], &pods[2], 1),
            stream(&pods[2], &pods[1], 0),
        ];
        eventually("the streams flow", || streams.iter().all(|stream| stream.received() > 0));
        Self { cluster, streams }
    }

    /// Ends the traffic: every packet arrived.
    fn unharmed(self) {
        for stream in self.streams {
            let report = stream.finish().unwrap();
            assert_eq!(report.lost, [0; 0], "of {}", report.sent);
        }
    }

    /// A file in the manifests directory, as an operator's editor would put it there.
    fn file(&self, name: &str) -> PathBuf {
        self.cluster.status().unwrap().manifests.join(name)
    }

    /// Waits until node1's status tells of a problem with all these words; then until both nodes' tell of none.
    fn tells(&self, words: &[&str]) {
        let mut problems = Vec::new();
        let told = poll(DEADLINE, || {
            problems = self.problems("node1");
            problems.iter().find(|line| words.iter().all(|word| line.contains(word))).cloned()
        });
        let told = told.unwrap_or_else(|| panic!("no problem has {words:?}: {problems:#?}"));
        println!("{told}");
    }

    fn problems(&self, node: &str) -> Vec<String> {
        let problems = self.cluster.agent_status(node).problems;
        problems.iter().map(|problem| format!("{}: {}", problem.object, problem.message)).collect()
    }

    fn quiet(&self, after: &str) {
        let mut problems = Vec::new();
        let quiet = poll(DEADLINE, || {
            problems = [self.problems("node1"), self.problems("node2")].concat();
            problems.is_empty().then_some(())
        });
        assert!(quiet.is_some(), "after {after} was mended: {problems:#?}");
    }

    /// A new pod can be attached.
    fn attaches(&self, name: &str) {
        self.cluster.pod(&format!("a/{name}"), "node1");
        self.cluster.del_pod("a", name).unwrap();
    }
}

/// An object of the API group, in JSON.
fn object(kind: &str, name: &str, fields: &str) -> String {
    format!(
        r#"{{"apiVersion": "network.openshift.io/v1", "kind": "{kind}", "metadata": {{"name": "{name}"}}, {fields}}}"#
    )
}

fn host_subnet(name: &str, ip: &str, subnet: &str) -> String {
    object("HostSubnet", name, &format!(r#""host": "{name}", "hostIP": "{ip}", "subnet": "{subnet}""#))
}

fn net_namespace(name: &str, netid: &str) -> String {
    object("NetNamespace", name, &format!(r#""netname": "{name}", "netid": {netid}"#))
}

#[test]
fn manifests_that_do_not_parse_or_contradict_each_other_are_named_and_harm_nothing() {
    let watched = Watched::new();
    // What the controller would tidy away is to stay while it is looked at.
    watched.cluster.controller(Action::Stop).unwrap();
    for (what, text, words) in [
        ("no YAML", "apiVersion: [v1\nkind: }".to_owned(), &["broken.yaml", "mend the file"][..]),
        ("no object", "just: some\ntext: here\n".into(), &["broken.yaml", "apiVersion"]),
        ("an unknown field", net_namespace("x", "17, \"netidd\": 5"), &["NetNamespace/x", "netidd"]),
        ("a VNID out of range", net_namespace("x", "16777216"), &["NetNamespace/x", "netid", "16777215"]),
        ("a name that is not its own", object("NetNamespace", "x", r#""netname": "y", "netid": 17"#), &["NetNamespace/x", "netname"]),
        ("the subnet of another node", host_subnet("node9", "192.168.50.19", "10.128.0.0/23"), &["HostSubnet/node9", "10.128.0.0/23", "HostSubnet/node1"]),
        ("the address of another node", host_subnet("node9", "192.168.50.12", "10.130.0.0/23"), &["HostSubnet/node9", "192.168.50.12", "HostSubnet/node2"]),
        ("host bits", host_subnet("node9", "192.168.50.19", "10.130.0.1/23"), &["HostSubnet/node9", "host bits", "10.130.0.0/23"]),
        ("a subnet outside of the cluster", host_subnet("node9", "192.168.50.19", "10.99.0.0/23"), &["HostSubnet/node9", "10.99.0.0/23"]),
        ("no address", host_subnet("node9", "192.168.50.1900", "10.130.0.0/23"), &["HostSubnet/node9", "hostIP", "192.168.50.1900"]),
        ("a loopback address", host_subnet("node9", "127.0.0.1", "10.130.0.0/23"), &["HostSubnet/node9", "127.0.0.1"]),
        ("a second object of the name", net_namespace("a", "17"), &["NetNamespace/a", "more than once", "broken.yaml"]),
        ("a second namespace of the name", r#"{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a"}}"#.into(), &["Namespace/a", "more than once", "broken.yaml"]),
        ("a second cluster network", object("ClusterNetwork", "other", r#""clusterNetworks": [], "serviceNetwork": "172.30.0.0/16""#), &["ClusterNetwork/other"]),
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
    let good = cluster.manifests().get("ClusterNetwork", "", "default").unwrap().unwrap();
    for (change, words) in [
        (r#"{"clusterNetworks": [{"CIDR": "10.128.0.0/14", "hostSubnetLength": 9}, {"CIDR": "10.130.0.0/16", "hostSubnetLength": 8}]}"#, &["clusterNetworks[1].CIDR", "overlaps"][..]),
        (r#"{"clusterNetworks": [{"CIDR": "10.128.0.1/14", "hostSubnetLength": 9}]}"#, &["clusterNetworks[0].CIDR", "host bits"]),
        (r#"{"clusterNetworks": [{"CIDR": "10.128.0.0/14", "hostSubnetLength": 30}]}"#, &["hostSubnetLength", "2 to 18"]),
        (r#"{"serviceNetwork": "10.129.0.0/16", "serviceNetworks": ["10.129.0.0/16"]}"#, &["overlaps", "10.129.0.0/16"]),
        (r#"{"vxlanPort": 0}"#, &["vxlanPort"]),
        (r#"{"mtu": 100000}"#, &["mtu"]),
        (r#"{"pluginName": "redhat/openshift-ovs-networkpolicy"}"#, &["pluginName", "networkpolicy", "multitenant"]),
        (r#"{"pluginName": "something-else"}"#, &["pluginName", "something-else"]),
    ] {
        println!("--- {change}");
        let mut object = (*good).clone();
        let change: serde_json::Map<String, serde_json::Value> = serde_json::from_str(change).unwrap();
        for (key, value) in change {
            object.set_field(&key, value);
        }
        cluster.manifests().apply(&object).unwrap();
        watched.tells(&[&["ClusterNetwork/default"], words].concat());
        cluster.manifests().apply(&good).unwrap();
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
    let mut cluster = Cluster::up(&Options { nodes: 1, ..Options::default() });
    cluster.agent("node1", Action::Stop).unwrap();
    let good = cluster.manifests().get("ClusterNetwork", "", "default").unwrap().unwrap();
    let mut object = (*good).clone();
    object.set_field("pluginName", "redhat/openshift-ovs-networkpolicy".into());
    cluster.manifests().apply(&object).unwrap();
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
    assert!(!status.ready && status.not_ready.contains("ClusterNetwork"), "{told:?}");
    let problem = &status.problems[0];
    assert_eq!(problem.object, "ClusterNetwork/default");
    for word in ["networkpolicy", "multitenant"] {
        assert!(problem.message.contains(word), "{problem:?}");
    }
    // Nothing is attached into a network that is not known.
    let plugin = Plugin::of(&cluster, "node1");
    let status = plugin.manage("STATUS", &[]);
    assert!(!status.success && status.value["msg"].as_str().unwrap().contains("ClusterNetwork"), "{status:?}");
    cluster.manifests().apply(&good).unwrap();
    eventually("the agent is ready once it is mended", || cluster.agent_status("node1").ready);
    let pod = PodSpec::new("a", "p", "node1");
    let cluster = &mut cluster;
    cluster.add_pod(&pod).unwrap();
}

/// `weft agent --config FILE ARGS` on node1.
fn agent(cluster: &Cluster, args: &[&str]) -> std::process::Command {
    let mut command = cluster.weft(Some("node1")).unwrap();
    let config = cluster.status().unwrap().nodes[0].config.clone();
    command.arg("agent").arg("--config").arg(config).args(args);
    command
}

#[test]
fn an_agent_that_cannot_run_says_what_is_missing() {
    let watched = Watched::new();
    let cluster = &watched.cluster;
    let dir = cluster.name().dir().join("elsewhere");
    fs::create_dir(&dir).unwrap();
    let refused = |what: &str, said: Said, words: &[&str]| {
        assert_eq!(said.code, Some(1), "{what}: {said:?}");
        for word in words {
            assert!(said.stderr.contains(word), "{what}: no {word:?} in {}", said.stderr);
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
        Said::of(&mut agent(cluster, &["--bpf-dir", &format!("{path}/no/where")])),
        &["bpfDir", "no/where", "mount -t bpf"],
    );
    for (capability, name) in [("net_admin", "CAP_NET_ADMIN"), ("bpf,-sys_admin", "CAP_BPF")] {
        let inner = agent(cluster, &[]);
        let mut outer = cluster.on_host("node1", "setpriv").unwrap();
        let dropped = format!("-{capability}");
        outer.arg("--bounding-set").arg(&dropped).arg("--inh-caps").arg(&dropped);
        outer.arg(inner.get_program()).args(inner.get_args());
        refused("a missing capability", Said::of(&mut outer), &[name, "capabilities"]);
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
        refused("a node address", Said::of(&mut agent(cluster, &args)), words);
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
    let error = lab::up(&name, &options, Progress::SILENT).unwrap_err().to_string();
    assert!(error.contains("node1") && error.contains("nodeNme"), "{error}");
    let gone = !name.dir().exists();
    drop(lab::down(&name));
    assert!(gone);
}

#[test]
fn without_an_agent_pods_are_refused_with_code_11_and_those_there_go_on() {
    let watched = Watched::new();
    let cluster = &watched.cluster;
    cluster.agent("node1", Action::Kill).unwrap();
    let error = cluster.add_pod(&PodSpec::new("a", "late", "node1")).unwrap_err().to_string();
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
    assert!(said.stderr.contains("agent.sock") && said.stderr.contains("running"), "{said:?}");
    cluster.agent("node1", Action::Start).unwrap();
    watched.attaches("late");
    watched.unharmed();
}

#[test]
fn without_a_controller_new_projects_wait_and_are_refused_with_what_is_missing() {
    let watched = Watched::new();
    let cluster = &watched.cluster;
    cluster.controller(Action::Kill).unwrap();
    let start = Instant::now();
    thread::scope(|scope| {
        let new = scope.spawn(|| cluster.add_pod(&PodSpec::new("new", "p", "node1")));
        // A known project needs no controller, and does not wait behind the other.
        watched.attaches("quick");
        assert!(start.elapsed() < DEADLINE);
        let said = cluster.ask("node1", &["pod-network", "isolate-projects", "a", "--timeout=1", "-o", "json"]);
        assert_eq!(said.code, Some(1), "{said:?}");
        assert!(said.stdout.contains("failed") && said.stdout.contains("controller"), "{said:?}");
        let error = new.join().unwrap().unwrap_err().to_string();
        let took = start.elapsed();
        assert!(took < Duration::from_secs(60), "{took:?}");
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
    let pods: Vec<Pod> = (1..=5).map(|n| cluster.pod(&format!("a/p{n}"), "node1")).collect();
    let (first, second) = (&pods[0], &pods[1]);
    let stream = Stream::start(&first.netns, &second.netns, second.ips[0]).unwrap();
    let error = cluster.add_pod(&PodSpec::new("a", "more", "node1")).unwrap_err().to_string();
    for word in ["a/more", "10.128.0.0/29", "5"] {
        assert!(error.contains(word), "no {word}: {error}");
    }
    println!("{error}");
    let status = plugin.manage("STATUS", &[]);
    assert!(!status.success && status.value["msg"].as_str().unwrap().contains("10.128.0.0/29"), "{status:?}");
    // A container without a namespace of its own is refused before it takes the address.
    let answer = plugin.run("ADD", &Attachment::new("/proc/self/status", "a"));
    assert!(!answer.success, "{answer:?}");
    cluster.del_pod("a", "p5").unwrap();
    let again = cluster.pod("a/again", "node1");
    assert_eq!(again.ips, pods[4].ips);
    assert_eq!(stream.finish().unwrap().lost, [0; 0]);
}
