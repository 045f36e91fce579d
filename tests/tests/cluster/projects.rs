//! Projects joined and isolated while their pods talk.

use serde_json::json;
use weft_lab::probe::Stream;
use weft_wait::eventually;

use crate::cluster::NODES;
use crate::http::{seen_as, silent};
use crate::turn::beside;

/// Nothing of a project's own traffic is lost while others join and leave; between the two it flows while they are joined.
#[test]
fn join_and_isolate() {
    let cluster = &beside();
    let (a, b) = (cluster.project("a"), cluster.project("b"));
    let pods = NODES.map(|node| a.pod(&format!("pod-{node}"), node, &json!({})));
    let strangers = NODES.map(|node| b.pod(&format!("pod-{node}"), node, &json!({})));
    let own = Stream::start(&pods[0].netns, &pods[1].netns, pods[1].ip).unwrap();
    let between = Stream::start(&strangers[0].netns, &pods[1].netns, pods[1].ip).unwrap();
    assert!(
        strangers
            .iter()
            .all(|from| silent(&from.netns, pods[1].server()))
    );
    assert_eq!(between.received(), 0, "isolated");
    cluster.pod_network(&["join-projects", &format!("--to={}", a.name), &b.name]);
    eventually("packets between the two arrive", || {
        between.received() > 100
    });
    for from in &strangers {
        eventually("connections between the two work", || {
            seen_as(&from.netns, pods[1].server()).ok() == Some(from.ip)
        });
    }
    cluster.pod_network(&["isolate-projects", &b.name]);
    eventually("isolated again", || {
        let before = between.received();
        std::thread::sleep(std::time::Duration::from_millis(100));
        between.received() == before
    });
    assert!(
        strangers
            .iter()
            .all(|from| silent(&from.netns, pods[1].server()))
    );
    drop(between.finish().unwrap());
    let report = own.finish().unwrap();
    assert_eq!(
        report.lost, [0; 0],
        "of {} packets of the project's own",
        report.sent
    );
    assert_eq!(report.peers, [pods[0].ip]);
}
