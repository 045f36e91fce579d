//! Answers that no trusted server gave to the question that the pod asked open nothing.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use hickory_proto::op::Message;
use hickory_proto::rr::RecordType;
use weft_lab::dns::exchange::{decode, encode, forgery, over_tcp, question, receive};
use weft_lab::dns::{self, Change, Server, relay::play};
use weft_lab::probe::Lookup;
use weft_netns::NetNs;
use weft_wait::{SOON, eventually};

use crate::cluster::Pod;
use crate::field::{ALLOW_DNS, DENY_ALL, Field, NODE, RELAY, STRANGER, ZONE};
use crate::field::{connects, ip, look_up, outside, outside6};
use crate::frame;
use crate::wire::{Injector, mac};

const NAME: &str = "www.foo.com";

/// What makes a lie of the trusted server's answer.
type Twist = fn(&mut Message);

fn allowed() -> (Field, Pod) {
    let field = Field::new(1);
    let pod = field.cluster.pod("a/p", "node1");
    field.apply(
        "a",
        "names",
        &[&ALLOW_DNS, &["Allow www.foo.com"], &DENY_ALL],
    );
    field.closes(&pod, outside(1));
    (field, pod)
}

#[test]
fn answers_of_servers_that_are_not_trusted_open_nothing() {
    let (field, pod) = allowed();
    let friend = field.cluster.pod("a/friend", "node1");
    let stranger = field.cluster.host_netns("stranger").unwrap();
    // Outside, another pod of the project, the pod itself: real servers, each with an address of its own for the name.
    for (netns, address) in [
        (&stranger, ip(STRANGER)),
        (&friend.netns, friend.ips[0]),
        (&friend.netns, friend.ips[1]),
        (&pod.netns, pod.ips[0]),
    ] {
        let server = Server::start(netns, &[address], &[ZONE]).unwrap();
        let lie = outside6();
        let change = Change::of(ZONE).addresses(NAME, 60, &[lie]);
        server.change(&change).unwrap();
        let answer = look_up(&pod, Lookup::at(address), NAME, true);
        assert_eq!(answer.addresses, [lie], "{address}");
        field.denied(&pod, lie);
    }
}

/// A question that waits for its answer on a socket of its own: the relay swallows the true one.
struct Pending {
    socket: UdpSocket,
    message: Message,
}

impl Pending {
    fn ask(pod: &Pod, name: &str) -> Self {
        Self::send(pod, question(name, RecordType::AAAA).unwrap())
    }

    fn send(pod: &Pod, message: Message) -> Self {
        let open = || -> std::io::Result<UdpSocket> {
            let socket = UdpSocket::bind((pod.ips[0], 0))?;
            socket.connect((ip(RELAY), dns::PORT))?;
            Ok(socket)
        };
        let socket = pod.netns.run(open).unwrap().unwrap();
        socket.send(&encode(&message).unwrap()).unwrap();
        Self { socket, message }
    }

    fn port(&self) -> u16 {
        self.socket.local_addr().unwrap().port()
    }

    /// Waits for a message with this ID.
    fn receive(&self, id: u16, patience: Duration) -> bool {
        receive(&self.socket, &id.to_be_bytes(), patience).is_ok()
    }
}

/// The relay gives this answer to whatever is asked next.
fn answer_with(field: &Field, lie: &Message) {
    let lie = encode(lie).unwrap();
    field
        .relay
        .play(move |_| vec![(Duration::ZERO, lie.clone())]);
}

#[test]
fn answers_to_other_questions_open_nothing() {
    let (field, pod) = allowed();
    field.set(NAME, 0, &[outside6()]);
    // The trusted server's own address and port: only the question tells.
    let cases: [(&str, &str, Twist); 4] = [
        ("another ID", NAME, |lie| lie.metadata.id ^= 1),
        ("another name in question", "other.foo.com", |_| {}),
        ("another name in the answer's question", NAME, |lie| {
            lie.queries = question("x.foo.com", RecordType::AAAA).unwrap().queries;
        }),
        ("a question, not an answer", NAME, |lie| {
            lie.metadata.message_type = hickory_proto::op::MessageType::Query;
        }),
    ];
    for (what, asked, change) in cases {
        let told = outside6();
        let query = question(asked, RecordType::AAAA).unwrap();
        let mut lie = forgery(&query, NAME, told).unwrap();
        change(&mut lie);
        answer_with(&field, &lie);
        let waiting = Pending::send(&pod, query);
        let came = waiting.receive(lie.metadata.id, SOON);
        assert!(came, "{what}: it never came");
        field.denied(&pod, told);
    }

    // To another port than that of the question: the lie fits the first socket's question and comes to the second.
    field.relay.play(play::lost());
    let before = field.relay.played();
    let first = Pending::ask(&pod, NAME);
    eventually("the true answer is lost", || field.relay.played() > before);
    let told = outside6();
    let lie = forgery(&first.message, NAME, told).unwrap();
    answer_with(&field, &lie);
    let second = Pending::ask(&pod, "other.foo.com");
    assert!(second.receive(lie.metadata.id, SOON), "it never came");
    field.denied(&pod, told);

    // The same lie in the right place is what the trusted server says.
    let told = outside6();
    let query = question(NAME, RecordType::AAAA).unwrap();
    answer_with(&field, &forgery(&query, NAME, told).unwrap());
    let waiting = Pending::send(&pod, query);
    assert!(waiting.receive(waiting.message.metadata.id, SOON));
    field.open(&pod, told);
}

