//! The agent's sync loop in a namespace of its own, with the objects of a large cluster.

use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use weft_agent::cni::DataPath as _;
use weft_agent::dns;
use weft_agent::ingest::{Event, Intake};
use weft_agent::netlink::Netlink;
use weft_agent::observe::node::{self, Choice};
use weft_agent::store::Delta;
use weft_agent::sync::{self, Handle, Request, Running};
use weft_core::model::{Endpoint, EndpointId, World};
use weft_netns::NetNs;

use super::objects::{self, PODS};
use crate::space;

/// For whatever is asked of the loop.
const PATIENCE: Duration = Duration::from_secs(20);

/// The loop at work; it ends, and its pins go, when this is dropped.
pub struct Rig {
    running: Option<Running>,
    intake: Mutex<Intake>,
    node: NetNs,
    pins: PathBuf,
}

/// Attaches pods of the rig's node.
pub struct Pods {
    handle: Handle,
    index: u32,
}

impl Rig {
    /// A node with its pods, once everything is in force.
    pub fn start() -> Result<Self> {
        let node = space::create_node()?;
        let mut batch = vec![
            "link add eth0 type ifb".to_owned(),
            "link set eth0 up".to_owned(),
            format!("address add {}/16 dev eth0", objects::underlay(0)),
        ];
        // One more than the pods that stay: it is attached and detached.
        let pair = |n| format!("link add {} type veth peer name peer{n}", veth(n));
        batch.extend((0..=PODS).map(pair));
        batch.push(String::new());
        space::ip(&node, &batch.join("\n"))?;
        // The same in every run, so that the next one clears what a killed run left.
        let pins = PathBuf::from("/sys/fs/bpf/weft-bench-changes");
        if pins.exists() {
            std::fs::remove_dir_all(&pins).with_context(|| format!("remove {}", pins.display()))?;
        }
        let running = node.run(|| -> Result<Running> {
            let choice = Choice {
                name: objects::node(0),
                ip: Some(objects::underlay(0).into()),
                interface: None,
            };
            let underlay = node::observe(&mut Netlink::open()?, &choice)?;
            let world = World::new(underlay.node.clone());
            // Nobody is there to answer, and no policy of a project with pods has a name.
            let dns = dns::Settings {
                servers: Some(vec![([127, 0, 0, 1], 53).into()]),
                ..dns::Settings::default()
            };
            Ok(sync::spawn(&pins, world, underlay, dns, Vec::new())?)
        })??;
        let rig = Self {
            running: Some(running),
            intake: Mutex::default(),
            node,
            pins,
        };
        rig.fill()?;
        Ok(rig)
    }

    fn fill(&self) -> Result<()> {
        self.take_all(objects::all())?;
        self.tell(Event::Synced)?;
        self.settle()?;
        self.sound()?;
        for n in 0..PODS {
            let pods = Pods {
                handle: self.loop_handle()?,
                index: self.index(n)?,
            };
            pods.put(n, n)?;
        }
        Ok(())
    }

    fn loop_handle(&self) -> Result<Handle> {
        let running = self.running.as_ref();
        Ok(running.context("the loop has ended")?.handle.clone())
    }

    /// Interface index of a pod's host side.
    fn index(&self, n: usize) -> Result<u32> {
        let found = self
            .node
            .run(|| nix::net::if_::if_nametoindex(veth(n).as_str()))?;
        found.with_context(|| format!("find {}", veth(n)))
    }

    /// Takes an object in, and waits until what it changes is in force.
    pub fn take(&self, delta: Delta) -> Result<()> {
        self.take_all(vec![delta])?;
        self.settle()
    }

    fn take_all(&self, deltas: Vec<Delta>) -> Result<()> {
        let changes = {
            let mut intake = self
                .intake
                .lock()
                .map_err(|_| anyhow!("a thread panicked"))?;
            let changes = intake.take(deltas);
            let problems = intake.problems();
            ensure!(problems.is_empty(), "the objects are wrong: {problems:?}");
            changes
        };
        ensure!(!changes.is_empty(), "an object that changes nothing");
        self.tell(Event::Changes(changes))
    }

    fn tell(&self, event: Event) -> Result<()> {
        let sent = self.loop_handle()?.requests().send(Request::Ingest(event));
        sent.map_err(|_| anyhow!("the loop has ended"))
    }

    /// Waits until the loop has done all that it was asked for.
    pub fn settle(&self) -> Result<()> {
        let answer = self.loop_handle()?.read(|_| ());
        answer.context("the loop does not answer")
    }

    /// Full passes so far.
    pub fn passes(&self) -> u64 {
        let running = self.running.as_ref();
        running.map_or(0, |it| it.handle.shared().pass().passes)
    }

    /// An error if anything is not in force as it should be.
    pub fn sound(&self) -> Result<()> {
        let shared = self.loop_handle()?;
        let shared = shared.shared();
        let problems = shared.problems();
        if !problems.is_empty() || shared.pass().passes == 0 {
            bail!("the node is not in order: {problems:?}");
        }
        Ok(())
    }

    /// To attach pods from another thread.
    pub fn pods(&self) -> Result<Pods> {
        Ok(Pods {
            handle: self.loop_handle()?,
            index: self.index(PODS)?,
        })
    }
}

impl Pods {
    /// Attaches a pod to a project, and detaches it again. How long the first took.
    pub fn attach(&self, round: usize) -> Result<Duration> {
        let start = Instant::now();
        let id = self.put(PODS, round % PODS)?;
        let took = start.elapsed();
        self.handle.detach(&id, Instant::now() + PATIENCE)?;
        Ok(took)
    }

    fn put(&self, n: usize, project: usize) -> Result<EndpointId> {
        let id = EndpointId {
            container: format!("{n:064x}"),
            ifname: "eth0".into(),
        };
        let [_, _, high, low] = objects::pod(n).octets();
        let endpoint = Endpoint {
            id: id.clone(),
            project: objects::project_name(project),
            pod: format!("pod{n}"),
            addresses: vec![objects::pod(n).into()],
            mac: [0x0a, 0x58, 0, 0, high, low],
            host_ifname: veth(n),
            host_ifindex: self.index,
        };
        self.handle.attach(endpoint, Instant::now() + PATIENCE)?;
        Ok(id)
    }
}

fn veth(n: usize) -> String {
    format!("weft{n:08x}")
}

impl Drop for Rig {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            running.handle.stop();
            drop(running.thread.join());
        }
        if let Err(error) = std::fs::remove_dir_all(&self.pins) {
            eprintln!("weft-bench: remove {}: {error}", self.pins.display());
        }
    }
}
