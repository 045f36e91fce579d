//! Input that is wrong, and surroundings that are not there: a message that names the object and the remedy, and
//! whatever worked goes on.

mod manifests;
mod surroundings;

use std::path::PathBuf;
use std::process::Command;

use weft_tests::probe::Stream;

use crate::cluster::{Cluster, DEADLINE, Pod, eventually, poll, two_nodes};

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
        eventually("the streams flow", || {
            streams.iter().all(|stream| stream.received() > 0)
        });
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
        self.cluster.status().unwrap().manifests.unwrap().join(name)
    }

    /// Waits until node1's status tells of a problem with all these words; then until both nodes' tell of none.
    fn tells(&self, words: &[&str]) {
        let mut problems = Vec::new();
        let told = poll(DEADLINE, || {
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

/// `weft agent --config FILE ARGS` on node1.
fn agent(cluster: &Cluster, args: &[&str]) -> Command {
    let mut command = cluster.weft(Some("node1")).unwrap();
    let config = cluster.status().unwrap().nodes[0].config.clone();
    command.arg("agent").arg("--config").arg(config).args(args);
    command
}
