//! A name server that does as it is told.

use std::collections::HashMap;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME};
use hickory_proto::rr::{Name, RData, Record, RecordType};

/// A query, as the script sees it.
#[derive(Clone, Debug)]
pub struct Asked {
    /// In lower case, without the trailing dot.
    pub name: String,
    pub v6: bool,
    pub tcp: bool,
    pub edns: bool,
    /// Queries for this name and type before, over the same transport.
    pub before: usize,
}

/// What becomes of a query.
#[derive(Clone, Debug)]
pub enum Reply {
    Records(Vec<(String, u32, Data)>),
    Code(ResponseCode),
    Silence,
    After(Duration, Box<Reply>),
    /// Nothing but the flag that says so.
    Truncated,
    /// As the other reply, with every name in upper case.
    Upper(Box<Reply>),
}

#[derive(Clone, Debug)]
pub enum Data {
    Ip(IpAddr),
    Alias(String),
}

type Script = dyn Fn(&Asked) -> Reply + Send + Sync;

struct State {
    script: Box<Script>,
    counts: Mutex<HashMap<(String, bool, bool), usize>>,
    stopping: AtomicBool,
}

/// Runs until dropped.
pub struct Server {
    pub address: SocketAddr,
    state: Arc<State>,
    threads: Vec<JoinHandle<()>>,
}

/// A loopback address that no other test uses.
pub fn fresh_ip() -> IpAddr {
    let [a, b, c] = rand::random::<[u8; 3]>();
    Ipv4Addr::new(127, a, b, c.clamp(1, 254)).into()
}

/// A and AAAA records of the name itself; the reply has those that were asked for.
pub fn addresses(asked: &Asked, ttl: u32, addresses: &[&str]) -> Reply {
    let ips = addresses.iter().map(|text| text.parse().unwrap());
    let ips = ips.filter(|ip: &IpAddr| ip.is_ipv6() == asked.v6);
    Reply::Records(
        ips.map(|ip| (asked.name.clone(), ttl, Data::Ip(ip)))
            .collect(),
    )
}

impl Server {
    pub fn start(script: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        Self::at((fresh_ip(), 0).into(), script)
    }

    pub fn at(
        address: SocketAddr,
        script: impl Fn(&Asked) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let udp = UdpSocket::bind(address).unwrap();
        let address = udp.local_addr().unwrap();
        let tcp = TcpListener::bind(address).unwrap();
        let state = Arc::new(State {
            script: Box::new(script),
            counts: Mutex::default(),
            stopping: AtomicBool::new(false),
        });
        let (for_udp, for_tcp) = (Arc::clone(&state), Arc::clone(&state));
        let threads = vec![
            std::thread::spawn(move || for_udp.serve_udp(&udp)),
            std::thread::spawn(move || for_tcp.serve_tcp(&tcp)),
        ];
        Self {
            address,
            state,
            threads,
        }
    }

    /// Queries for a name so far, of both types, over UDP or over TCP.
    pub fn asked(&self, name: &str, tcp: bool) -> usize {
        let counts = self.state.counts.lock().unwrap();
        let of = |v6| counts.get(&(name.to_owned(), v6, tcp)).copied();
        of(false).unwrap_or(0) + of(true).unwrap_or(0)
    }

    /// All queries so far.
    pub fn asked_in_all(&self) -> usize {
        self.state.counts.lock().unwrap().values().sum()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.state.stopping.store(true, Ordering::Release);
        // Wakes the listener.
        drop(TcpStream::connect(self.address));
        for thread in self.threads.drain(..) {
            thread.join().unwrap();
        }
    }
}

impl State {
    fn serve_udp(self: &Arc<Self>, socket: &UdpSocket) {
        socket
            .set_read_timeout(Some(Duration::from_millis(50)))
            .unwrap();
        let mut buffer = [0; 4096];
        while !self.stopping.load(Ordering::Acquire) {
            let Ok((length, from)) = socket.recv_from(&mut buffer) else {
                continue;
            };
            let query = buffer[..length].to_vec();
            let reply_to = socket.try_clone().unwrap();
            self.reply(&query, false, move |bytes| {
                // Whoever asked may not wait any more.
                drop(reply_to.send_to(&bytes, from));
            });
        }
    }

