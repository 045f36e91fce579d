//! A thousand EgressNetworkPolicies a minute replaced on an API server, under traffic, while pods come and go.

use std::io::{BufRead as _, BufReader};
use std::net::IpAddr;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use weft_bench::verdict::Probe;
use weft_lab::lab::{self, KubernetesMode, Lab, Options, PodSpec, Progress};
use weft_lab::probe::{Report, Stream};
use weft_wait::{SOON, answer, eventually};

use crate::figures::{Figures, number, percentile};
use crate::process::{processor_time, resident};

/// Policies written each minute, all together.
const RATE: u32 = 1_000;
/// Projects beside the measured one, each with a pod on the node and a policy.
const PROJECTS: u32 = 30;
/// Rules of each policy, all of them new with each version.
const RULES: u32 = 20;

const ALLOWED: &str = "203.0.113.7";
const TOGGLED: &str = "203.0.113.8";
const DENIED: &str = "203.0.113.9";

/// Ends its lab.
struct Ending(Lab);

impl Drop for Ending {
    fn drop(&mut self) {
        if let Err(error) = self.0.down().or_else(|_| self.0.down()) {
            eprintln!("{error}");
        }
    }
}

/// Ends the threads that look at it, also when the test fails: whoever waits for them would wait for ever.
struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A version of a project's policy. Of the measured addresses one is always allowed, one never.
fn policy(project: &str, version: u64, open: bool) -> String {
    let filler = (0..RULES).map(|n| {
        let [.., a, b] = (version * u64::from(RULES) + u64::from(n)).to_be_bytes();
        json!({"type": "Deny", "to": {"cidrSelector": format!("198.18.{a}.{b}/32")}})
    });
    let rule = |kind: &str, net: &str| json!({"type": kind, "to": {"cidrSelector": net}});
    let host = |address: &str| format!("{address}/32");
    let toggled = if open { "Allow" } else { "Deny" };
    let last = [
        rule("Allow", &host(ALLOWED)),
        rule(toggled, &host(TOGGLED)),
        rule("Deny", "0.0.0.0/0"),
    ];
    let rules: Vec<Value> = filler.chain(last).collect();
    json!({
        "apiVersion": "network.openshift.io/v1", "kind": "EgressNetworkPolicy",
        "metadata": {"namespace": project, "name": "default"}, "spec": {"egress": rules},
    })
    .to_string()
}

