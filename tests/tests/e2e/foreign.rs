//! What somebody else puts before our programs is found, named wherever the data path is asked about, and gone from there
//! with its end.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use weft_agent::api::view::{EgressPolicyState, Explanation};
use weft_agent::apply::links::verify;
use weft_agent::bpf::hooks::{Attachment, OVERLAY_HOOKS, POD_ATTACHMENT, POD_HOOKS};
use weft_lab::bpf::{BEFORE, GENERIC, Place, stand_in_front};
use weft_lab::lab::Options;
use weft_lab::probe;
use weft_wait::{SOON, eventually, poll};

use crate::cluster::{Cluster, Pod, two_nodes};
use crate::party::{PORT, Party};

/// What is promised.
const PROMISED: Duration = Duration::from_secs(5);
/// How long a connection that is denied is tried.
const GLANCE: Duration = Duration::from_millis(150);
const OVERLAY: &str = "weft0";

const DENY_ALL: &str = "
apiVersion: network.openshift.io/v1
kind: EgressNetworkPolicy
metadata: {name: default, namespace: shop}
spec:
  egress:
  - {type: Deny, to: {cidrSelector: 0.0.0.0/0}}
";

struct Field {
    cluster: Cluster,
    pod: Pod,
    neighbour: Pod,
    interface: String,
    web: Party,
}

impl Field {
    fn new() -> Self {
        let cluster = Cluster::up(&Options {
            agent_config: Some("metricsAddress: 127.0.0.1:9618\n".into()),
            ..two_nodes()
        });
        let pod = cluster.pod("shop/a", "node1");
        let neighbour = cluster.pod("bank/b", "node1");
        let web = Party::of_host(&cluster, "web", vec!["203.0.113.7".parse().unwrap()]);
        cluster.apply(DENY_ALL, "the test").unwrap();
        eventually("the policy is in force", || {
            let said = cluster.ask("node1", &["get", "enp", "-n", "shop", "-o", "json"]);
            let found: Vec<weft_agent::api::view::EgressPolicy> =
                serde_json::from_str(&said.ok()).unwrap();
            found
                .iter()
                .any(|it| it.state == EgressPolicyState::Enforced)
        });
        let rows = cluster.pods("node1");
        let row = rows.iter().find(|row| row.name == pod.name).unwrap();
        let field = Self {
            interface: row.interface.clone(),
            cluster,
            pod,
            neighbour,
            web,
        };
        field.is_clean("at first");
        assert!(!field.gets_out(GLANCE), "everything is denied");
        field
    }

    fn gets_out(&self, patience: Duration) -> bool {
        let at = SocketAddr::new(self.web.ip(false), PORT);
        let tried = probe::tcp(&self.pod.netns, at, patience);
        tried.unwrap().reached()
    }

    /// Runs `tc` on the node; whether it succeeded.
    fn tc(&self, command: &str) -> bool {
        let words = command.replace("{}", &self.interface);
        let words: Vec<String> = words.split(' ').map(|w| w.replace('\u{a0}', " ")).collect();
        let mut all = vec!["tc"];
        all.extend(words.iter().map(String::as_str));
        self.cluster.run("node1", &all).code == Some(0)
    }

    /// Attaches a program that lets every packet on to whatever comes next.
    fn attach(&self, device: &str, place: Place, flags: u32) -> OwnedFd {
        let answer = if place == Place::Xdp { 2 } else { -1 }; // XDP_PASS, TCX_NEXT
        let node = self.cluster.host_netns("node1").unwrap();
        node.run(|| {
            let index = nix::net::if_::if_nametoindex(device).unwrap();
            stand_in_front("observer", answer, index, place, flags).unwrap()
        })
        .unwrap()
    }

    fn ready(&self) -> (bool, String) {
        let url = "http://127.0.0.1:9618/readyz";
        let curl = ["curl", "--silent", "--fail-with-body", url];
        let said = self.cluster.run("node1", &curl);
        (said.code == Some(0), said.stdout)
    }

    fn explain(&self) -> Explanation {
        let args = ["explain", "--from", "shop/a", "--to", "203.0.113.7:80"];
        let said = self
            .cluster
            .ask("node1", &[&args[..], &["-o", "json"]].concat());
        serde_json::from_str(&said.stdout).unwrap_or_else(|error| panic!("{error}: {said:?}"))
    }

    /// Waits until each place that speaks of the data path has all of these words.
    fn is_named(&self, case: &str, words: &[&str]) {
        let start = Instant::now();
        let has = |text: &str| words.iter().all(|word| text.contains(word));
        let mut seen = String::new();
        let found = poll(SOON, || {
            let status = self.cluster.agent_status("node1");
            seen = format!("{status:?}");
            let named = status.problems.iter().any(|it| has(&it.message));
            (named && !status.ready && has(&status.not_ready)).then_some(())
        });
        assert!(found.is_some(), "{case}: not named in weft status: {seen}");
        let took = start.elapsed();
        println!("{case}: named after {took:?}");
        assert!(took < PROMISED, "{case}: {took:?}");
        let (ready, text) = self.ready();
        assert!(!ready && has(&text), "{case}: /readyz: {text}");
        assert!(!text.contains("shop"), "no names of projects: {text}");
        let note = self.explain().note;
        assert!(has(&note), "{case}: explain: {note:?}");
        let check = self.cluster.cni("CHECK", &self.pod.record).unwrap_err();
        let check = check.to_string();
        assert!(has(&check), "{case}: CHECK: {check}");
        println!("{case}: {check}");
    }

