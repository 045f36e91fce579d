//! A relay between a store and its server, whose connections can be made to pass nothing.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use socket2::{SockFilter, SockRef};
use weft_agent::config::Access;

/// Between the store and the server. Ends with this value.
pub struct Relay {
    address: SocketAddr,
    listener: TcpListener,
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
    /// Of those, the ones that neither side has closed.
    open: AtomicU64,
    /// The ends to the store.
    ends: Mutex<Vec<TcpStream>>,
}

impl Relay {
    pub fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        let taking = listener.try_clone().unwrap();
        std::thread::spawn(move || {
            for client in taking.incoming() {
                if shared.ended.load(Ordering::SeqCst) {
                    return;
                }
                let client = client.unwrap();
                let server = TcpStream::connect(server).unwrap();
                shared.taken.fetch_add(1, Ordering::SeqCst);
                shared.open.fetch_add(1, Ordering::SeqCst);
                let end = client.try_clone().unwrap();
                shared.ends.lock().unwrap().push(end);
                let generation = shared.generation.load(Ordering::SeqCst);
                let back = (server.try_clone().unwrap(), client.try_clone().unwrap());
                let ways = [(client, server), back].map(|(from, to)| {
                    let shared = Arc::clone(&shared);
                    std::thread::spawn(move || shared.pass(&from, to, generation))
                });
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || {
                    for way in ways {
                        way.join().unwrap();
                    }
                    shared.open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Self {
            address,
            listener,
            state,
        }
    }

    /// Access that leads here in the place of the server.
    pub fn access(&self, kubeconfig: &Path) -> Access {
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
    pub fn forget(&self) {
        self.state.generation.fetch_add(1, Ordering::SeqCst);
    }

    /// Nothing is passed, and everything is acknowledged: as a server that hangs.
    pub fn hold(&self, held: bool) {
        self.state.held.store(held, Ordering::SeqCst);
    }

    /// As a machine that loses its power: what comes is lost and not even acknowledged, on the connections of now and for
    /// who wants new ones.
    pub fn vanish(&self) {
        // Return 0 bytes of each packet, which drops it (socket(7), SO_ATTACH_FILTER).
        let nothing = [SockFilter::new(0x06, 0, 0, 0)];
        self.forget();
        SockRef::from(&self.listener)
            .attach_filter(&nothing)
            .unwrap();
        for end in self.state.ends.lock().unwrap().iter() {
            SockRef::from(end).attach_filter(&nothing).unwrap();
        }
    }

    /// It takes new connections again; those from before stay dead.
    pub fn come_back(&self) {
        SockRef::from(&self.listener).detach_filter().unwrap();
    }

    /// Connections that neither side has closed.
    pub fn open(&self) -> u64 {
        self.state.open.load(Ordering::SeqCst)
    }

    /// Connections that were taken so far.
    pub fn taken(&self) -> u64 {
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

impl Drop for Relay {
    fn drop(&mut self) {
        self.state.ended.store(true, Ordering::SeqCst);
        // The listener looks when somebody comes.
        drop(TcpStream::connect(self.address));
    }
}