/// Replaces the policies of the other projects at a steady rate.
fn write_policies(lab: &Lab, done: &AtomicBool, written: &AtomicU64, measured: &AtomicU64) {
    let start = Instant::now();
    let mut count = 0_u64;
    while !done.load(Ordering::Relaxed) {
        let project = format!("soak-{}", count % u64::from(PROJECTS));
        lab.apply(&policy(&project, count, count.is_multiple_of(2)), "soak")
            .unwrap();
        count += 1;
        written.store(count, Ordering::Relaxed);
        // Those of the measured project count too. Against the start: a slow answer does not lower the rate.
        let all = count + measured.load(Ordering::Relaxed);
        let next = start + Duration::from_mins(1) * u32::try_from(all).unwrap() / RATE;
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
}

/// Pods that come and go, in projects with policies.
fn churn(lab: &Lab, done: &AtomicBool) -> Vec<f64> {
    let mut took = Vec::new();
    while !done.load(Ordering::Relaxed) {
        let count = took.len();
        let project = format!("soak-{}", count % PROJECTS as usize);
        let name = format!("churn-{count}");
        let start = Instant::now();
        lab.add_pod(&PodSpec::new(&project, &name, "node1"))
            .unwrap();
        took.push(start.elapsed().as_secs_f64() * 1e3);
        lab.del_pod(&project, &name).unwrap();
        thread::sleep(Duration::from_millis(200));
    }
    took
}

/// Milliseconds from the start of a write to the verdict on the wire; and what of it is the server's: until it has answered
/// and has told another watcher.
#[derive(Default)]
struct Took {
    opened: Vec<f64>,
    closed: Vec<f64>,
    server: Vec<f64>,
    agent: Vec<f64>,
}

/// Another watcher of the measured policy: kubectl.
struct Watcher {
    kubectl: Child,
    told: Arc<Mutex<Vec<Instant>>>,
}

impl Watcher {
    fn start(lab: &Lab) -> Self {
        let mut kubectl = lab.kubectl().unwrap();
        kubectl.args(["get", "egressnetworkpolicy", "default", "-n", "measured"]);
        kubectl.args(["--watch", "-o", r#"jsonpath={.metadata.generation}{"\n"}"#]);
        let mut kubectl = kubectl.stdout(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(kubectl.stdout.take().unwrap());
        let told = Arc::new(Mutex::new(Vec::new()));
        let note = Arc::clone(&told);
        thread::spawn(move || {
            // Changes of the status are no versions.
            let mut last = String::new();
            for line in output.lines().map_while(Result::ok) {
                if line != last {
                    note.lock().unwrap().push(Instant::now());
                    last = line;
                }
            }
        });
        let watcher = Self { kubectl, told };
        // What is there already comes first.
        eventually("what is there is told", || {
            !watcher.told.lock().unwrap().is_empty()
        });
        watcher
    }

    /// When it was told of the version that was written at `start`.
    fn heard(&self, start: Instant) -> Instant {
        answer("kubectl is told", SOON, || {
            let told = self.told.lock().unwrap();
            told.iter().find(|at| **at > start).copied()
        })
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        drop(self.kubectl.kill());
        drop(self.kubectl.wait());
    }
}

/// Opens and closes the measured project's way out in turns.
fn measure(lab: &Lab, probe: &Probe, minutes: u32, count: &AtomicU64, note: impl Fn()) -> Took {
    let mut took = Took::default();
    let watcher = Watcher::start(lab);
    let end = Instant::now() + Duration::from_mins(1) * minutes;
    let mut next_note = Instant::now();
    for round in 0_u64.. {
        if Instant::now() >= end {
            break;
        }
        for open in [true, false] {
            let text = policy("measured", round * 2 + u64::from(!open), open);
            probe.arrivals().clear();
            let start = Instant::now();
            lab.apply(&text, "soak").unwrap();
            let written = start.elapsed().as_secs_f64() * 1e3;
            count.fetch_add(1, Ordering::Relaxed);
            let latency = if open {
                probe.first_since(start)
            } else {
                probe.last_since(start)
            };
            let latency = latency.unwrap_or_else(|error| {
                explain(lab);
                panic!("{open}, {round}, written after {written} ms: {error}");
            });
            let heard = (watcher.heard(start) - start).as_secs_f64() * 1e3;
            let server = written.max(heard);
            took.server.push(server);
            took.agent.push((latency - server).max(0.0));
            let all = if open {
                &mut took.opened
            } else {
                &mut took.closed
            };
            all.push(latency);
        }
        if Instant::now() >= next_note {
            note();
            next_note += Duration::from_secs(10);
        }
    }
    took
}

/// What the node knows, for who reads of a change that was not enforced.
fn explain(lab: &Lab) {
    let log = std::fs::read_to_string(lab.log("node1")).unwrap();
    let lines: Vec<_> = log.lines().collect();
    let end = &lines[lines.len().saturating_sub(40)..];
    println!("--- log of node1\n{}", end.join("\n"));
    let probed = format!("{TOGGLED}:9/udp");
    let questions: [&[&str]; 4] = [
        &["status"],
        &["get", "egress-policies", "measured", "--rules"],
        &["explain", "--from", "measured/pod", "--to", &probed],
        &["metrics"],
    ];
    for args in questions {
        let output = lab.weft(Some("node1")).unwrap().args(args).output();
        let output = output.unwrap();
        let said = [output.stdout, output.stderr].concat();
        println!("--- weft {args:?}\n{}", String::from_utf8_lossy(&said));
    }
    let kept = lab
        .objects()
        .get("EgressNetworkPolicy", "measured", "default");
    println!(
        "--- the policy\n{:?}",
        kept.map(|it| it.map(|it| it.value.to_string()))
    );
}

/// Which packets were lost, how evenly they were sent, and what the node dropped.
fn tell_losses(lab: &Lab, report: &Report) {
    println!("--- lost of {}: {:?}", report.sent, report.lost);
    println!(
        "--- refused {:?}, longest pause {:?}",
        report.refused, report.pause
    );
    let drops = lab
        .weft(Some("node1"))
        .unwrap()
        .args(["get", "drops"])
        .output();
    println!("{}", String::from_utf8_lossy(&drops.unwrap().stdout));
}

#[test]
#[ignore = "minutes of work of both processors (root): make soak"]
fn a_thousand_policies_a_minute() {
    let minutes = std::env::var("SOAK_MINUTES").map_or(4, |it| it.parse().unwrap());
    let options = Options {
        kubernetes: Some(KubernetesMode::Api),
        externals: vec![format!("web={ALLOWED},{TOGGLED},{DENIED}").parse().unwrap()],
        ..Options::default()
    };
    let name = format!("soak{:08x}", rand::random::<u32>())
        .parse()
        .unwrap();
    println!("policies: {minutes} minutes (SOAK_MINUTES), after about a minute of preparation");
    let lab = Ending(lab::up(&name, &options, Progress::SILENT).unwrap());
    let lab = &lab.0;
    lab.add_pod(&PodSpec::new("measured", "pod", "node1"))
        .unwrap();
    for n in 0..PROJECTS {
        let project = format!("soak-{n}");
        lab.add_pod(&PodSpec::new(&project, "pod", "node1"))
            .unwrap();
        lab.apply(&policy(&project, 0, true), "soak").unwrap();
    }
    let pod = lab.pod_netns("measured", "pod").unwrap();
    let web = lab.host_netns("web").unwrap();
    let agent = lab.status().unwrap().nodes[0].agent_pid.unwrap();
    let toggled: IpAddr = TOGGLED.parse().unwrap();
    let probe = Probe::between(&pod, &web, toggled).unwrap();

    let (done, sending) = (AtomicBool::new(false), AtomicBool::new(false));
    let (written, measured) = (AtomicU64::new(0), AtomicU64::new(0));
    let mut figures = Figures::of("policies");
    thread::scope(|scope| {
        let (sent, worked) = (Done(&sending), Done(&done));
        scope.spawn(|| probe.send(&sending));
        scope.spawn(|| probe.receive(&sending));
        // Closed once, so that what is measured starts under a policy.
        measure_once(lab, &probe);
        let allowed = Stream::start(&pod, &web, ALLOWED.parse().unwrap()).unwrap();
        let denied = Stream::start(&pod, &web, DENIED.parse().unwrap()).unwrap();
        let (start, used) = (Instant::now(), processor_time(agent));
        let writer = scope.spawn(|| write_policies(lab, &done, &written, &measured));
        let churn = scope.spawn(|| churn(lab, &done));
        let memory = std::cell::RefCell::new(Vec::new());
        let took = measure(lab, &probe, minutes, &measured, || {
            memory.borrow_mut().push(resident(agent));
            println!(
                "policies: {:.0} s: {} and {} policies written, agent {} KiB, {} allowed packets",
                start.elapsed().as_secs_f64(),
                written.load(Ordering::Relaxed),
                measured.load(Ordering::Relaxed),
                resident(agent),
                allowed.received(),
            );
        });
        let (ran, used) = (start.elapsed(), processor_time(agent).saturating_sub(used));
        let all = written.load(Ordering::Relaxed) + measured.load(Ordering::Relaxed);
        drop(worked);
        writer.join().unwrap();
        let pods = churn.join().unwrap();
        let (allowed, denied) = (allowed.finish().unwrap(), denied.finish().unwrap());
        drop(sent);

        let memory = memory.into_inner();
        // After the first half minute: by then every project's policy was replaced several times.
        let settled = memory[memory.len().min(4) - 1];
        let last = *memory.last().unwrap();
        let per_minute = number(all) * 60.0 / ran.as_secs_f64();
        figures.at_least("policies written a minute", per_minute, "", 950.0);
        for (took, [p50, p99]) in [
            (&took.opened, ["write to open, p50", "write to open, p99"]),
            (
                &took.closed,
                ["write to closed, p50", "write to closed, p99"],
            ),
        ] {
            figures.at_most(p50, percentile(took, 50), "ms", 200.0);
            figures.at_most(p99, percentile(took, 99), "ms", 1_000.0);
        }
        let (server, agent) = (&took.server, &took.agent);
        figures.plain("of that the server's, p99", percentile(server, 99), "ms");
        figures.at_most("the rest, p50", percentile(agent, 50), "ms", 100.0);
        figures.at_most("the rest, p99", percentile(agent, 99), "ms", 500.0);
        let changes = number(server.len());
        figures.at_least("measured changes", changes, "", 20.0);
        let share = used.as_secs_f64() / ran.as_secs_f64() * 100.0;
        figures.at_most("agent, of one processor", share, "%", 50.0);
        figures.plain("agent, resident at the end", number(last) / 1024.0, "MiB");
        let grown = number(last.saturating_sub(settled)) / 1024.0;
        figures.at_most(
            "agent, grown after the first half minute",
            grown,
            "MiB",
            8.0,
        );
        figures.at_least("allowed packets", number(allowed.sent), "", 10_000.0);
        if !allowed.lost.is_empty() {
            tell_losses(lab, &allowed);
        }
        figures.at_most("allowed packets lost", number(allowed.lost.len()), "", 0.0);
        figures.at_least("denied packets", number(denied.sent), "", 10_000.0);
        let leaked = denied.sent - u64::try_from(denied.lost.len()).unwrap();
        figures.at_most("denied packets let out", number(leaked), "", 0.0);
        figures.at_least("pods attached and detached", number(pods.len()), "", 50.0);
        figures.at_most("making a pod, p99", percentile(&pods, 99), "ms", 2_000.0);
        let samples = json!({"toOpenMs": took.opened, "toClosedMs": took.closed, "serverMs": server, "restMs": agent, "podMs": pods, "residentKiB": memory});
        figures.finish(&samples);
    });
}

/// Until the measured project is closed.
fn measure_once(lab: &Lab, probe: &Probe) {
    let start = Instant::now();
    lab.apply(&policy("measured", 9_999, false), "soak")
        .unwrap();
    probe.last_since(start).unwrap();
}