    fn is_clean(&self, case: &str) {
        let took = eventually(&format!("{case}: nothing is named"), || {
            let status = self.cluster.agent_status("node1");
            status.problems.is_empty() && status.ready && self.ready().0
        });
        assert!(took < PROMISED, "{case}: {took:?}");
        assert_eq!(self.explain().note, "", "{case}");
        for pod in [&self.pod, &self.neighbour] {
            self.cluster.cni("CHECK", &pod.record).unwrap();
        }
    }

    fn is_attached(&self) -> bool {
        let node = self.cluster.host_netns("node1").unwrap();
        node.run(|| {
            verify(POD_ATTACHMENT, &self.interface, &POD_HOOKS).is_ok()
                && verify(Attachment::probe(), OVERLAY, &OVERLAY_HOOKS).is_ok()
        })
        .unwrap()
    }
}

fn takes_all(hook: &str) -> String {
    format!(
        "filter add dev {{}} {hook} pref 1 protocol all bpf bytecode 1,6\u{a0}0\u{a0}0\u{a0}1, classid 1:1"
    )
}

#[test]
fn a_filter_in_front_of_a_pods_is_named_until_it_is_gone() {
    let field = Field::new();
    assert!(field.tc(&takes_all("ingress")));
    // Why it matters.
    assert!(field.gets_out(SOON), "the filter takes the packets");
    let interface = field.interface.clone();
    field.is_named("bpf", &[&interface, "bpf", "preference 1", "from_pod"]);
    // The neighbour is as it was made.
    field.cluster.cni("CHECK", &field.neighbour.record).unwrap();
    assert!(field.tc("filter del dev {} ingress pref 1 handle 2 protocol all bpf"));
    field.is_clean("bpf");
    assert!(!field.gets_out(GLANCE), "denied again");
}

#[test]
fn filters_behind_are_nobodys_business() {
    let field = Field::new();
    for hook in ["ingress", "egress"] {
        let u32 = |preference: &str| {
            field.tc(&format!(
                "filter add dev {{}} {hook} {preference}protocol all u32 match u32 0 0 classid 1:1"
            ))
        };
        assert!(!u32("pref 1 "), "{hook}: the first preference is ours");
        assert!(u32("pref 2 "), "{hook}");
        assert!(u32(""), "{hook}: the kernel chooses the preference");
    }
    assert!(!field.gets_out(GLANCE), "denied");
    // The look that finds this one sees the others too.
    assert!(field.tc(&takes_all("ingress")));
    field.is_named("the one in front", &["bpf", "preference 1", "from_pod"]);
    assert_eq!(field.cluster.agent_status("node1").problems.len(), 1);
    assert!(field.tc("filter del dev {} ingress pref 1 handle 2 protocol all bpf"));
    field.is_clean("behind");
    assert!(!field.gets_out(GLANCE), "denied");
}

#[test]
fn whatever_comes_before_our_programs_is_named() {
    let field = Field::new();
    let interface = field.interface.as_str();
    let tcx = Attachment::probe() == Attachment::Tcx;

    assert!(field.tc(&takes_all("egress")));
    field.is_named("egress", &[interface, "bpf", "preference 1", "to_pod"]);
    assert!(field.tc("filter del dev {} egress pref 1 handle 2 protocol all bpf"));
    field.is_clean("egress");

    let xdp = [(interface, 0), (interface, GENERIC), (OVERLAY, GENERIC)];
    let links = xdp.map(|(device, flags)| (device, Place::Xdp, flags, "XDP"));
    let tcx = [
        (interface, Place::TcxIngress, 0, "TCX"),
        (interface, Place::TcxEgress, 0, "TCX"),
        (OVERLAY, Place::TcxIngress, BEFORE, "TCX"),
        (OVERLAY, Place::TcxEgress, BEFORE, "TCX"),
    ]
    .into_iter()
    .filter(|_| tcx);
    for (device, place, flags, kind) in links.into_iter().chain(tcx) {
        let case = format!("{kind} {place:?} {flags} on {device}");
        let link = field.attach(device, place, flags);
        field.is_named(&case, &[device, kind, "observer"]);
        drop(link);
        field.is_clean(&case);
    }

    // Another qdisc, or a clsact whose filters are shared with other devices, in the place of ours.
    for (case, qdisc, words) in [
        ("qdisc", "ingress", "ingress"),
        ("block", "ingress_block 22 clsact", "block 22"),
    ] {
        let batch = format!("qdisc del dev {interface} clsact\nqdisc add dev {interface} {qdisc}");
        let batch = format!("printf '{batch}\\n' | tc -batch -");
        eventually(case, || {
            let said = field.cluster.run("node1", &["sh", "-c", &batch]);
            said.code == Some(0)
        });
        let took = eventually(&format!("{case} is told"), || {
            let status = field.cluster.agent_status("node1");
            let mut problems = status.problems.iter();
            let told = |it: &str| it.contains(interface) && it.contains(words);
            problems.any(|it| told(&it.message)) && !field.ready().0
        });
        assert!(took < PROMISED, "{case}: {took:?}");
        let error = field.cluster.cni("CHECK", &field.pod.record).unwrap_err();
        println!("{case}: {error}");
        let word = qdisc.rsplit(' ').next().unwrap();
        assert!(field.tc(&format!("qdisc del dev {{}} {word}")));
        eventually(&format!("{case}: ours is back"), || field.is_attached());
        field.is_clean(case);
        assert!(!field.gets_out(GLANCE), "{case}: denied again");
    }
}
