//! Services, found by their names at the cluster's DNS server.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};

use hickory_proto::rr::RecordType;
use serde_json::json;
use weft_lab::probe::Lookup;
use weft_wait::eventually;

use crate::cluster::{DNS, NODES, PORT, Pod, Project};
use crate::http::{SOON, get, seen_as, silent};
use crate::turn::beside;

use weft_netns::NetNs;

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
#[test]
fn by_name() {
    let cluster = &beside();
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
#[test]
fn headless() {
    let cluster = &beside();
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
#[test]
fn projects_stay_apart() {
    let cluster = &beside();
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

/// How long a datagram waits for its answer, or for the word that nobody takes it.
fn datagram(from: &NetNs, to: SocketAddr) -> io::Result<usize> {
    from.run(|| {
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        socket.connect(to)?;
        socket.set_read_timeout(Some(SOON))?;
        socket.send(b"hostname")?;
        socket.recv(&mut [0; 64])
    })
    .unwrap()
}

/// Nobody has to wait for a service that has no pod, or that does not exist; and nothing of it leaves the cluster.
#[test]
fn nobody_serves() {
    let cluster = &beside();
    let project = cluster.project("empty");
    let ports = json!([{"name": "tcp", "port": 80, "protocol": "TCP"}, {"name": "udp", "port": 80, "protocol": "UDP"}]);
    let empty = project.service("empty", &json!({"ports": ports})).unwrap();
    let [pod, _] = NODES.map(|node| project.pod(&format!("client-{node}"), node, &json!({})));
    let node = cluster.lab.host_netns(NODES[0]).unwrap();
    let none: IpAddr = "172.30.77.7".parse().unwrap();
    // The DNS service has the port 53 and no other.
    for to in [(empty, 80), (none, 80), (DNS.parse().unwrap(), 54)] {
        let to = SocketAddr::from(to);
        for (who, from) in [("a pod", &pod.netns), ("the node", &node)] {
            let tcp = get(from, to, "/", SOON).unwrap_err();
            assert_eq!(
                tcp.kind(),
                io::ErrorKind::ConnectionRefused,
                "{who}, {to}: {tcp}"
            );
            // What the node's own rules refuse is refused to the call itself.
            let udp = datagram(from, to).unwrap_err().kind();
            let refused = [
                io::ErrorKind::ConnectionRefused,
                io::ErrorKind::PermissionDenied,
            ];
            assert!(refused.contains(&udp), "{who}, {to}: {udp}");
        }
    }
}

/// A load balancer's service takes whom it says, and the rest meets with silence.
#[test]
fn load_balancer_sources() {
    let cluster = &beside();
    let project = cluster.project("sources");
    project.deployment("web", 1);
    let clients = NODES.map(|node| project.pod(&format!("client-{node}"), node, &json!({})));
    let allowed = format!("{}/32", clients[0].ip);
    let more = json!({"type": "LoadBalancer", "loadBalancerSourceRanges": [allowed]});
    project.service("web", &more).unwrap();
    let balancer = "203.0.113.80";
    let status = json!({"status": {"loadBalancer": {"ingress": [{"ip": balancer}]}}}).to_string();
    project.kubectl(&[
        "patch",
        "service",
        "web",
        "--subresource=status",
        "--type=merge",
        "-p",
        &status,
    ]);
    let to = SocketAddr::new(balancer.parse().unwrap(), 80);
    eventually("whom it takes is served", || {
        seen_as(&clients[0].netns, to).is_ok()
    });
    let chain = |node: &str| {
        let mut list = cluster.lab.on_host(node, "iptables").unwrap();
        let list = list
            .args(["-w", "5", "-nvxL", "KUBE-PROXY-FIREWALL"])
            .output()
            .unwrap();
        String::from_utf8(list.stdout).unwrap()
    };
    let counted = || -> u64 {
        let list = chain(NODES[1]);
        let rules = list.lines().filter(|line| line.contains(balancer));
        rules
            .filter_map(|line| line.split_whitespace().next()?.parse::<u64>().ok())
            .sum()
    };
    eventually("the other node has it", || {
        chain(NODES[1]).contains(balancer)
    });
    assert!(silent(&clients[1].netns, to), "another client");
    assert!(
        counted() > 0,
        "dropped by kube-proxy's own rule: {}",
        chain(NODES[1])
    );
}
