//! TCP and UDP load between two network namespaces, client and server each on a CPU of its own.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use weft_netns::NetNs;

const CLIENT_CPU: usize = 0;
const SERVER_CPU: usize = 1;
/// What one `write` hands to the kernel.
const CHUNK: usize = 128 * 1024;
/// Request and response.
const MESSAGE: usize = 64;
/// Left out of the measurement: slow start, first touch of caches.
const WARM_UP: Duration = Duration::from_millis(300);
/// A path that carries nothing for so long is broken.
const SILENCE: Duration = Duration::from_secs(5);

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    /// One connection, as much as it takes.
    Stream,
    /// One connection, 64 bytes there, 64 bytes back, and again.
    RequestResponse,
    /// The same in UDP datagrams.
    Datagrams,
}

/// A connection is made from `client` to `address` in `server`; returns Gbit/s of payload received, or transactions
/// per second, over `duration`.
pub fn measure(
    client: &NetNs,
    server: &NetNs,
    address: IpAddr,
    load: Load,
    duration: Duration,
) -> Result<f64> {
    if load == Load::Datagrams {
        return datagrams(client, server, address, duration);
    }
    let listener = server
        .run(|| TcpListener::bind((address, 0)))?
        .with_context(|| format!("listen on {address}"))?;
    let to: SocketAddr = listener.local_addr()?;
    // A socket stays in the namespace it was opened in, so the threads below may run anywhere.
    let near = client
        .run(|| TcpStream::connect_timeout(&to, SILENCE))?
        .with_context(|| format!("connect to {to}"))?;
    let (far, _) = listener.accept()?;
    for socket in [&near, &far] {
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(SILENCE))?;
        socket.set_write_timeout(Some(SILENCE))?;
    }
    match load {
        Load::Stream => stream(near, far, duration),
        _ => transactions(near, far, duration),
    }
}

fn stream(mut near: TcpStream, mut far: TcpStream, duration: Duration) -> Result<f64> {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let sender = scope.spawn(|| -> Result<()> {
            pin(CLIENT_CPU)?;
            let chunk = vec![0x5a; CHUNK];
            while !done.load(Ordering::Relaxed) {
                near.write_all(&chunk).context("send")?;
            }
            near.shutdown(Shutdown::Write).context("shut down")
        });
        let receiver = scope.spawn(|| {
            let counted = count(&mut far, duration);
            done.store(true, Ordering::Relaxed);
            // The sender may stand in a full window: read until it has said that it is done.
            let mut rest = vec![0; CHUNK];
            while counted.is_ok() && far.read(&mut rest).context("receive the rest")? > 0 {}
            counted
        });
        let received = join(receiver)?;
        join(sender)?;
        Ok(received)
    })
}

fn count(far: &mut TcpStream, duration: Duration) -> Result<f64> {
    pin(SERVER_CPU)?;
    let mut buffer = vec![0; CHUNK];
    let warm = Instant::now() + WARM_UP;
    while Instant::now() < warm {
        receive(far, &mut buffer)?;
    }
    let start = Instant::now();
    let mut bytes = 0_u64;
    loop {
        bytes += receive(far, &mut buffer)?;
        let passed = start.elapsed();
        if passed >= duration {
            #[expect(
                clippy::cast_precision_loss,
                reason = "a rate has three digits in the report"
            )]
            return Ok(bytes as f64 * 8.0 / 1e9 / passed.as_secs_f64());
        }
    }
}

fn receive(far: &mut TcpStream, buffer: &mut [u8]) -> Result<u64> {
    match far.read(buffer) {
        Ok(0) => bail!("the sender ended early"),
        Ok(n) => Ok(n as u64),
        Err(e) => Err(e).context("receive"),
    }
}

fn transactions(mut near: TcpStream, mut far: TcpStream, duration: Duration) -> Result<f64> {
    thread::scope(|scope| {
        let server = scope.spawn(move || -> Result<()> {
            pin(SERVER_CPU)?;
            let mut message = [0; MESSAGE];
            loop {
                match far.read_exact(&mut message) {
                    Ok(()) => far.write_all(&message).context("answer")?,
                    Err(e) if e.kind() == ErrorKind::UnexpectedEof => return Ok(()),
                    Err(e) => return Err(e).context("receive the request"),
                }
            }
        });
        let client = scope.spawn(move || -> Result<f64> {
            pin(CLIENT_CPU)?;
            let mut message = [0x5a; MESSAGE];
            let mut exchange = || -> Result<()> {
                near.write_all(&message).context("ask")?;
                near.read_exact(&mut message).context("receive the answer")
            };
            rate(&mut exchange, duration)
        });
        let rate = join(client)?;
        join(server)?;
        Ok(rate)
    })
}

/// Exchanges per second.
fn rate(exchange: &mut impl FnMut() -> Result<()>, duration: Duration) -> Result<f64> {
    let warm = Instant::now() + WARM_UP;
    while Instant::now() < warm {
        exchange()?;
    }
    let start = Instant::now();
    let mut exchanges = 0_u32;
    while start.elapsed() < duration {
        exchange()?;
        exchanges += 1;
    }
    Ok(f64::from(exchanges) / start.elapsed().as_secs_f64())
}

fn datagrams(client: &NetNs, server: &NetNs, address: IpAddr, duration: Duration) -> Result<f64> {
    let far = server
        .run(|| UdpSocket::bind((address, 0)))?
        .with_context(|| format!("bind to {address}"))?;
    let to = far.local_addr()?;
    let near = client.run(|| -> std::io::Result<UdpSocket> {
        let socket = UdpSocket::bind(("0.0.0.0", 0))?;
        socket.connect(to)?;
        Ok(socket)
    })??;
    near.set_read_timeout(Some(SILENCE))?;
    far.set_read_timeout(Some(SILENCE))?;
    thread::scope(|scope| {
        let server = scope.spawn(move || -> Result<()> {
            pin(SERVER_CPU)?;
            let mut message = [0; MESSAGE];
            loop {
                let (length, from) = far.recv_from(&mut message).context("receive a request")?;
                // An empty one ends it.
                if length == 0 {
                    return Ok(());
                }
                far.send_to(&message, from).context("answer")?;
            }
        });
        let client = scope.spawn(move || -> Result<f64> {
            pin(CLIENT_CPU)?;
            let mut message = [0x5a; MESSAGE];
            let mut exchange = || -> Result<()> {
                near.send(&message).context("ask")?;
                near.recv(&mut message).context("receive the answer")?;
                Ok(())
            };
            let outcome = rate(&mut exchange, duration);
            near.send(&[]).context("end")?;
            outcome
        });
        let rate = join(client)?;
        join(server)?;
        Ok(rate)
    })
}

fn join<T>(thread: thread::ScopedJoinHandle<'_, Result<T>>) -> Result<T> {
    match thread.join() {
        Ok(outcome) => outcome,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// Ties the calling thread to a CPU; on a machine with one, to that.
fn pin(cpu: usize) -> Result<()> {
    let cpus = thread::available_parallelism().map_or(1, usize::from);
    let mut set = CpuSet::new();
    set.set(cpu % cpus)?;
    sched_setaffinity(Pid::from_raw(0), &set).context("tie a thread to a CPU")
}
