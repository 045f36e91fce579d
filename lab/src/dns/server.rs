//! An authoritative name server: Knot DNS.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use weft_netns::NetNs;
use weft_wait::patience::patient;

use super::daemon::{Daemon, Directory, run};
use super::exchange::{decode, encode, over_tcp, over_udp, question};
use super::{Change, PORT};

/// How long it may take to answer on a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);
/// Larger updates go over TCP.
const DATAGRAM: usize = 1_200;

/// A server inside a namespace, with zones that are empty at first; gone when dropped. Several may run side by side.
#[derive(Debug)]
pub struct Server {
    netns: NetNs,
    address: SocketAddr,
    zones: Vec<String>,
    // Ended before its directory is removed: fields drop in this order.
    process: Option<Daemon>,
    directory: Directory,
}

impl Server {
    /// Answers on these addresses, which the namespace must have, before this returns.
    pub fn start(netns: &NetNs, addresses: &[IpAddr], zones: &[&str]) -> io::Result<Self> {
        let first = addresses.first().ok_or(io::ErrorKind::InvalidInput)?;
        let directory = Directory::create()?;
        for zone in zones {
            directory.write(&file(zone), EMPTY)?;
        }
        let path = directory.file("");
        directory.write("knot.conf", &configuration(&path, addresses, zones))?;
        let mut server = Self {
            netns: netns.try_clone().map_err(io::Error::other)?,
            address: SocketAddr::new(*first, PORT),
            zones: zones.iter().map(|zone| (*zone).to_owned()).collect(),
            process: None,
            directory,
        };
        server.start_again()?;
        Ok(server)
    }

    /// Its first address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Makes a change; every answer from now on has it.
    pub fn change(&self, change: &Change) -> io::Result<()> {
        let update = encode(&change.message()?)?;
        let send = || {
            if update.len() > DATAGRAM {
                over_tcp(self.address, &update, patient(PATIENCE))
            } else {
                over_udp(self.address, &update, patient(PATIENCE))
            }
        };
        let answer = decode(&self.netns.run(send).map_err(io::Error::other)??)?;
        match answer.metadata.response_code {
            ResponseCode::NoError => Ok(()),
            code => Err(io::Error::other(format!("{change:?} is refused: {code}"))),
        }
    }

    /// Every question about the zone is answered by SERVFAIL.
    pub fn fail(&self, zone: &str) -> io::Result<()> {
        self.flush()?;
        self.control(&["zone-purge", zone, "+expire"])
    }

    /// Ends all [`Server::fail`].
    pub fn heal(&self) -> io::Result<()> {
        self.control(&["reload"])?;
        self.wait()
    }

    /// Ends the server; the port is closed. What it knew is kept.
    pub fn stop(&mut self) -> io::Result<()> {
        self.flush()?;
        self.process = None;
        Ok(())
    }

    /// Starts it after a [`Server::stop`].
    pub fn start_again(&mut self) -> io::Result<()> {
        let mut command = Command::new("knotd");
        command.arg("-c").arg(self.directory.file("knot.conf"));
        let log = self.directory.file("log");
        let answers = || self.loaded();
        self.process = Some(Daemon::start(command, &self.netns, &log, answers)?);
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        let zones: Vec<&str> = self.zones.iter().map(String::as_str).collect();
        self.control(&[&["zone-flush"], &zones[..]].concat())
    }

    /// Runs `knotc`, and waits until the server has done what it is told.
    fn control(&self, args: &[&str]) -> io::Result<()> {
        let mut knotc = Command::new("knotc");
        knotc.arg("-c").arg(self.directory.file("knot.conf"));
        run(knotc.args(["-b", "-f"]).args(args))
    }

    fn wait(&self) -> io::Result<()> {
        let deadline = Instant::now() + patient(PATIENCE);
        while !self.loaded() {
            if Instant::now() >= deadline {
                return Err(io::Error::other("the zones do not come back"));
            }
        }
        Ok(())
    }

    /// Whether it answers for every zone.
    fn loaded(&self) -> bool {
        let ask = |zone: &String| -> io::Result<bool> {
            let query = encode(&question(zone, RecordType::SOA)?)?;
            let glance = patient(Duration::from_millis(200));
            let answer = decode(&over_udp(self.address, &query, glance)?)?;
            Ok(answer.metadata.response_code == ResponseCode::NoError)
        };
        let all = || self.zones.iter().all(|zone| ask(zone).unwrap_or(false));
        self.netns.run(all).unwrap_or(false)
    }
}

fn file(zone: &str) -> String {
    format!("{zone}.zone")
}

const EMPTY: &str = "@ 1 SOA ns 0 1 1 1 1 1\n@ 1 NS ns\nns 1 A 192.0.2.1\n";

/// Nothing is written to disk at a change: records are as old as the last flush, and a change takes a millisecond.
fn configuration(directory: &Path, addresses: &[IpAddr], zones: &[&str]) -> String {
    let directory = directory.display();
    let listen: Vec<String> = addresses.iter().map(|ip| format!("{ip}@{PORT}")).collect();
    let zones: Vec<String> = zones
        .iter()
        .map(|zone| format!("  - domain: \"{zone}\"\n    file: \"{}\"\n", file(zone)))
        .collect();
    format!(
        r#"server:
    rundir: "{directory}"
    listen: [ {} ]
    udp-workers: 1
    tcp-workers: 2
    background-workers: 1
    udp-max-payload: 4096
log:
  - target: stderr
    any: notice
database:
    storage: "{directory}"
acl:
  - id: anybody
    action: update
template:
  - id: default
    storage: "{directory}"
    acl: anybody
    journal-content: none
    zonefile-load: whole
    zonefile-sync: -1
zone:
{}"#,
        listen.join(", "),
        zones.concat()
    )
}
