//! From an operator's command to the changed verdict on the wire.

use std::io::ErrorKind;
use std::net::{IpAddr, UdpSocket};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use weft_netns::NetNs;

use super::attach::{Attach as _, Pod};
use super::cluster::{Cluster, Node};
use super::report::{Goal, Row, Table};
use super::{Options, PROJECTS};

/// Between two packets of a probe: the resolution of the measurement.
const INTERVAL: Duration = Duration::from_micros(500);
/// A probe that delivered nothing for so long is cut off.
const SILENCE: Duration = Duration::from_millis(200);
/// When to give up on a change.
const PATIENCE: Duration = Duration::from_secs(10);

/// A stream of small UDP packets; when each arrived.
pub struct Probe {
    near: UdpSocket,
    far: UdpSocket,
    arrivals: Mutex<Vec<Instant>>,
}

impl Probe {
    /// From one namespace to an address in the other.
    pub fn between(client: &NetNs, server: &NetNs, address: IpAddr) -> Result<Self> {
        let far = server
            .run(|| UdpSocket::bind((address, 0)))?
            .with_context(|| format!("bind to {address}"))?;
        let to = far.local_addr()?;
        far.set_read_timeout(Some(Duration::from_millis(20)))?;
        let near = client.run(|| -> std::io::Result<UdpSocket> {
            let socket = UdpSocket::bind((if address.is_ipv4() { "0.0.0.0" } else { "::" }, 0))?;
            socket.connect(to)?;
            Ok(socket)
        })??;
        Ok(Self {
            near,
            far,
            arrivals: Mutex::default(),
        })
    }

    /// Sends until it is done.
    pub fn send(&self, done: &AtomicBool) {
        while !done.load(Ordering::Relaxed) {
            // A refused packet is an outcome like a dropped one.
            drop(self.near.send(&[0x5a; 16]));
            thread::sleep(INTERVAL);
        }
    }

    /// Notes arrivals until it is done.
    pub fn receive(&self, done: &AtomicBool) -> Result<()> {
        let mut buffer = [0; 64];
        while !done.load(Ordering::Relaxed) {
            match self.far.recv(&mut buffer) {
                Ok(_) => self.arrivals().push(Instant::now()),
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(e) => return Err(e).context("receive a probe"),
            }
        }
        Ok(())
    }

    /// When each packet arrived.
    pub fn arrivals(&self) -> std::sync::MutexGuard<'_, Vec<Instant>> {
        self.arrivals
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Milliseconds from `start` to the first packet that arrived after it.
    pub fn first_since(&self, start: Instant) -> Result<f64> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let first = self.arrivals().iter().copied().find(|at| *at > start);
            if let Some(at) = first {
                return Ok((at - start).as_secs_f64() * 1e3);
            }
            ensure!(
                Instant::now() < deadline,
                "no packet arrived within {PATIENCE:?} of the join"
            );
            thread::sleep(INTERVAL);
        }
    }

    /// Milliseconds from `start` to the last packet that arrived before the silence.
    pub fn last_since(&self, start: Instant) -> Result<f64> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let last = self.arrivals().last().copied().unwrap_or(start).max(start);
            if last.elapsed() > SILENCE {
                return Ok((last - start).as_secs_f64() * 1e3);
            }
            ensure!(
                Instant::now() < deadline,
                "packets still arrive {PATIENCE:?} after the isolation"
            );
            thread::sleep(INTERVAL);
        }
    }
}

/// Joins and isolates two projects again and again, under traffic to a pod on the same node and to one on another.
pub fn run(options: &Options, cluster: &Cluster) -> Result<Table> {
    let nodes = [cluster.node("node1")?, cluster.node("node2")?];
    let plugins = [nodes[0].plugin()?, nodes[1].plugin()?];
    let places = [0, 0, 1];
    let pods = [
        Pod::create(PROJECTS[0])?,
        Pod::create(PROJECTS[1])?,
        Pod::create(PROJECTS[1])?,
    ];
    let mut probes = vec![];
    for (pod, place) in pods.iter().zip(places) {
        let address = plugins[place].add(pod)?.ips.first().copied();
        let address = address.context("the pod got no address")?;
        if !std::ptr::eq(pod, &raw const pods[0]) {
            probes.push(Probe::between(&pods[0].ns, &pod.ns, address)?);
        }
    }
    let done = AtomicBool::new(false);
    let rows = thread::scope(|scope| -> Result<Vec<Row>> {
        for probe in &probes {
            scope.spawn(|| probe.send(&done));
            scope.spawn(|| probe.receive(&done));
        }
        let rows = rounds(options, cluster, &nodes[0], &probes);
        done.store(true, Ordering::Relaxed);
        rows
    })?;
    for (pod, place) in pods.iter().zip(places) {
        plugins[place].del(pod)?;
    }
    let goals = rows[..2].iter().flat_map(|row| {
        [(0, "same node"), (1, "other node")].map(|(subject, place)| {
            Goal::at_most(format!("{}, {place}", row.name), row.value(subject), 50.0)
        })
    });
    Ok(Table {
        title: "From command to verdict".into(),
        how: format!(
            "`weft pod-network` on one node, under UDP traffic with a packet every {} us, from the command's start to \
             the first packet that passes, or the last; medians of {}.",
            INTERVAL.as_micros(),
            options.rounds
        ),
        subjects: ["pod on the same node", "pod on another node"]
            .map(String::from)
            .into(),
        ratios: vec![],
        goals: goals.collect(),
        rows,
    })
}

fn rounds(options: &Options, cluster: &Cluster, node: &Node, probes: &[Probe]) -> Result<Vec<Row>> {
    let [first, second] = PROJECTS;
    let to = format!("--to={first}");
    let mut rows = [
        "join-projects, ms",
        "isolate-projects, ms",
        "the command itself, ms",
    ]
    .map(|name| Row::new(name, probes.len()));
    for round in 0..=options.rounds {
        for (step, args) in [
            vec!["pod-network", "join-projects", &to, second],
            vec!["pod-network", "isolate-projects", second],
        ]
        .iter()
        .enumerate()
        {
            for probe in probes {
                probe.arrivals().clear();
            }
            let start = Instant::now();
            cluster.weft(node, args)?;
            let command = start.elapsed().as_secs_f64() * 1e3;
            for (subject, probe) in probes.iter().enumerate() {
                let took = match step {
                    0 => probe.first_since(start)?,
                    _ => probe.last_since(start)?,
                };
                // The first round only warms up.
                if round > 0 {
                    rows[step].samples[subject].push(took);
                    rows[2].samples[subject].push(command);
                }
            }
        }
    }
    Ok(rows.into())
}
