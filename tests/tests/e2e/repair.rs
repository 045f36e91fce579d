//! What somebody takes away from the agent's work is put back at once, not at the next full pass.

mod forger;

use std::fs;
use std::time::{Duration, Instant};

use weft_agent::apply::links::verify;
use weft_agent::bpf::hooks::{Attachment, Hook, OVERLAY_HOOKS, POD_ATTACHMENT, POD_HOOKS};
use weft_lab::lab::Action;
use weft_lab::probe::Stream;
use weft_wait::eventually;

use self::forger::Forger;
use crate::cluster::{Cluster, Pod, two_nodes};
use crate::party::{Party, reaches};

/// Far below the three minutes between full passes; a busy machine may need a part of it.
const SOON: Duration = Duration::from_secs(5);
const OVERLAY: &str = "weft0";

struct Field {
    cluster: Cluster,
    /// Of one project, on node1, node1 and node2.
    pods: [Pod; 3],
    /// Of another, on node1.
    stranger: Pod,
    allowed: [Stream; 2],
    /// On the node, and between nodes.
    forbidden: [Stream; 2],
}

impl Field {
    fn new() -> Self {
        let cluster = Cluster::up(&two_nodes());
        let pods = [("a/p1", "node1"), ("a/p2", "node1"), ("a/p3", "node2")];
        let pods: [Pod; 3] = pods.map(|(label, node)| cluster.pod(label, node));
        let stranger = cluster.pod("b/p1", "node1");
        let stream = |from: &Pod, to: &Pod| Stream::start(&from.netns, &to.netns, to.ips[0]);
        let field = Self {
            allowed: [(0, 1), (2, 1)].map(|(from, to)| stream(&pods[from], &pods[to]).unwrap()),
            forbidden: [&pods[0], &pods[2]].map(|from| stream(from, &stranger).unwrap()),
            cluster,
            pods,
            stranger,
        };
        field.flows();
        field.isolates();
        field
    }

    fn interface(&self, pod: &Pod) -> String {
        let rows = self.cluster.pods("node1");
        let row = rows
            .iter()
            .find(|row| (&row.namespace, &row.name) == (&pod.namespace, &pod.name));
        row.unwrap().interface.clone()
    }

    fn on_node(&self, command: &str) {
        let words: Vec<&str> = command.split(' ').collect();
        self.cluster.run("node1", &words).ok();
    }

    /// Asks the kernel, not the agent.
    fn is_attached(&self, how: Attachment, interface: &str, hooks: &[Hook]) -> bool {
        let node = self.cluster.host_netns("node1").unwrap();
        node.run(|| verify(how, interface, hooks).is_ok()).unwrap()
    }

    fn overlay_is_attached(&self) -> bool {
        self.is_attached(Attachment::probe(), OVERLAY, &OVERLAY_HOOKS)
    }

    /// Waits until what was just taken away is there again; says how long it took.
    fn back(&self, what: &str, is: impl FnMut() -> bool) {
        let leaked = self.leaked();
        let took = eventually(&format!("{what} is put back"), is);
        println!(
            "{what}: back after {took:?}, {} packets let through meanwhile",
            self.leaked() - leaked
        );
        assert!(took < SOON, "{what}: {took:?}");
    }

    fn leaked(&self) -> u64 {
        self.forbidden.iter().map(Stream::received).sum()
    }

    /// From now on packets of either allowed stream arrive.
    fn flows(&self) {
        let before = self.allowed.each_ref().map(Stream::received);
        let took = eventually("the streams flow", || {
            let now = self.allowed.iter().map(Stream::received);
            now.zip(before).all(|(now, before)| now > before + 20)
        });
        assert!(took < SOON, "{took:?}");
    }

    /// Not one of 200 forbidden packets that are sent from now on arrives.
    fn isolates(&self) {
        let total = || self.forbidden.iter().map(Stream::sent).sum::<u64>();
        let isolated = || self.cluster.count("node1", "Isolated");
        let (sent, dropped) = (total(), isolated());
        // What was under way when the programs came back has arrived once packets sent later were judged.
        eventually("forbidden packets are judged", || isolated() > dropped + 20);
        let leaked = self.leaked();
        eventually("forbidden packets are sent", || total() > sent + 200);
        assert_eq!(self.leaked(), leaked, "isolation");
    }

    fn passes(&self) -> u64 {
        let status = self.cluster.agent_status("node1");
        status.last_pass["passes"].as_u64().unwrap()
    }

    fn healthy(&self) {
        for pod in self.pods.iter().chain([&self.stranger]) {
            self.cluster.cni("CHECK", &pod.record).unwrap();
        }
        for node in ["node1", "node2"] {
            assert_eq!(self.cluster.agent_status(node).problems, [], "{node}");
        }
    }
}

