//! Who talks to whom: servers that tell where a request came from, and requests of three protocols.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use weft_agent::api::view;
use weft_lab::probe::{self, Outcome, Server};
use weft_netns::NetNs;
use weft_wait::SOON;

use crate::cluster::{Cluster, Pod, now};
use crate::icmp::ping;

/// Where every server listens.
pub const PORT: u16 = 7000;
/// How long a denied connection is tried; that it was dropped is known from the node, not from the silence.
const GLANCE: Duration = Duration::from_millis(60);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Tcp,
    Udp,
    Icmp,
}

impl Protocol {
    pub const ALL: [Self; 3] = [Self::Tcp, Self::Udp, Self::Icmp];

    /// As events spell it.
    fn name(self, ipv6: bool) -> &'static str {
        match (self, ipv6) {
            (Self::Tcp, _) => "TCP",
            (Self::Udp, _) => "UDP",
            (Self::Icmp, false) => "ICMP",
            (Self::Icmp, true) => "ICMPv6",
        }
    }
}

/// A pod, node or external host with servers on it.
pub struct Party {
    pub name: String,
    pub netns: NetNs,
    /// At which it is asked.
    pub ips: Vec<IpAddr>,
    _tcp: Server,
    udp: Echo,
}

impl Party {
    pub fn of_pod(pod: &Pod) -> Self {
        let netns = pod.netns.try_clone().unwrap();
        Self::new(pod.label(), netns, pod.ips.clone())
    }

    /// A node or external host, asked at these addresses.
    pub fn of_host(cluster: &Cluster, name: &str, ips: Vec<IpAddr>) -> Self {
        Self::new(name.into(), cluster.host_netns(name).unwrap(), ips)
    }

    fn new(name: String, netns: NetNs, ips: Vec<IpAddr>) -> Self {
        Self {
            _tcp: Server::start(&netns, PORT, &name).unwrap(),
            udp: Echo::start(&netns, &ips, &name),
            name,
            netns,
            ips,
        }
    }

    /// Its address of a family.
    pub fn ip(&self, ipv6: bool) -> IpAddr {
        let found = self.ips.iter().find(|ip| ip.is_ipv6() == ipv6);
        *found.unwrap_or_else(|| panic!("{} has no such address", self.name))
    }

    /// Whether a datagram of this sender ever arrived.
    pub fn heard(&self, sender: SocketAddr) -> bool {
        self.udp.heard.lock().unwrap().contains(&sender)
    }
}

impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// UDP: answers each datagram with `NAME PEER-ADDRESS`, from the address it was sent to.
struct Echo {
    stop: Arc<AtomicBool>,
    heard: Arc<Mutex<BTreeSet<SocketAddr>>>,
    threads: Vec<JoinHandle<()>>,
}

impl Echo {
    fn start(netns: &NetNs, ips: &[IpAddr], name: &str) -> Self {
        let (stop, heard) = (Arc::default(), Arc::default());
        let serve = |ip: &IpAddr| {
            let bind = || UdpSocket::bind((*ip, PORT));
            let socket = netns.run(bind).unwrap().unwrap();
            let (stop, heard) = (Arc::clone(&stop), Arc::clone(&heard));
            let name = name.to_owned();
            thread::spawn(move || answer(&socket, &name, &stop, &heard))
        };
        let threads = ips.iter().map(serve).collect();
        Self {
            stop,
            heard,
            threads,
        }
    }
}

fn answer(socket: &UdpSocket, name: &str, stop: &AtomicBool, heard: &Mutex<BTreeSet<SocketAddr>>) {
    let wait = Some(Duration::from_millis(50));
    socket.set_read_timeout(wait).unwrap();
    let mut buffer = [0; 64];
    while !stop.load(Ordering::Relaxed) {
        let Ok((_, peer)) = socket.recv_from(&mut buffer) else {
            continue;
        };
        heard.lock().unwrap().insert(peer);
        // A sender that went away has its own error to report.
        drop(socket.send_to(format!("{name} {}", peer.ip()).as_bytes(), peer));
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            drop(thread.join());
        }
    }
}

