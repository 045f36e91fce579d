//! The CNI socket: one connection, one request, one thread.

mod slots;

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde_json::Value;
use tracing::{debug, warn};

use super::metrics::Metrics;
use super::netconf::socket_path;
use super::protocol::{self, Answer, Call, PROTOCOL, Spoken, Verb};
use super::service::{Done, Service, unfinished};
use super::spec::{CniError, Command, code};
use super::{DataPath, Journal};
use slots::Slots;

/// How long a connection may take to send its request, and to take its answer.
const EXCHANGE: Duration = Duration::from_secs(5);
/// Longest a plugin is waited for, whatever it says.
const PATIENCE_MAX: Duration = Duration::from_mins(2);

/// The server could not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The socket could not be made.
    #[error("{call} {}: {source}", path.display())]
    Socket {
        /// What was tried.
        call: &'static str,
        /// On what.
        path: PathBuf,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// The agent's own namespace could not be opened.
    #[error("{0}")]
    Netns(#[from] weft_netns::Error),
}

/// A running server.
#[derive(Debug)]
pub struct Server {
    socket: PathBuf,
    metrics: Arc<Metrics>,
    /// Closing it ends the acceptor.
    stop: Option<UnixStream>,
    acceptor: Option<JoinHandle<()>>,
    slots: Arc<Slots>,
}

/// Serves `RUN_DIR/cni.sock` (mode 0600) from the calling thread's network namespace.
///
/// The journal must have been recovered, and what it adopted be known to the data path. What it could not adopt is
/// removed in the background.
pub fn serve(
    run_dir: &Path,
    journal: Journal,
    datapath: Arc<dyn DataPath>,
) -> Result<Server, ServeError> {
    let socket = socket_path(run_dir);
    let failed = |call| {
        let path = socket.clone();
        move |source| ServeError::Socket { call, path, source }
    };
    let unfinished = unfinished(&journal);
    let service = Arc::new(Service::new(journal, datapath)?);
    let listener = listen(run_dir, &socket).map_err(failed("listen on"))?;
    let (stop, stopped) = UnixStream::pair().map_err(failed("make a stop pipe for"))?;
    let metrics = Arc::new(Metrics::default());
    let slots = Arc::new(Slots::default());
    let recovering = Arc::clone(&service);
    thread::Builder::new()
        .name("cni-recovery".into())
        .spawn(move || recovering.finish_recovery(&unfinished))
        .map_err(failed("start a thread for"))?;
    let acceptor = Acceptor {
        listener,
        stopped,
        service,
        metrics: Arc::clone(&metrics),
        slots: Arc::clone(&slots),
    };
    let acceptor = thread::Builder::new()
        .name("cni-accept".into())
        .spawn(move || acceptor.run())
        .map_err(failed("start a thread for"))?;
    Ok(Server {
        socket,
        metrics,
        stop: Some(stop),
        acceptor: Some(acceptor),
        slots,
    })
}

impl Server {
    /// Counters by command and outcome.
    pub fn metrics(&self) -> Arc<Metrics> {
        Arc::clone(&self.metrics)
    }

    /// Takes no more requests, and waits at most `patience` for those being served. What is cut short by the process's
    /// end is undone at the next start.
    pub fn shutdown(mut self, patience: Duration) {
        self.stop_accepting();
        if !self.slots.wait_idle(Instant::now() + patience) {
            warn!("CNI requests are still being served; the next start undoes them");
        }
    }

    fn stop_accepting(&mut self) {
        drop(self.stop.take());
        if let Some(acceptor) = self.acceptor.take() {
            // Gone at once, so that a plugin is told to try again instead of waiting.
            if let Err(e) = fs::remove_file(&self.socket) {
                debug!(socket = %self.socket.display(), error = %e, "remove");
            }
            if acceptor.join().is_err() {
                warn!("the CNI acceptor ended with a panic");
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop_accepting();
    }
}

/// Under its final name the socket exists only with its final mode. The journal's lock made sure that no other agent is
/// served by an older socket of that name.
fn listen(run_dir: &Path, socket: &Path) -> io::Result<UnixListener> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(run_dir)?;
    let temporary = socket.with_extension("sock.new");
    match fs::remove_file(&temporary) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let listener = UnixListener::bind(&temporary)?;
    fs::set_permissions(&temporary, Permissions::from_mode(0o600))?;
    fs::rename(&temporary, socket)?;
    Ok(listener)
}

struct Acceptor {
    listener: UnixListener,
    stopped: UnixStream,
    service: Arc<Service>,
    metrics: Arc<Metrics>,
    slots: Arc<Slots>,
}

impl Acceptor {
    fn run(self) {
        while self.wait() {
            let stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(e) => {
                    // Out of descriptors or memory: requests being served give some back.
                    warn!(error = %e, "accept on the CNI socket");
                    thread::sleep(Duration::from_millis(50));
                    continue;
                }
            };
            let slot = self.slots.take();
            let (service, metrics) = (Arc::clone(&self.service), Arc::clone(&self.metrics));
            let spawned = thread::Builder::new()
                .name("cni-request".into())
                .spawn(move || {
                    let _slot = slot;
                    if let Err(e) = exchange(stream, &service, &metrics) {
                        debug!(error = %e, "CNI connection");
                    }
                });
            if let Err(e) = spawned {
                warn!(error = %e, "start a thread for a CNI request"); // the plugin sees the connection end
            }
        }
    }

    /// True for a connection, false for the end.
    fn wait(&self) -> bool {
        loop {
            let mut fds = [
                PollFd::new(self.listener.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.stopped.as_fd(), PollFlags::POLLIN),
            ];
            match poll(&mut fds, PollTimeout::NONE) {
                Ok(_) if fds[1].any() == Some(true) => return false,
                Ok(_) if fds[0].any() == Some(true) => return true,
                Ok(_) | Err(nix::errno::Errno::EINTR) => {}
                Err(e) => {
                    warn!(error = %e, "poll the CNI socket");
                    return false;
                }
            }
        }
    }
}

/// One connection. An error means that the plugin could not be answered.
fn exchange(mut stream: UnixStream, service: &Service, metrics: &Metrics) -> io::Result<()> {
    stream.set_read_timeout(Some(EXCHANGE))?;
    stream.set_write_timeout(Some(EXCHANGE))?;
    let (body, netns) = protocol::receive(&mut stream)?;
    let done = match read_call(&body) {
        Ok(call) => serve_call(&call, netns, service, metrics),
        Err(e) => Err(e),
    };
    let (answer, made) = match done {
        Ok(done) => (Answer::Done(done.result), done.made),
        Err(e) => (Answer::Failed(e), None),
    };
    let sent = protocol::send(&mut stream, &answer, None);
    if let (Err(_), Some(made)) = (&sent, made) {
        service.take_back(&made);
    }
    sent
}

fn serve_call(
    call: &Call,
    netns: Option<OwnedFd>,
    service: &Service,
    metrics: &Metrics,
) -> Result<Done, CniError> {
    let start = Instant::now();
    let deadline = start + Duration::from_millis(call.patience_ms).min(PATIENCE_MAX);
    let done = service.run(call, netns, deadline);
    let verb = command(&call.verb).as_str();
    metrics.record(verb, done.is_ok(), start.elapsed());
    if let Err(e) = &done {
        warn!(verb, error = %e, details = %e.details, "CNI request failed");
    }
    done
}

fn read_call(body: &[u8]) -> Result<Call, CniError> {
    let undecodable = |e: serde_json::Error| {
        let msg = format!("the agent cannot decode the request of weft-cni: {e}");
        CniError::new(code::DECODING_FAILURE, msg)
    };
    // Through a value: in another protocol everything but the number may look different.
    let value: Value = serde_json::from_slice(body).map_err(undecodable)?;
    let spoken: Spoken = serde_json::from_value(value.clone()).map_err(undecodable)?;
    if spoken.protocol != PROTOCOL {
        return Err(CniError::new(
            code::IO_FAILURE,
            format!(
                "weft-cni speaks protocol {}, the agent {PROTOCOL}; install both from one release",
                spoken.protocol
            ),
        ));
    }
    serde_json::from_value(value).map_err(undecodable)
}

fn command(verb: &Verb) -> Command {
    match verb {
        Verb::Add { .. } => Command::Add,
        Verb::Del { .. } => Command::Del,
        Verb::Check { .. } => Command::Check,
        Verb::Gc { .. } => Command::Gc,
        Verb::Status => Command::Status,
    }
}