#[test]
fn a_pods_filters_that_somebody_deletes_are_back_at_once() {
    let field = Field::new();
    let interfaces = [&field.pods[0], &field.stranger].map(|pod| field.interface(pod));
    let attached = || {
        interfaces
            .iter()
            .all(|name| field.is_attached(POD_ATTACHMENT, name, &POD_HOOKS))
    };
    let forger = Forger::new(&field, &interfaces[0]);
    forger.fails(&field);
    for (what, command) in [
        (
            "the filter of what the pod sends",
            "tc filter del dev {} ingress",
        ),
        (
            "the filter of what reaches the pod",
            "tc filter del dev {} egress",
        ),
        ("the clsact qdisc", "tc qdisc del dev {} clsact"),
    ] {
        for interface in &interfaces {
            field.on_node(&command.replace("{}", interface));
        }
        field.back(what, attached);
        forger.fails(&field);
        field.isolates();
        field.flows();
    }
    // What is repaired: with nobody there to do it, the host takes the pod for whom it says it is.
    field.cluster.agent("node1", Action::Stop).unwrap();
    field.on_node(&format!("tc filter del dev {} ingress", interfaces[0]));
    eventually("a forged packet arrives", || {
        forger.send();
        forger.arrived() > 0
    });
    field.cluster.agent("node1", Action::Start).unwrap();
    forger.fails(&field);
    field.isolates();
    field.flows();
    field.healthy();
}

#[test]
fn host_routes_that_somebody_deletes_or_takes_over_are_back_at_once() {
    let field = Field::new();
    let pod = &field.pods[0];
    let node = Party::of_host(&field.cluster, "node1", vec![]);
    let target = Party::of_pod(pod);
    let interface = field.interface(pod);
    for (family, address) in ["-4", "-6"].into_iter().zip(&pod.ips) {
        let length = if address.is_ipv6() { 128 } else { 32 };
        let show = ["ip", family, "route", "show", "proto", "119"];
        let there = |what: &str| {
            let said = field.cluster.run("node1", &show).ok();
            said.lines().any(|line| line.starts_with(what))
        };
        let route = format!("{address} dev {interface} ");
        let gateway = field.cluster.gateway("node1", address.is_ipv6());
        assert!(there(&route), "{route}");
        field.on_node(&format!("ip {family} route del {address}/{length}"));
        field.back(&format!("the route to {address}"), || there(&route));
        reaches(&node, &target, *address, gateway);
    }
    let cluster_route = || {
        let said = field
            .cluster
            .run("node1", &["ip", "route", "show", "dev", OVERLAY])
            .ok();
        said.contains("proto 119")
    };
    assert!(cluster_route());
    field.on_node("ip route flush dev weft0 proto 119");
    field.back("the route to the cluster's network", cluster_route);
    let remote = Party::of_pod(&field.pods[2]);
    reaches(
        &node,
        &remote,
        remote.ip(false),
        field.cluster.gateway("node1", false),
    );
    field.healthy();
}

#[test]
fn an_overlay_that_somebody_takes_apart_is_whole_again_at_once() {
    let field = Field::new();
    let links = {
        let status = field.cluster.status().unwrap();
        let folder = format!("v{}/links", weft_ebpf::ABI);
        status.nodes[0].bpf_dir.join(folder)
    };
    for (name, _) in OVERLAY_HOOKS {
        if Attachment::probe() == Attachment::Tcx {
            let pin = links.join(format!("{OVERLAY}:{name}"));
            fs::remove_file(&pin).unwrap();
            field.back(&format!("the pin of {name}'s link"), || {
                pin.exists() && field.overlay_is_attached()
            });
            field.flows();
            field.isolates();
        }
    }
    field.on_node("ip link del weft0");
    field.back("the overlay device", || field.overlay_is_attached());
    field.flows();
    field.isolates();

    field.on_node("ip link set weft0 down");
    let start = Instant::now();
    field.flows();
    println!(
        "a device that was set down: flowing again after {:?}",
        start.elapsed()
    );
    field.isolates();
    field.healthy();
}

#[test]
fn pods_that_come_and_go_cause_no_passes() {
    let field = Field::new();
    let before = field.passes();
    for number in 0..4 {
        let name = format!("q{number}");
        field.cluster.pod(&format!("a/{name}"), "node1");
        field.cluster.del_pod("a", &name).unwrap();
    }
    // Announcements are heard in their order: when this is noticed, all of those before were judged.
    let pod = &field.pods[0];
    let interface = field.interface(pod);
    field.on_node(&format!("tc filter del dev {interface} ingress"));
    field.back("the filter", || {
        field.is_attached(POD_ATTACHMENT, &interface, &POD_HOOKS)
    });
    eventually("the pass is told", || field.passes() > before);
    field.isolates();
    assert_eq!(
        field.passes(),
        before + 1,
        "one thing was wrong, one pass mended it"
    );
}