/// A datagram socket towards one address; `source` empty leaves its own address to the kernel.
pub fn udp_socket(from: &NetNs, source: Option<IpAddr>, to: SocketAddr) -> UdpSocket {
    let any = if to.is_ipv6() { "::" } else { "0.0.0.0" };
    let source = source.unwrap_or_else(|| any.parse().unwrap());
    let open = || -> io::Result<UdpSocket> {
        let socket = UdpSocket::bind((source, 0))?;
        socket.connect(to)?;
        Ok(socket)
    };
    from.run(open).unwrap().unwrap()
}

/// One datagram and its answer.
pub fn udp(from: &NetNs, source: Option<IpAddr>, to: SocketAddr, patience: Duration) -> Outcome {
    let socket = udp_socket(from, source, to);
    let mut buffer = [0; 64];
    socket.set_read_timeout(Some(patience)).unwrap();
    let said = socket
        .send(b"?")
        .and_then(|_| socket.recv(&mut buffer))
        .map(|length| String::from_utf8_lossy(&buffer[..length]).into_owned());
    match said.map_err(|error| (error.kind(), error)) {
        Ok(line) => {
            let (server, peer) = line.rsplit_once(' ').unwrap();
            Outcome::Reached {
                peer_seen: peer.parse().unwrap(),
                server: server.into(),
            }
        }
        Err((io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut, _)) => Outcome::Silent,
        Err((io::ErrorKind::ConnectionRefused, _)) => Outcome::Refused,
        Err((_, error)) => Outcome::Failed(error.to_string()),
    }
}

/// All three protocols get through, the server is the one that was meant, and it saw the sender as `peer`.
pub fn reaches(from: &Party, to: &Party, address: IpAddr, peer: IpAddr) {
    let at = SocketAddr::new(address, PORT);
    let expected = Outcome::Reached {
        peer_seen: peer,
        server: to.name.clone(),
    };
    let tcp = probe::tcp(&from.netns, at, SOON).unwrap();
    assert_eq!(tcp, expected, "TCP {from} -> {to} at {address}");
    let udp = udp(&from.netns, None, at, SOON);
    assert_eq!(udp, expected, "UDP {from} -> {to} at {address}");
    let answered = ping(&from.netns, address, SOON);
    assert!(answered, "ICMP {from} -> {to} at {address}");
}

/// Where a packet is judged.
#[derive(Clone, Copy)]
pub struct Judge<'a> {
    pub node: &'a str,
    pub hook: &'a str,
    pub reason: &'a str,
}

/// None of the three protocols gets through; the node says why, and counts it. Returns the last event.
pub fn denied(
    cluster: &Cluster,
    from: &Party,
    to: &Party,
    ipv6: bool,
    judge: Judge<'_>,
) -> view::Drop {
    let (source, target) = (from.ip(ipv6), to.ip(ipv6));
    let at = SocketAddr::new(target, PORT);
    let before = cluster.count(judge.node, judge.reason);
    let events = Protocol::ALL.map(|protocol| {
        let since = now();
        let name = protocol.name(ipv6);
        let mut port = 0;
        match protocol {
            Protocol::Tcp => {
                let outcome = probe::tcp(&from.netns, at, GLANCE).unwrap();
                assert_eq!(outcome, Outcome::Silent, "TCP {from} -> {to}");
            }
            Protocol::Udp => {
                let socket = udp_socket(&from.netns, None, at);
                socket.send(b"?").unwrap();
                port = socket.local_addr().unwrap().port();
            }
            Protocol::Icmp => {
                assert!(!ping(&from.netns, target, GLANCE), "ICMP {from} -> {to}");
            }
        }
        let what = format!("{name} {from} {source} -> {to} {target}");
        let event = cluster.dropped(judge.node, &what, |drop| {
            drop.protocol == name
                && (drop.source.ip, drop.destination.ip) == (Some(source), Some(target))
                && (port == 0 || drop.source.port == port)
                && drop.time >= since
        });
        let found = (event.reason.as_str(), event.hook.as_str());
        assert_eq!(found, (judge.reason, judge.hook), "{what}");
        let heard = port != 0 && to.heard(SocketAddr::new(source, port));
        assert!(!heard, "{what}: it arrived");
        event
    });
    let counted = cluster.count(judge.node, judge.reason) - before;
    assert!(
        counted >= 3,
        "{from} -> {to}: three packets, {counted} counted"
    );
    let [.., last] = events;
    last
}
