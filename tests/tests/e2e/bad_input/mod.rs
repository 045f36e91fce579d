//! Input that is wrong, and surroundings that are not there: a message that names the object and the remedy, and
//! whatever worked goes on.

mod surroundings;

use std::process::Command;

use weft_lab::probe::Stream;
use weft_wait::eventually;

use crate::cluster::{Cluster, Pod, Store, two_nodes};

/// Two pods of a project on node1, one on node2, and traffic among them that must not notice anything.
pub struct Watched {
    pub cluster: Cluster,
    streams: Vec<Stream>,
}

impl Watched {
    pub fn new() -> Self {
        Self::on(Store::Manifests)
    }

    pub fn on(store: Store) -> Self {
        let cluster = Cluster::up_on(store, &two_nodes());
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
        eventually("the streams flow", || {
            streams.iter().all(|stream| stream.received() > 0)
        });
        Self { cluster, streams }
    }

    /// Ends the traffic: every packet arrived.
    pub fn unharmed(self) {
        for stream in self.streams {
            let report = stream.finish().unwrap();
            assert_eq!(report.lost, [0; 0], "of {}", report.sent);
        }
    }

    /// A new pod can be attached.
    pub fn attaches(&self, name: &str) {
        self.cluster.pod(&format!("a/{name}"), "node1");
        self.cluster.del_pod("a", name).unwrap();
    }
}

/// `weft agent --config FILE ARGS` on node1.
pub fn agent(cluster: &Cluster, args: &[&str]) -> Command {
    let mut command = cluster.weft(Some("node1")).unwrap();
    let config = cluster.status().unwrap().nodes[0].config.clone();
    command.arg("agent").arg("--config").arg(config).args(args);
    command
}
