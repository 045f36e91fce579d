//! Services, found by their names at the cluster's DNS server.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use hickory_proto::rr::RecordType;
use serde_json::json;
use weft_tests::probe::Lookup;

use crate::cluster::{Cluster, DNS, NODES, PORT, Pod, Project, eventually};
use crate::http::{SOON, get, seen_as, silent};

/// What a pod is told, or why not.
fn ask(client: &Pod, name: &str) -> Result<BTreeSet<IpAddr>, String> {
    let lookup = Lookup {
        patience: SOON,
        ..Lookup::at(DNS.parse().unwrap())
    };
    let answer = client
        .netns
        .run(|| lookup.ask(name, RecordType::A))
        .unwrap();
    let answer = answer.map_err(|error| error.to_string())?;
    Ok(answer.addresses.into_iter().collect())
}

fn name(service: &str, project: &Project<'_>) -> String {
    format!("{service}.{}.svc.cluster.local.", project.name)
}

/// Pods of both nodes find a service by name, all its pods answer, and see who asks. DNS itself is such a service, with a
/// pod on one node only, in another project, which is global.
pub fn by_name(cluster: &Cluster) {
    let project = cluster.project("by-name");
    project.deployment("web", 2);
    let address = project.service("web", &json!({})).unwrap();
    let wanted: BTreeSet<String> = project
        .pods("web")
        .into_iter()
        .map(|pod| pod.name)
        .collect();
    for node in NODES {
        let client = project.pod(&format!("client-{node}"), node, &json!({}));
        eventually("the name is known", || {
            ask(&client, &name("web", &project)) == Ok([address].into())
        });
        let to = SocketAddr::new(address, 80);
        // kube-proxy may hear of the service later than the DNS server does.
        eventually("the service is there", || {
            seen_as(&client.netns, to).is_ok()
        });
        let mut answered = BTreeSet::new();
        for _ in 0..40 {
            let pod = get(&client.netns, to, "/hostname", SOON);
            answered.insert(pod.unwrap_or_else(|error| panic!("{} to {to}: {error}", client.name)));
            assert_eq!(
                seen_as(&client.netns, to).ok(),
                Some(client.ip),
                "its own address is seen"
            );
        }
        assert_eq!(answered, wanted, "a pod on each node");
        // Directly, too: the two ways have nothing to do with each other.
        for pod in project.pods("web") {
            assert_eq!(seen_as(&client.netns, pod.server()).ok(), Some(client.ip));
        }
    }
}

/// A name stands for the pods themselves.
pub fn headless(cluster: &Cluster) {
    let project = cluster.project("headless");
    project.deployment("db", 3);
    assert_eq!(project.service("db", &json!({"clusterIP": "None"})), None);
    let client = project.pod("client", NODES[1], &json!({}));
    let pods: BTreeSet<IpAddr> = project.pods("db").iter().map(|pod| pod.ip).collect();
    eventually("the name stands for all pods", || {
        ask(&client, &name("db", &project)).as_ref() == Ok(&pods)
    });
    for ip in pods {
        assert_eq!(
            seen_as(&client.netns, SocketAddr::new(ip, PORT)).ok(),
            Some(client.ip)
        );
    }
}

/// A service of another project is as far away as its pods are.
pub fn projects_stay_apart(cluster: &Cluster) {
    let (shop, bank) = (cluster.project("shop"), cluster.project("bank"));
    shop.deployment("web", 2);
    let service = SocketAddr::new(shop.service("web", &json!({})).unwrap(), 80);
    let own = NODES.map(|node| shop.pod(&format!("own-{node}"), node, &json!({})));
    let strangers = NODES.map(|node| bank.pod(&format!("pod-{node}"), node, &json!({})));
    for client in &own {
        eventually("the service is there", || {
            seen_as(&client.netns, service).is_ok()
        });
    }
    for stranger in &strangers {
        // Both of its pods, with all likelihood.
        for _ in 0..5 {
            assert!(
                silent(&stranger.netns, service),
                "{} of another project",
                stranger.name
            );
        }
    }
    cluster.pod_network(&["join-projects", &format!("--to={}", shop.name), &bank.name]);
    for stranger in &strangers {
        eventually("joined", || {
            (0..4).all(|_| seen_as(&stranger.netns, service).ok() == Some(stranger.ip))
        });
    }
}