/// The relay stands for a trusted server outside: who is on the way there can send under its address, but not before it has
/// seen the question.
#[test]
fn an_answer_uses_its_question_up() {
    let (field, pod) = allowed();
    field.set(NAME, 0, &[outside6()]);
    let (told, lie) = (outside6(), outside6());
    let query = question(NAME, RecordType::AAAA).unwrap();
    let messages = [told, lie].map(|address| {
        let answer = forgery(&query, NAME, address).unwrap();
        (Duration::ZERO, encode(&answer).unwrap())
    });
    field.relay.play(move |_| messages.to_vec());
    let waiting = Pending::send(&pod, query);
    for which in ["first", "second"] {
        let came = waiting.receive(waiting.message.metadata.id, SOON);
        assert!(came, "the {which} answer");
    }
    field.open(&pod, told);
    field.denied(&pod, lie);
}

/// Where a server's segments begin is the receiver's choice, so what is in one is nobody's word: here the pod is answered by the
/// trusted server itself, in one segment that is one message.
#[test]
fn segments_open_nothing() {
    let (field, pod) = allowed();
    field.set(NAME, 0, &[outside6()]);
    let lie = outside6();
    let query = question(NAME, RecordType::AAAA).unwrap();
    answer_with(&field, &forgery(&query, NAME, lie).unwrap());
    let server = SocketAddr::new(ip(RELAY), dns::PORT);
    let query = encode(&query).unwrap();
    let ask = || over_tcp(server, &query, SOON);
    let answer = pod.netns.run(ask).unwrap().unwrap();
    assert_eq!(decode(&answer).unwrap().answers.len(), 1, "it came");
    field.denied(&pod, lie);
    // The agent has asked for itself meanwhile, of a server that says the truth.
    field.relay.play(play::faithful());
    let truth = outside6();
    field.set(NAME, 0, &[truth]);
    let lookup = Lookup {
        tcp: true,
        ..Lookup::at(ip(RELAY))
    };
    assert_eq!(look_up(&pod, lookup, NAME, true).addresses, [truth]);
    field.opens(&pod, truth);
}

#[test]
fn forged_senders_open_nothing() {
    let (field, pod) = allowed();
    let friend = field.cluster.pod("a/friend", "node1");
    let stranger = field.cluster.host_netns("stranger").unwrap();
    let claim = ["ip", "route", "add", "local", RELAY, "dev", "lo"];
    field.cluster.run("stranger", &claim).ok();
    let server = SocketAddr::new(ip(RELAY), dns::PORT);
    field.set(NAME, 0, &[outside6()]);
    field.relay.play(play::lost());

    // From the friend's interface and from the pod's own, under the server's address.
    for sender in [&friend, &pod] {
        let waiting = Pending::ask(&pod, NAME);
        let told = outside6();
        let lie = encode(&forgery(&waiting.message, NAME, told).unwrap()).unwrap();
        let injector = Injector::open(&sender.netns, "eth0");
        let to = SocketAddr::new(pod.ips[0], waiting.port());
        let next = mac(
            &field.cluster.host_netns("node1").unwrap(),
            &interface(&field, sender),
        );
        injector.send(&frame::udp((injector.mac, next), server, to, &lie));
        let came = waiting.receive(waiting.message.metadata.id, Duration::from_millis(100));
        assert!(!came, "from {}", sender.label());
        field.denied(&pod, told);
    }

    // From outside, under an address of its own, and under the server's with a guessed ID; the true ID would be the
    // server's word.
    for (source, guess, opens) in [
        (ip(STRANGER), 0, false),
        (server.ip(), 1, false),
        (server.ip(), 0, true),
    ] {
        let waiting = Pending::ask(&pod, NAME);
        let told = outside6();
        let mut lie = forgery(&waiting.message, NAME, told).unwrap();
        lie.metadata.id ^= guess;
        send_from(&stranger, source, waiting.port(), &encode(&lie).unwrap());
        let patience = if source == server.ip() {
            SOON
        } else {
            Duration::from_millis(100)
        };
        let came = waiting.receive(lie.metadata.id, patience);
        assert_eq!(came, source == server.ip(), "from {source}, {guess}");
        if opens {
            field.open(&pod, told);
        } else {
            field.denied(&pod, told);
        }
    }
    field.relay.play(play::faithful());
    connects(&pod, Lookup::at(ip(RELAY)), NAME, true);
}

/// To the node's address, at the port that the pod's has become there: the same, as long as it is free.
fn send_from(netns: &NetNs, source: IpAddr, port: u16, message: &[u8]) {
    let send = || -> std::io::Result<usize> {
        let socket = UdpSocket::bind((source, dns::PORT))?;
        socket.send_to(message, (ip(NODE), port))
    };
    netns.run(send).unwrap().unwrap();
}

/// The host's end of a pod's interface.
fn interface(field: &Field, pod: &Pod) -> String {
    let pods = field.cluster.pods("node1");
    let found = pods
        .iter()
        .find(|row| row.namespace == pod.namespace && row.name == pod.name);
    found.unwrap().interface.clone()
}
