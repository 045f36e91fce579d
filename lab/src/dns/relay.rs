//! A relay before a name server: what reaches the client of an answer, when and how, is up to the test.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use weft_netns::NetNs;
use weft_wait::patience::patient;

use super::at;
use super::exchange::{over_tcp, over_udp, read_framed, write_framed};

/// How long the server may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the client gets in the place of an answer: messages, each after a pause. See [`play`].
pub type Play = dyn Fn(Vec<u8>) -> Vec<(Duration, Vec<u8>)> + Send + Sync;

/// Listens on UDP and TCP, passes queries on and answers back; ends when dropped.
pub struct Relay {
    play: Arc<Mutex<Arc<Play>>>,
    played: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Clone)]
struct Way {
    server: SocketAddr,
    play: Arc<Mutex<Arc<Play>>>,
    played: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
}

impl Relay {
    /// Between `listen` and `server`, inside a namespace; faithful at first.
    pub fn start(netns: &NetNs, listen: SocketAddr, server: SocketAddr) -> io::Result<Self> {
        let faithful: Arc<Play> = Arc::new(play::faithful());
        let way = Way {
            server,
            play: Arc::new(Mutex::new(faithful)),
            played: Arc::default(),
            stop: Arc::default(),
        };
        let (play, played) = (Arc::clone(&way.play), Arc::clone(&way.played));
        let stop = Arc::clone(&way.stop);
        // Threads are born in the namespace of the one that starts them.
        let start = || -> io::Result<Vec<JoinHandle<()>>> {
            let udp = UdpSocket::bind(listen).map_err(at(format!("bind {listen}")))?;
            let tcp = TcpListener::bind(listen).map_err(at(format!("bind {listen}")))?;
            let other = way.clone();
            Ok(vec![
                thread::spawn(move || datagrams(&udp, &way)),
                thread::spawn(move || connections(&tcp, &other)),
            ])
        };
        let threads = netns.run(start).map_err(io::Error::other)??;
        Ok(Self {
            play,
            played,
            stop,
            threads,
        })
    }

    /// How many answers of the server something has happened to.
    pub fn played(&self) -> usize {
        self.played.load(Ordering::Relaxed)
    }

    /// What happens to answers from now on.
    pub fn play(&self, play: impl Fn(Vec<u8>) -> Vec<(Duration, Vec<u8>)> + Send + Sync + 'static) {
        *self.play.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(play);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            drop(thread.join());
        }
    }
}

impl Way {
    /// The messages in the place of an answer.
    fn played(&self, answer: Vec<u8>) -> Vec<(Duration, Vec<u8>)> {
        let play = Arc::clone(&self.play.lock().unwrap_or_else(PoisonError::into_inner));
        let messages = play(answer);
        self.played.fetch_add(1, Ordering::Relaxed);
        messages
    }

    /// Waits until there is something to read; false if the relay shall end.
    fn wait(&self, socket: &impl AsFd) -> bool {
        let mut ready = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
        while !self.stop.load(Ordering::Relaxed) {
            if poll(&mut ready, PollTimeout::from(20_u8)).is_ok_and(|count| count > 0) {
                return true;
            }
        }
        false
    }
}

fn datagrams(socket: &UdpSocket, way: &Way) {
    let mut buffer = [0; 4_096];
    while way.wait(socket) {
        let Ok((length, client)) = socket.recv_from(&mut buffer) else {
            continue;
        };
        let Ok(reply) = socket.try_clone() else {
            return;
        };
        let (query, way) = (buffer[..length].to_vec(), way.clone());
        // Of its own, so that a delayed answer delays no other. A client that gave up has its own error to report.
        thread::spawn(move || {
            let Ok(answer) = over_udp(way.server, &query, patient(PATIENCE)) else {
                return;
            };
            for (pause, message) in way.played(answer) {
                thread::sleep(pause);
                drop(reply.send_to(&message, client));
            }
        });
    }
}

fn connections(listener: &TcpListener, way: &Way) {
    while way.wait(listener) {
        let Ok((mut client, _)) = listener.accept() else {
            continue;
        };
        let way = way.clone();
        thread::spawn(move || -> io::Result<()> {
            client.set_read_timeout(Some(patient(PATIENCE)))?;
            loop {
                let query = read_framed(&mut client)?;
                let answer = over_tcp(way.server, &query, patient(PATIENCE))?;
                for (pause, message) in way.played(answer) {
                    thread::sleep(pause);
                    write_framed(&mut client, &message)?;
                }
            }
        });
    }
}

/// What may happen to an answer.
pub mod play {
    use super::Duration;

    /// Its name in the question, after the header (RFC 1035 section 4.1.1).
    const NAME: usize = 12;

    type Messages = Vec<(Duration, Vec<u8>)>;

    /// It arrives as it is.
    pub fn faithful() -> impl Fn(Vec<u8>) -> Messages {
        delayed(Duration::ZERO)
    }

    /// It arrives late.
    pub fn delayed(pause: Duration) -> impl Fn(Vec<u8>) -> Messages {
        move |answer| vec![(pause, answer)]
    }

    /// It does not arrive.
    pub fn lost() -> impl Fn(Vec<u8>) -> Messages {
        |_| Vec::new()
    }

    /// It arrives twice.
    pub fn twice() -> impl Fn(Vec<u8>) -> Messages {
        |answer| vec![(Duration::ZERO, answer.clone()), (Duration::ZERO, answer)]
    }

    /// It has another ID.
    pub fn renumbered() -> impl Fn(Vec<u8>) -> Messages {
        |mut answer| {
            answer[1] ^= 1;
            vec![(Duration::ZERO, answer)]
        }
    }

    /// Every other letter of the name in question is turned: from lower to upper case, from upper to lower.
    pub fn recased() -> impl Fn(Vec<u8>) -> Messages {
        |mut answer| {
            recase(&mut answer);
            vec![(Duration::ZERO, answer)]
        }
    }

    fn recase(message: &mut [u8]) {
        let mut at = NAME;
        while let Some(length) = message.get(at).map(|length| usize::from(*length)) {
            if length == 0 || length > 63 {
                return;
            }
            let label = message.iter_mut().skip(at + 1).take(length).step_by(2);
            label
                .filter(|letter| letter.is_ascii_alphabetic())
                .for_each(|letter| *letter ^= 0x20);
            at += 1 + length;
        }
    }

    #[cfg(test)]
    mod tests {
        use super::recase;

        #[test]
        fn only_letters_of_the_name_change() {
            let header = [0xff; 12];
            let mut message = [&header[..], b"\x03www\x05fOo-1\x00\x41\x41"].concat();
            recase(&mut message);
            assert_eq!(message[12..], *b"\x03WwW\x05FOO-1\x00\x41\x41");
        }
    }
}
