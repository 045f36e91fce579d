//! UDP: a stream of numbered packets at a steady rate, and what became of each.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sys::socket::{setsockopt, sockopt};
use weft_wait::patience::patient;

use weft_netns::NetNs;

/// One packet a millisecond, unless told otherwise.
const PERIOD: Duration = Duration::from_millis(1);
/// Bytes of packets that wait for the receiver: a thread that is kept waiting on a busy machine, and a sender that catches up,
/// lose nothing that arrived. The usual size holds a quarter of a second.
const ROOM: usize = 16 << 20;
/// How long after the last packet one may still be on its way.
const LATE: Duration = Duration::from_millis(500);

/// A running stream.
#[derive(Debug)]
pub struct Stream {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    arrived: Arc<Mutex<Arrived>>,
    sender: JoinHandle<io::Result<Sent>>,
    receiver: JoinHandle<Received>,
}

/// What is known of a stream while it runs.
#[derive(Clone, Copy, Debug, Default)]
struct Arrived {
    count: u64,
    first: Option<Instant>,
    last: Option<Instant>,
}

#[derive(Debug)]
struct Sent {
    /// Packet numbers 0..count were sent, or refused by the kernel.
    count: u64,
    /// Why it refused the last one that it did.
    refused: Option<String>,
    /// Longest pause between two sends: a gap in the measurement.
    pause: Duration,
}

#[derive(Debug, Default)]
struct Received {
    numbers: Vec<u64>,
    peers: Vec<IpAddr>,
}

/// What became of a stream.
#[derive(Clone, Debug)]
pub struct Report {
    /// Packets sent, refused ones included.
    pub sent: u64,
    /// Packets that did not arrive, refused ones included.
    pub lost: Vec<u64>,
    /// Packets that arrived more than once.
    pub duplicates: u64,
    /// Packets that arrived after one sent later.
    pub reordered: u64,
    /// Source addresses as the receiver saw them.
    pub peers: Vec<IpAddr>,
    /// Why the kernel refused to send, if it did.
    pub refused: Option<String>,
    /// When the first packet arrived.
    pub first_arrival: Option<Instant>,
    /// When the last packet arrived.
    pub last_arrival: Option<Instant>,
    /// Longest pause of the sender: losses shorter than this could have gone unseen.
    pub pause: Duration,
}

impl Stream {
    /// Sends from one namespace to an address of another, 1,000 packets a second until [`Stream::finish`].
    pub fn start(from: &NetNs, to: &NetNs, address: IpAddr) -> io::Result<Self> {
        Self::paced(from, to, address, PERIOD)
    }

    /// The same at another pace: one packet in each period.
    pub fn paced(from: &NetNs, to: &NetNs, address: IpAddr, period: Duration) -> io::Result<Self> {
        let socket = |ns: &NetNs| {
            ns.run(|| UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)))
                .map_err(io::Error::other)?
        };
        let (input, output) = (socket(to)?, socket(from)?);
        setsockopt(&input, sockopt::RcvBufForce, &ROOM)?;
        let target = SocketAddr::new(mapped(address), input.local_addr()?.port());
        let stop = Arc::new(AtomicBool::new(false));
        let arrived = Arc::new(Mutex::new(Arrived::default()));
        let (asked, told) = (Arc::clone(&stop), Arc::clone(&arrived));
        let receiver = thread::Builder::new()
            .name("receiver".into())
            .spawn(move || receive(&input, &asked, &told))?;
        let sent = Arc::new(AtomicU64::new(0));
        let (asked, counter) = (Arc::clone(&stop), Arc::clone(&sent));
        let sender = thread::Builder::new()
            .name("sender".into())
            .spawn(move || send(&output, target, period, (&asked, &counter)))?;
        Ok(Self {
            stop,
            sent,
            arrived,
            sender,
            receiver,
        })
    }

    fn arrived(&self) -> Arrived {
        *self.arrived.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Packets sent up to now, refused ones included.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Packets that arrived up to now.
    pub fn received(&self) -> u64 {
        self.arrived().count
    }

    /// When the last packet up to now arrived.
    pub fn last_arrival(&self) -> Option<Instant> {
        self.arrived().last
    }

    /// Ends the stream, waits for what is on its way, and counts.
    pub fn finish(self) -> io::Result<Report> {
        self.stop.store(true, Ordering::Relaxed);
        let panicked = |_| io::Error::other("a probe thread panicked");
        let sent = self.sender.join().map_err(panicked)??;
        let received = self.receiver.join().map_err(panicked)?;
        let arrived = *self.arrived.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(report(sent, &received, arrived))
    }
}

