//! An agent of another ABI number takes over the node from the one before.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use aya::programs::SchedClassifier;
use weft_agent::bpf::hooks::{Attachment, OVERLAY_HOOKS};
use weft_ebpf::ABI;
use weft_lab::lab::Action;
use weft_lab::probe::{self, Outcome, Stream};
use weft_wait::eventually;

use crate::cluster::{Cluster, Pod, two_nodes};

/// The pods of `shop` may not leave.
const POLICY: &str = "
apiVersion: network.openshift.io/v1
kind: EgressNetworkPolicy
metadata: {name: default, namespace: shop}
spec: {egress: [{type: Deny, to: {cidrSelector: 0.0.0.0/0}}]}
";
/// Of a service whose endpoint is outside.
const SERVICE: &str = "172.30.0.10";

/// How long a connection that must not get through is tried.
const GLANCE: Duration = Duration::from_millis(100);
/// Starts that are killed before one is let alone.
const KILLS: u32 = 24;

struct Field {
    cluster: Cluster,
    pods: [Pod; 4],
    allowed: Vec<Stream>,
    forbidden: [Stream; 2],
    /// Past the egress firewall, by a service.
    escaping: Stream,
    bpf_dir: PathBuf,
}

impl Field {
    fn new() -> Self {
        let cluster = Cluster::up(&two_nodes());
        let pods = [
            ("a/p1", "node1"),
            ("a/p2", "node1"),
            ("a/p3", "node2"),
            ("b/p1", "node1"),
        ];
        let pods: [Pod; 4] = pods.map(|(label, node)| cluster.pod(label, node));
        let escaping = Self::escaping(&cluster);
        let stream = |from: usize, to: usize, family: usize| {
            let (from, to) = (&pods[from], &pods[to]);
            Stream::start(&from.netns, &to.netns, to.ips[family]).unwrap()
        };
        let field = Self {
            allowed: vec![
                stream(0, 1, 0),
                stream(1, 2, 0),
                stream(2, 0, 1),
                stream(2, 1, 0),
            ],
            forbidden: [stream(0, 3, 0), stream(2, 3, 1)],
            escaping,
            bpf_dir: cluster.status().unwrap().nodes[0].bpf_dir.clone(),
            cluster,
            pods,
        };
        field.flows();
        field
    }

    fn escaping(cluster: &Cluster) -> Stream {
        let shop = cluster.pod("shop/p1", "node1");
        let web = cluster.state().unwrap().externals[0].underlay[0];
        cluster.apply(POLICY, "the test").unwrap();
        eventually("the policy is in force", || {
            let tried = probe::tcp(&shop.netns, (web, 1).into(), GLANCE).unwrap();
            tried == Outcome::Silent
        });
        cluster.translate_all("node1", SERVICE.parse().unwrap(), web);
        let web = cluster.host_netns("web").unwrap();
        Stream::start(&shop.netns, &web, SERVICE.parse().unwrap()).unwrap()
    }

    fn flows(&self) {
        let before: Vec<u64> = self.allowed.iter().map(Stream::received).collect();
        eventually("the streams flow", || {
            let now = self.allowed.iter().map(Stream::received);
            now.zip(&before).all(|(now, before)| now > before + 20)
        });
    }

    /// What is pinned becomes the work of another version: programs and links stay as they are.
    fn becomes(&self, abi: u32) {
        let at = |abi: u32| self.bpf_dir.join(format!("v{abi}"));
        fs::rename(at(ABI), at(abi)).unwrap();
    }

