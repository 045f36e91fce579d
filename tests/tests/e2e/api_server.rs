//! The API server goes away and comes back while packets flow.

use std::net::IpAddr;

use weft_lab::lab::Action;
use weft_lab::probe::Stream;
use weft_netns::NetNs;
use weft_wait::eventually;

use crate::cluster::{Cluster, Store, two_nodes};
use crate::plugin::{Attachment, Plugin, path};

#[test]
fn packets_flow_without_an_api_server_and_changes_follow_when_it_is_back() {
    let cluster = Cluster::up_on(Store::ApiServer, &two_nodes());
    let [near, far] =
        [("a/p1", "node1"), ("a/p2", "node2")].map(|(label, node)| cluster.pod(label, node));
    let streams =
        [0, 1].map(|family| Stream::start(&near.netns, &far.netns, far.ips[family]).unwrap());
    let flows = |what: &str| {
        let before = streams.each_ref().map(Stream::received);
        eventually(what, || {
            let mut both = streams.iter().zip(before);
            both.all(|(stream, before)| stream.received() > before + 100)
        });
    };
    flows("packets flow");
    cluster.api(Action::Kill).unwrap();
    flows("packets flow without an API server");
    pods_come_and_go(&cluster, far.ips[0], &far.netns);
    // The objects that its start needs are out of reach: what is in the kernel stays in force.
    cluster.agent("node1", Action::Kill).unwrap();
    flows("packets flow without API server and agent");
    std::thread::scope(|scope| {
        let start = scope.spawn(|| cluster.agent("node1", Action::Start));
        eventually("an agent that has no objects says so", || {
            let said = cluster.ask("node1", &["status", "-o", "json"]);
            said.stdout.contains("does not answer")
        });
        flows("packets flow while the agent waits for its objects");
        assert!(!cluster.agent_status("node1").ready);
        cluster.api(Action::Start).unwrap();
        // The time that a start may take can be over before the server is back; the agent goes on.
        drop(start.join().unwrap());
    });
    eventually("the agent is ready", || {
        let said = cluster.ask("node1", &["status", "-o", "json"]);
        said.code == Some(0)
    });
    flows("packets flow when both are back");
    let new = cluster.pod("b/p", "node2");
    let isolated = Stream::start(&near.netns, &new.netns, new.ips[0]).unwrap();
    cluster
        .ask("node1", &["pod-network", "join-projects", "--to=a", "b"])
        .ok();
    eventually("a project made and joined since is reached", || {
        isolated.received() > 0
    });
    for stream in streams {
        let report = stream.finish().unwrap();
        assert_eq!(report.lost, [0; 0], "of {}", report.sent);
    }
}

/// Pods of a project that the agent knows are attached and detached as ever.
fn pods_come_and_go(cluster: &Cluster, to: IpAddr, receiver: &NetNs) {
    let plugin = Plugin::of(cluster, "node1");
    let netns = NetNs::create().unwrap();
    let attachment = Attachment::new(&path(&netns), "a");
    let added = plugin.run("ADD", &attachment);
    assert!(added.success, "{added:?}");
    let stream = Stream::start(&netns, receiver, to).unwrap();
    eventually("the new pod reaches another node", || stream.received() > 0);
    stream.finish().unwrap();
    let deleted = plugin.run("DEL", &attachment);
    assert!(deleted.success, "{deleted:?}");
}
