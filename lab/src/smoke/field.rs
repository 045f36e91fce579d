//! The lab of the smoke, and questions to it: who reaches whom, and why not.

mod policy;

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Error, Result, ensure};
use aya::maps::{MapInfo, loaded_maps};
use weft_agent::api::view;
use weft_ebpf::ABI;
use weft_netns::NetNs;
use weft_wait::patience::patient;

use super::machine;
use crate::cli::interrupt::Interrupt;
use crate::dns::{Change, Server};
use crate::lab::name::netns_path;
use crate::lab::output::output_within;
use crate::lab::{self, Lab, LabName, Options, PodSpec, Progress};
use crate::probe::{self, Stream};

/// How long something may take that is to happen soon.
const SOON: Duration = Duration::from_secs(20);
/// How long a path is tried that is to be closed. That it was dropped is known from the counters, not from the silence.
const GLANCE: Duration = Duration::from_millis(100);
/// Packets of a stream: not more than an emulated machine carries.
const PERIOD: Duration = Duration::from_millis(20);
/// Packets that must have passed before and after what they are to survive.
const FLOWING: u64 = 20;

const DNS: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 53));
const ZONE: &str = "example.com";
const NAME: &str = "www.example.com";
const PORT: u16 = 80;
/// Host outside that the policy allows by its prefix.
pub(super) const PREFIX: IpAddr = web(7);
/// One that it does not allow.
pub(super) const OTHER: IpAddr = web(9);
/// The ones that the allowed name has, before and after it moves.
const NAMED: [IpAddr; 2] = [web(8), web(10)];

const fn web(host: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(198, 51, 100, host))
}

/// A lab, gone when dropped.
pub(super) struct Field {
    pub(super) lab: Lab,
    dns: Server,
    _web: probe::Server,
}

impl Field {
    pub(super) fn up(name: &LabName, interrupt: &Interrupt) -> Result<Self> {
        let externals = ["web=198.51.100.0/24", "dns=203.0.113.53"].map(str::parse);
        let options = Options {
            externals: externals
                .into_iter()
                .collect::<Result<_, String>>()
                .map_err(Error::msg)?,
            dns: vec![DNS],
            ..Options::default()
        };
        let cancelled = || interrupt.requested();
        let progress = Progress {
            say: &|_| {},
            cancelled: &cancelled,
        };
        let lab = lab::up(name, &options, progress)?;
        // From here on the lab goes with the value, also if this fails.
        let made = || -> Result<_> {
            let dns = Server::start(&lab.host_netns("dns")?, &[DNS], &[ZONE])
                .context("start a name server (knotd)")?;
            let change = Change::of(ZONE).addresses(NAME, 1, &NAMED[..1]);
            dns.change(&change)?;
            let web = probe::Server::start(&lab.host_netns("web")?, PORT, "web")?;
            Ok((dns, web))
        };
        match made() {
            Ok((dns, web)) => Ok(Self {
                lab,
                dns,
                _web: web,
            }),
            Err(error) => {
                // The first error says more.
                drop(lab.down());
                Err(error)
            }
        }
    }

    pub(super) fn preflight(&self) -> Result<String> {
        let mut weft = self.lab.weft(Some("node1"))?;
        weft.args(["preflight", "-o", "json"]);
        machine::all_well(&output_within(&mut weft, b"", patient(SOON))?)
    }

    pub(super) fn add_pods(&self) -> Result<String> {
        let mut figures = Vec::new();
        for (namespace, name, node) in [
            ("shop", "a", "node1"),
            ("shop", "b", "node2"),
            ("bank", "c", "node2"),
        ] {
            let begun = Instant::now();
            self.lab.add_pod(&PodSpec::new(namespace, name, node))?;
            figures.push(format!("{:.2} s", begun.elapsed().as_secs_f64()));
        }
        Ok(figures.join(", "))
    }

    /// Over both families, at once.
    pub(super) fn reaches(&self, from: &str, to: &str) -> Result<String> {
        for address in self.addresses(to)? {
            ensure!(
                self.ping(from, address, SOON)?,
                "{from} does not reach {to} at {address}"
            );
        }
        Ok(String::new())
    }

