//! A caching resolver: dnsmasq.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::process::Command;
use std::time::Duration;

use hickory_proto::rr::RecordType;
use weft_netns::NetNs;
use weft_wait::patience::patient;

use super::PORT;
use super::daemon::{Daemon, Directory};
use super::exchange::{encode, over_udp, question};

/// A resolver inside a namespace, which asks one server and keeps its answers for their TTL; gone when dropped.
#[derive(Debug)]
pub struct Cache {
    _process: Daemon,
    _directory: Directory,
}

impl Cache {
    /// Answers on this address, which an interface of the namespace must have, before this returns. `upstream` must be
    /// there by then.
    pub fn start(netns: &NetNs, address: IpAddr, upstream: IpAddr) -> io::Result<Self> {
        let directory = Directory::create()?;
        let mut command = Command::new("dnsmasq");
        command
            .args(["--keep-in-foreground", "--conf-file=/dev/null"])
            .args(["--no-hosts", "--no-resolv", "--no-negcache"])
            .args(["--user=root", "--pid-file=", "--log-facility=-"])
            .args(["--bind-interfaces", "--edns-packet-max=4096"])
            .arg(format!("--listen-address={address}"))
            .arg(format!("--server={upstream}"));
        let at = SocketAddr::new(address, PORT);
        let answers = || {
            let ask = || -> io::Result<Vec<u8>> {
                let query = encode(&question("cache.invalid", RecordType::A)?)?;
                over_udp(at, &query, patient(Duration::from_millis(200)))
            };
            netns.run(ask).is_ok_and(|answer| answer.is_ok())
        };
        let process = Daemon::start(command, netns, &directory.file("log"), answers)?;
        Ok(Self {
            _process: process,
            _directory: directory,
        })
    }
}
