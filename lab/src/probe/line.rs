//! TCP: a server that answers each connection with one line, `NAME PEER-ADDRESS`, and its client.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use weft_netns::NetNs;

/// How one connection went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The server answered.
    Reached {
        /// The client's address as the server saw it.
        peer_seen: IpAddr,
        /// The server's name.
        server: String,
    },
    /// Nobody listens there: the address was reached, the port is closed.
    Refused,
    /// No answer within the deadline: dropped on the way.
    Silent,
    /// Something else, such as `Network unreachable`.
    Failed(String),
}

impl Outcome {
    /// From what [`ask`] returned.
    pub fn of(asked: io::Result<String>) -> Self {
        asked.map_or_else(|error| failure(&error), |line| understand(&line))
    }

    /// Whether a server answered.
    pub fn reached(&self) -> bool {
        matches!(self, Self::Reached { .. })
    }

    /// Whether a server answered and saw the client as `address`.
    pub fn reached_from(&self, address: IpAddr) -> bool {
        matches!(self, Self::Reached { peer_seen, .. } if *peer_seen == address)
    }
}

/// Connects from inside a namespace. The whole exchange takes at most `deadline`.
pub fn tcp(from: &NetNs, to: SocketAddr, deadline: Duration) -> Result<Outcome, weft_netns::Error> {
    Ok(Outcome::of(from.run(|| ask(to, deadline))?))
}

fn understand(line: &str) -> Outcome {
    let parsed = line
        .rsplit_once(' ')
        .and_then(|(server, peer)| Some((server, peer.parse().ok()?)));
    match parsed {
        Some((server, peer_seen)) => Outcome::Reached {
            peer_seen,
            server: server.to_owned(),
        },
        None => Outcome::Failed(format!("not the answer of a probe server: {line:?}")),
    }
}

fn failure(error: &io::Error) -> Outcome {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Outcome::Refused,
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => Outcome::Silent,
        _ => Outcome::Failed(error.to_string()),
    }
}

/// Connects from the calling thread's namespace and returns the server's line.
pub fn ask(to: SocketAddr, deadline: Duration) -> io::Result<String> {
    let end = Instant::now() + deadline;
    let stream = TcpStream::connect_timeout(&to, deadline)?;
    let left = end
        .saturating_duration_since(Instant::now())
        .max(Duration::from_millis(1));
    stream.set_read_timeout(Some(left))?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    match line.strip_suffix('\n') {
        Some(line) => Ok(line.to_owned()),
        None => Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "the server closed the connection before a whole line",
        )),
    }
}

/// Answers connections until accepting fails.
pub fn serve(listener: &TcpListener, name: &str) -> io::Result<()> {
    loop {
        answer(listener.accept()?, name);
    }
}

fn answer((mut stream, peer): (TcpStream, SocketAddr), name: &str) {
    // A client that went away has its own error to report.
    drop(writeln!(stream, "{name} {}", peer.ip().to_canonical()));
}

/// A server inside a namespace, on all addresses of both families; ends when dropped.
#[derive(Debug)]
pub struct Server {
    stop: Arc<AtomicBool>,
    port: u16,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Listens before it returns. Port 0 picks a free one.
    pub fn start(netns: &NetNs, port: u16, name: &str) -> io::Result<Self> {
        let any = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
        let listener = netns
            .run(|| TcpListener::bind(any))
            .map_err(io::Error::other)??;
        listener.set_nonblocking(true)?;
        let port = listener.local_addr()?.port();
        let stop = Arc::new(AtomicBool::new(false));
        let (asked, name) = (Arc::clone(&stop), name.to_owned());
        let thread = thread::Builder::new()
            .name("server".into())
            .spawn(move || {
                // A socket stays in the namespace it was made in, whichever thread uses it.
                while !asked.load(Ordering::Relaxed) {
                    let mut ready = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
                    // Nothing, or an interrupted wait: asks again whether to stop.
                    let _ready = poll(&mut ready, PollTimeout::from(20_u8));
                    while let Ok((stream, peer)) = listener.accept() {
                        drop(stream.set_nonblocking(false));
                        answer((stream, peer), &name);
                    }
                }
            })?;
        Ok(Self {
            stop,
            port,
            thread: Some(thread),
        })
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}