    /// Over both families, as soon as what was ordered has come about.
    pub(super) fn reaches_soon(&self, from: &str, to: &str) -> Result<String> {
        for address in self.addresses(to)? {
            soon(&format!("{from} reaches {to} at {address}"), || {
                self.ping(from, address, GLANCE)
            })?;
        }
        Ok(String::new())
    }

    /// Over neither family, and the receiver's node counted the packets as those of another project.
    pub(super) fn apart(&self, from: &str, to: &str) -> Result<String> {
        for address in self.addresses(to)? {
            let before = self.isolated()?;
            ensure!(
                !self.ping(from, address, GLANCE)?,
                "{from} reaches {to} at {address}, which is of another project"
            );
            soon(
                &format!("the drop of {from} -> {address} is counted"),
                || Ok(self.isolated()? > before),
            )?;
        }
        Ok(String::new())
    }

    /// As [`Self::apart`], as soon as what was ordered has come about.
    pub(super) fn closes(&self, from: &str, to: &str) -> Result<String> {
        for address in self.addresses(to)? {
            soon(&format!("{from} is kept from {to} at {address}"), || {
                Ok(!self.ping(from, address, GLANCE)?)
            })?;
        }
        self.apart(from, to)
    }

    fn addresses(&self, pod: &str) -> Result<Vec<IpAddr>> {
        let (namespace, name) = split(pod)?;
        let addresses = self.lab.state()?.pod(namespace, name)?.ips.clone();
        let families: BTreeSet<_> = addresses.iter().map(IpAddr::is_ipv6).collect();
        ensure!(
            families.len() == 2,
            "{pod} has {addresses:?}, not both families"
        );
        Ok(addresses)
    }

    /// One echo request.
    fn ping(&self, from: &str, to: IpAddr, patience: Duration) -> Result<bool> {
        let (namespace, name) = split(from)?;
        let mut ping = self.lab.in_pod(namespace, name, "ping")?;
        let wait = patient(patience).as_secs_f64().to_string();
        ping.args(["-n", "-c", "1", "-W", &wait, &to.to_string()]);
        let said = output_within(&mut ping, b"", patient(SOON + patience))?;
        // Exit code 1: no answer, and ping says how many; anything else it could not do.
        ensure!(
            said.success || said.stdout.contains("100% packet loss"),
            "ping {to} in {from}: {} {}",
            said.stdout,
            said.stderr
        );
        Ok(said.success)
    }

    /// Packets that the second node dropped because of their project.
    fn isolated(&self) -> Result<u64> {
        let mut weft = self.lab.weft(Some("node2"))?;
        weft.args(["get", "drops", "-o", "json"]);
        let said = output_within(&mut weft, b"", patient(SOON))?;
        let drops: view::Drops = serde_json::from_str(&said.stdout)
            .with_context(|| format!("weft get drops: {} {}", said.stdout, said.stderr))?;
        let found = drops.reasons.iter().find(|row| row.reason == "Isolated");
        Ok(found.map_or(0, |row| row.packets))
    }

    pub(super) fn pod_network(&self, arguments: &[&str]) -> Result<()> {
        let mut weft = self.lab.weft(Some("node1"))?;
        weft.arg("pod-network").args(arguments);
        let said = output_within(&mut weft, b"", patient(SOON))?;
        ensure!(said.success, "weft pod-network: {}", said.stderr);
        Ok(())
    }

    /// Does something while packets flow; all of them arrive.
    pub(super) fn unharmed(
        &self,
        from: &str,
        to: &str,
        work: impl FnOnce(&Self) -> Result<()>,
    ) -> Result<String> {
        let netns = |pod: &str| -> Result<NetNs> {
            let (namespace, name) = split(pod)?;
            Ok(self.lab.pod_netns(namespace, name)?)
        };
        let (source, target) = (netns(from)?, netns(to)?);
        let mut streams = Vec::new();
        for address in self.addresses(to)? {
            streams.push(Stream::paced(&source, &target, address, PERIOD)?);
        }
        let more = |than: &[u64]| {
            soon("the streams flow", || {
                let received = streams.iter().map(Stream::received);
                Ok(received.zip(than).all(|(now, then)| now > then + FLOWING))
            })
        };
        more(&[0, 0])?;
        work(self)?;
        let after: Vec<u64> = streams.iter().map(Stream::received).collect();
        more(&after)?;
        let mut sent = 0;
        for stream in streams {
            let report = stream.finish()?;
            ensure!(
                report.lost.is_empty() && report.duplicates == 0 && report.refused.is_none(),
                "{from} -> {to}: of {} packets {} are lost, {} came twice, refused: {:?}",
                report.sent,
                report.lost.len(),
                report.duplicates,
                report.refused
            );
            sent += report.sent;
        }
        Ok(format!("{sent} packets"))
    }