    fn serve_tcp(self: &Arc<Self>, listener: &TcpListener) {
        while let Ok((stream, _)) = listener.accept() {
            if self.stopping.load(Ordering::Acquire) {
                return;
            }
            let state = Arc::clone(self);
            std::thread::spawn(move || state.serve_stream(stream));
        }
    }

    fn serve_stream(self: &Arc<Self>, mut stream: TcpStream) {
        stream
            .set_read_timeout(Some(Duration::from_millis(50)))
            .unwrap();
        let mut input = Vec::new();
        let mut buffer = [0; 4096];
        while !self.stopping.load(Ordering::Acquire) {
            match stream.read(&mut buffer) {
                Ok(0) => return,
                Ok(n) => input.extend_from_slice(&buffer[..n]),
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(_) => return,
            }
            while let Some((length, rest)) = input.split_first_chunk::<2>() {
                let length = usize::from(u16::from_be_bytes(*length));
                let Some(query) = rest.get(..length).map(<[u8]>::to_vec) else {
                    break;
                };
                input.drain(..2 + length);
                let mut reply_to = stream.try_clone().unwrap();
                self.reply(&query, true, move |bytes| {
                    let length = u16::try_from(bytes.len()).unwrap().to_be_bytes();
                    drop(reply_to.write_all(&[&length, &bytes[..]].concat()));
                });
            }
        }
    }

    fn reply(&self, query: &[u8], tcp: bool, send: impl FnOnce(Vec<u8>) + Send + 'static) {
        let query = Message::from_vec(query).unwrap();
        let question = &query.queries[0];
        let name = question.name().to_ascii().to_lowercase();
        let mut asked = Asked {
            name: name.trim_end_matches('.').to_owned(),
            v6: question.query_type() == RecordType::AAAA,
            tcp,
            edns: query.edns.is_some(),
            before: 0,
        };
        let key = (asked.name.clone(), asked.v6, tcp);
        let mut counts = self.counts.lock().unwrap();
        let count = counts.entry(key).or_default();
        asked.before = *count;
        *count += 1;
        drop(counts);
        let mut reply = (self.script)(&asked);
        let mut delay = Duration::ZERO;
        while let Reply::After(time, then) = reply {
            delay += time;
            reply = *then;
        }
        let Some(bytes) = encode(&query, reply) else {
            return;
        };
        if delay.is_zero() {
            send(bytes);
        } else {
            std::thread::spawn(move || {
                std::thread::sleep(delay);
                send(bytes);
            });
        }
    }
}

fn encode(query: &Message, reply: Reply) -> Option<Vec<u8>> {
    let (reply, upper) = match reply {
        Reply::Upper(reply) => (*reply, true),
        reply => (reply, false),
    };
    let spell = |name: &str| {
        let name = if upper {
            name.to_uppercase()
        } else {
            name.to_owned()
        };
        Name::from_ascii(format!("{name}.")).unwrap()
    };
    let mut message = Message::response(query.metadata.id, query.metadata.op_code);
    message.metadata.recursion_desired = true;
    message.metadata.recursion_available = true;
    let mut question = query.queries[0].clone();
    if upper {
        let name = question.name().to_ascii();
        question.set_name(spell(name.trim_end_matches('.')));
    }
    message.queries.push(question);
    match reply {
        Reply::Records(records) => {
            for (owner, ttl, data) in records {
                let data = match data {
                    Data::Ip(IpAddr::V4(ip)) => RData::A(A(ip)),
                    Data::Ip(IpAddr::V6(ip)) => RData::AAAA(AAAA(ip)),
                    Data::Alias(target) => RData::CNAME(CNAME(spell(&target))),
                };
                let record = Record::from_rdata(spell(&owner), ttl, data);
                message.answers.push(record);
            }
        }
        Reply::Code(code) => message.metadata.response_code = code,
        Reply::Truncated => message.metadata.truncation = true,
        Reply::Silence | Reply::After(..) | Reply::Upper(_) => return None,
    }
    Some(message.to_vec().unwrap())
}
