//! The API server goes away and comes back while packets flow.

use weft_tests::lab::Action;
use weft_tests::probe::Stream;

use crate::cluster::{Cluster, eventually, two_nodes};

#[test]
fn packets_flow_without_an_api_server_and_changes_follow_when_it_is_back() {
    let cluster = Cluster::up(&two_nodes());
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
    // The objects that its start needs are out of reach: what is in the kernel stays in force.
    cluster.agent("node1", Action::Kill).unwrap();
    flows("packets flow without API server and agent");
    cluster.api(Action::Start).unwrap();
    cluster.agent("node1", Action::Start).unwrap();
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