    /// What is pinned on the first node becomes the work of another version: programs and links stay as they are.
    pub(super) fn pins_become(&self, abi: u32) -> Result<()> {
        let folder = self.pins()?;
        let at = |abi: u32| folder.join(format!("v{abi}"));
        fs::rename(at(ABI), at(abi)).context("rename the folder of pins")
    }

    pub(super) fn pins_are_of(&self, abi: u32) -> Result<()> {
        let folder = self.pins()?;
        soon(&format!("only pins of ABI {abi} are left"), || {
            let entries = fs::read_dir(&folder).context("list pins")?;
            let names: Vec<_> = entries.flatten().map(|entry| entry.file_name()).collect();
            Ok(names == [format!("v{abi}").as_str()])
        })
    }

    fn pins(&self) -> Result<PathBuf> {
        let status = self.lab.status()?;
        let node = status.nodes.first().context("the lab has no node")?;
        Ok(node.bpf_dir.clone())
    }

    pub(super) fn healthy(&self) -> Result<String> {
        self.reaches("shop/a", "shop/b")?;
        self.reaches("shop/b", "shop/a")?;
        self.denied(OTHER)?;
        for node in ["node1", "node2"] {
            let mut weft = self.lab.weft(Some(node))?;
            weft.args(["status", "-o", "json"]);
            let said = output_within(&mut weft, b"", patient(SOON))?;
            let status: view::Status = serde_json::from_str(&said.stdout)
                .with_context(|| format!("weft status on {node}: {}", said.stderr))?;
            ensure!(
                status.ready && status.problems.is_empty(),
                "{node} is {}, problems: {:?}",
                if status.ready { "ready" } else { "not ready" },
                status.problems
            );
        }
        Ok(String::new())
    }

    /// Ends the lab. Its namespaces, and with them their links, its files and its maps in the kernel are gone.
    pub(super) fn down(&mut self) -> Result<String> {
        let state = self.lab.state()?;
        let directory = self.lab.name().dir();
        let maps = self.maps()?;
        ensure!(!maps.is_empty(), "the first node has no pinned maps");
        self.dns.stop()?;
        self.lab.down()?;
        for netns in state.namespaces() {
            let path = netns_path(netns);
            ensure!(!path.exists(), "{} is left", path.display());
        }
        ensure!(!directory.exists(), "{} is left", directory.display());
        // The kernel frees them some time after their last user.
        soon("the kernel has freed the maps", || {
            let left = loaded_maps().filter_map(Result::ok).map(|map| map.id());
            Ok(left.filter(|id| maps.contains(id)).count() == 0)
        })?;
        Ok(format!("{} maps of a node freed", maps.len()))
    }

    /// Numbers of the first node's maps.
    fn maps(&self) -> Result<BTreeSet<u32>> {
        let folder = self.pins()?.join(format!("v{ABI}/maps"));
        let entries = fs::read_dir(&folder).context("list pinned maps")?;
        let id = |entry: fs::DirEntry| Ok(MapInfo::from_pin(entry.path())?.id());
        entries.flatten().map(id).collect()
    }
}

impl Drop for Field {
    fn drop(&mut self) {
        // After a `down` of its own there is nothing left to do.
        if let Err(error) = lab::down(self.lab.name()) {
            eprintln!("weft-lab: {error}");
        }
    }
}

fn split(pod: &str) -> Result<(&str, &str)> {
    pod.split_once('/').context("not NAMESPACE/NAME")
}

/// Asks until it is so.
fn soon(what: &str, mut is: impl FnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + patient(SOON);
    while !is()? {
        ensure!(
            Instant::now() < deadline,
            "not within {:?}: {what}",
            patient(SOON)
        );
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