/// A socket of both families takes IPv4 addresses in this form.
fn mapped(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().into(),
        IpAddr::V6(_) => address,
    }
}

fn send(
    socket: &UdpSocket,
    to: SocketAddr,
    period: Duration,
    (stop, told): (&AtomicBool, &AtomicU64),
) -> io::Result<Sent> {
    let start = Instant::now();
    let mut sent = Sent {
        count: 0,
        refused: None,
        pause: Duration::ZERO,
    };
    let mut last = start;
    while !stop.load(Ordering::Relaxed) {
        if let Err(error) = socket.send_to(&sent.count.to_be_bytes(), to) {
            sent.refused = Some(error.to_string());
        }
        sent.count += 1;
        told.store(sent.count, Ordering::Relaxed);
        let now = Instant::now();
        sent.pause = sent.pause.max(now - last);
        last = now;
        // Against the start, not the last packet: a late wake-up does not lower the rate.
        let next = start + period * u32::try_from(sent.count).map_err(io::Error::other)?;
        thread::sleep(next.saturating_duration_since(now));
    }
    Ok(sent)
}

fn receive(socket: &UdpSocket, stop: &AtomicBool, told: &Mutex<Arrived>) -> Received {
    let mut received = Received::default();
    let mut buffer = [0; 8];
    drop(socket.set_read_timeout(Some(Duration::from_millis(20))));
    let mut end = None;
    while end.is_none_or(|end| Instant::now() < end) {
        if end.is_none() && stop.load(Ordering::Relaxed) {
            end = Some(Instant::now() + patient(LATE));
        }
        let Ok((8, peer)) = socket.recv_from(&mut buffer) else {
            continue;
        };
        let now = Instant::now();
        let mut arrived = told.lock().unwrap_or_else(PoisonError::into_inner);
        arrived.count += 1;
        arrived.first.get_or_insert(now);
        arrived.last = Some(now);
        drop(arrived);
        received.numbers.push(u64::from_be_bytes(buffer));
        let peer = peer.ip().to_canonical();
        if !received.peers.contains(&peer) {
            received.peers.push(peer);
        }
    }
    received
}

fn report(sent: Sent, received: &Received, arrived: Arrived) -> Report {
    let mut times = vec![0_u64; usize::try_from(sent.count).unwrap_or_default()];
    let (mut reordered, mut highest) = (0, 0);
    for number in &received.numbers {
        // A number that was never sent is somebody else's packet.
        let Some(count) = usize::try_from(*number)
            .ok()
            .and_then(|index| times.get_mut(index))
        else {
            continue;
        };
        *count += 1;
        reordered += u64::from(*number < highest);
        highest = highest.max(*number);
    }
    Report {
        sent: sent.count,
        lost: times
            .iter()
            .zip(0..)
            .filter(|(count, _)| **count == 0)
            .map(|(_, number)| number)
            .collect(),
        duplicates: times.iter().map(|count| count.saturating_sub(1)).sum(),
        reordered,
        peers: received.peers.clone(),
        refused: sent.refused,
        first_arrival: arrived.first,
        last_arrival: arrived.last,
        pause: sent.pause,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_accounted_for() {
        let sent = Sent {
            count: 5,
            refused: None,
            pause: PERIOD,
        };
        let received = Received {
            numbers: vec![0, 2, 1, 1, 99],
            peers: vec![],
        };
        let report = report(sent, &received, Arrived::default());
        assert_eq!((report.lost, report.duplicates), (vec![3, 4], 1));
        assert_eq!(report.reordered, 2, "1 came twice after 2");
    }
}
