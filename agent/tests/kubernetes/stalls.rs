//! Connections that stay open and pass nothing, as behind a firewall that forgot them or a server that hangs.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use weft_agent::config::Access;
use weft_agent::store::{Kubernetes, Reader, Store as _};

use crate::rig::{Server, until};
use crate::store::net_namespace;
use crate::told::Told;

/// Between the store and the server. Ends with this value.
struct Proxy {
    address: SocketAddr,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    ended: AtomicBool,
    /// Connections of earlier generations pass nothing any more, for good.
    generation: AtomicU64,
    /// Nothing is passed for now, and nothing is lost.
    held: AtomicBool,
    /// Connections that were taken.
    taken: AtomicU64,
}

impl Proxy {
    fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for client in listener.incoming() {
                if shared.ended.load(Ordering::SeqCst) {
                    return;
                }
                let client = client.unwrap();
                let server = TcpStream::connect(server).unwrap();
                shared.taken.fetch_add(1, Ordering::SeqCst);
                let generation = shared.generation.load(Ordering::SeqCst);
                let back = (server.try_clone().unwrap(), client.try_clone().unwrap());
                for (from, to) in [(client, server), back] {
                    let shared = Arc::clone(&shared);
                    std::thread::spawn(move || shared.pass(&from, to, generation));
                }
            }
        });
        Self { address, state }
    }

    /// Puts itself in the place of the server.
    fn access(&self, kubeconfig: &Path) -> Access {
        let text = std::fs::read_to_string(kubeconfig).unwrap();
        let (before, after) = text.split_once("https://").unwrap();
        let (_, after) = after.split_once('\'').unwrap();
        let file = kubeconfig.with_file_name("proxy.kubeconfig");
        let address = self.address;
        std::fs::write(&file, format!("{before}https://{address}'{after}")).unwrap();
        Access::Kubeconfig {
            files: vec![file],
            context: None,
        }
    }

    /// The connections of now stay open and are dead; new ones work.
    fn forget(&self) {
        self.state.generation.fetch_add(1, Ordering::SeqCst);
    }

    fn hold(&self, held: bool) {
        self.state.held.store(held, Ordering::SeqCst);
    }

    fn taken(&self) -> u64 {
        self.state.taken.load(Ordering::SeqCst)
    }
}

impl State {
    fn pass(&self, mut from: &TcpStream, mut to: TcpStream, generation: u64) {
        let mut buffer = [0; 16 << 10];
        loop {
            let length = from.read(&mut buffer).unwrap_or(0);
            let dead = || self.generation.load(Ordering::SeqCst) != generation;
            while !dead() && self.held.load(Ordering::SeqCst) && !self.ended.load(Ordering::SeqCst)
            {
                std::thread::sleep(Duration::from_millis(10));
            }
            let passed = length > 0 && (dead() || to.write_all(&buffer[..length]).is_ok());
            if !passed || self.ended.load(Ordering::SeqCst) {
                break;
            }
        }
        // Who waits for the other direction learns of the end.
        drop(to.shutdown(Shutdown::Both));
        drop(from.shutdown(Shutdown::Both));
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.state.ended.store(true, Ordering::SeqCst);
        // The listener looks when somebody comes.
        drop(TcpStream::connect(self.address));
    }
}

/// What stands for the 150 seconds of the product.
const SILENCE: Duration = Duration::from_secs(4);

#[test]
fn a_watch_that_passes_nothing_is_cut_and_goes_on_elsewhere() {
    let server = Server::new();
    server.apply(&net_namespace("one", 11));
    let proxy = Proxy::to((server.address(), 6443).into());
    let access = proxy.access(&server.kubeconfig("admin"));
    let store = Kubernetes::open_within(&access, Reader::Agent, SILENCE).unwrap();
    let mut told = Told::by(&store);
    told.until("all that there is", |told| {
        told.listed && told.netid("one").is_some()
    });

    // Some of the connections lead nowhere, and nobody says so.
    proxy.forget();
    server.apply(&net_namespace("two", 12));
    let start = Instant::now();
    told.until("news by another connection", |told| {
        told.netid("two").is_some()
    });
    let after = start.elapsed();
    let bound = SILENCE + Duration::from_secs(6);
    assert!(after < bound, "the limit and a new connection: {after:?}");

    // All of them, and new ones too.
    told.until("the other watches go on too", |told| {
        told.problems.is_empty()
    });
    proxy.hold(true);
    server.apply(&net_namespace("three", 13));
    until("the problem names the server's silence", || {
        told.drain();
        let said = told.problems.iter().any(|p| p.contains("does not answer"));
        (said && store.stale() > SILENCE).then_some(())
    });
    assert!(told.netid("three").is_none());
    proxy.hold(false);
    told.until("news again", |told| told.netid("three").is_some());
    told.until("the problem is taken back", |told| told.problems.is_empty());
    assert_eq!(
        told.deltas,
        [
            "+NetNamespace/one",
            "+NetNamespace/two",
            "+NetNamespace/three"
        ],
        "nothing was taken back or told twice"
    );
    // Four kinds, cut every four seconds and tried again with growing pauses: no storm.
    let taken = proxy.taken();
    assert!(taken < 200, "{taken} connections");
}