    fn folders(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.bpf_dir).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name());
        names
            .map(|name| name.to_string_lossy().into_owned())
            .collect()
    }

    /// An agent that nobody waits for.
    fn start(&self, config: &Path) -> Child {
        let mut command = self.cluster.weft(Some("node1")).unwrap();
        command.args(["agent", "--config"]).arg(config);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().unwrap()
    }

    /// Numbers of the overlay's programs: one on each hook.
    fn overlay(&self) -> Vec<u32> {
        if Attachment::probe() != Attachment::Tcx {
            return Vec::new();
        }
        let node = self.cluster.host_netns("node1").unwrap();
        let ids = OVERLAY_HOOKS.map(|(name, hook)| {
            let query = || SchedClassifier::query_tcx("weft0", hook).unwrap().1;
            let found = node.run(query).unwrap();
            assert_eq!(found.len(), 1, "{name}");
            found[0].id()
        });
        ids.to_vec()
    }

    /// The new version is in charge: of its own folder alone, with its own programs, of every pod.
    fn taken_over(&self, before: &[u32]) {
        eventually("the other folder is gone", || {
            self.folders() == [format!("v{ABI}")]
        });
        let after = self.overlay();
        assert!(
            before.iter().all(|id| !after.contains(id)),
            "{before:?}, {after:?}"
        );
        for pod in &self.pods {
            self.cluster.cni("CHECK", &pod.record).unwrap();
        }
        assert_eq!(self.cluster.agent_status("node1").problems, []);
        // Counters began anew: the new program judges.
        eventually("what a service leads out is judged", || {
            self.cluster.pod_count("node1", "shop/p1", "EgressDenied") > 0
        });
        self.flows();
    }

    /// Rows that are written now govern every pod: no program looks at the old maps any more.
    fn governs(&self) {
        let heard = || self.forbidden.iter().all(|stream| stream.received() > 20);
        assert!(self.forbidden.iter().all(|stream| stream.received() == 0));
        let join = ["pod-network", "join-projects", "--to=a", "b"];
        self.cluster.ask("node1", &join).ok();
        eventually("joined projects reach each other", heard);
    }

    /// Ends the traffic: every packet arrived.
    fn unharmed(self) -> u64 {
        let escaped = self.escaping.finish().unwrap();
        let got_out = escaped.sent - escaped.lost.len() as u64;
        assert_eq!(got_out, 0, "of {}, past the egress firewall", escaped.sent);
        let reports = self.allowed.into_iter().map(|stream| {
            let report = stream.finish().unwrap();
            assert_eq!(report.lost, [0; 0], "of {}", report.sent);
            assert_eq!(report.duplicates, 0);
            report.sent
        });
        reports.sum()
    }
}

fn end(agent: &mut Child) {
    agent.kill().unwrap();
    agent.wait().unwrap();
}

#[test]
fn another_version_takes_over_and_no_packet_is_lost() {
    let field = Field::new();
    for (end, abi) in [
        (Action::Stop, ABI - 1),
        (Action::Kill, ABI - 1),
        // The way back.
        (Action::Stop, ABI + 1),
    ] {
        let before = field.overlay();
        field.cluster.agent("node1", end).unwrap();
        field.becomes(abi);
        field.flows();
        let start = Instant::now();
        field.cluster.agent("node1", Action::Start).unwrap();
        let took = start.elapsed();
        field.taken_over(&before);
        println!("taken over from ABI {abi}, {took:?} from start to ready");
        let log = fs::read_to_string(field.cluster.log("node1")).unwrap();
        let downgrade = log.contains("a newer version ran here");
        assert_eq!(downgrade, abi > ABI, "the log tells of a downgrade");
    }
    field.governs();
    println!("{} packets, none lost", field.unharmed());
}

#[test]
fn a_takeover_that_is_killed_at_any_moment_goes_on_with_the_next_start() {
    let field = Field::new();
    let status = field.cluster.status().unwrap();
    field.cluster.agent("node1", Action::Stop).unwrap();
    field.becomes(ABI - 1);
    let before = field.overlay();
    let start = Instant::now();
    let mut agent = field.start(&status.nodes[0].config);
    let whole = eventually("the old folder is gone", || {
        field.folders() == [format!("v{ABI}")]
    });
    println!("a takeover alone takes {:?}", start.elapsed());
    end(&mut agent);
    let mut moments = Vec::new();
    for kill in 0..KILLS {
        if field.folders() == [format!("v{ABI}")] {
            field.becomes(ABI - 1);
        }
        let mut agent = field.start(&status.nodes[0].config);
        // Not a wait for anything: the kills are to fall on every part of a start, most of them on its second half.
        thread::sleep(whole / 2 + whole * kill / (KILLS * 3 / 2));
        end(&mut agent);
        let mut folders = field.folders();
        folders.sort();
        moments.push(folders.join("+"));
        field.overlay();
    }
    println!("folders after each kill: {moments:?}");
    field.cluster.agent("node1", Action::Start).unwrap();
    field.taken_over(&before);
    field.governs();
    println!("{} packets, none lost", field.unharmed());
}
