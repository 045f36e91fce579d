//! Services: the host translates a service's address, as kube-proxy makes it, and pods talk through that in both directions.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use weft_lab::lab::Action;
use weft_lab::probe::{self, Server};
use weft_netns::NetNs;
use weft_wait::{SOON, eventually};

use crate::cluster::{Cluster, Pod, two_nodes};

const SERVICE: Ipv4Addr = Ipv4Addr::new(172, 30, 0, 10);
/// Where services are asked, and where their pods listen.
const PORT: u16 = 80;
const TARGET: u16 = 7000;
/// Each pod has a service, whose port differs.
const PODS: [&str; 3] = ["a/near", "a/far", "b/other"];

struct Field {
    cluster: Cluster,
    client: Pod,
    pods: Vec<Pod>,
    _servers: Vec<(Server, Echo)>,
}

impl Field {
    fn new() -> Self {
        let cluster = Cluster::up(&two_nodes());
        let client = cluster.pod("a/client", "node1");
        let pods = PODS.iter().zip(["node1", "node2", "node1"]);
        let pods: Vec<_> = pods
            .into_iter()
            .map(|(pod, node)| cluster.pod(pod, node))
            .collect();
        let servers = pods.iter().map(|pod| {
            let tcp = Server::start(&pod.netns, TARGET, &pod.label()).unwrap();
            (tcp, Echo::start(&pod.netns, pod.ips[0]))
        });
        let field = Self {
            _servers: servers.collect(),
            client,
            pods,
            cluster,
        };
        for (number, pod) in field.pods.iter().enumerate() {
            let to = SocketAddr::new(pod.ips[0], TARGET);
            field.cluster.translate("node1", service(number), to);
        }
        field
    }

    fn direct(&self, number: usize) -> SocketAddr {
        (self.pods[number].ips[0], TARGET).into()
    }

    fn socket(&self) -> UdpSocket {
        let client = self.client.ips[0];
        self.client
            .netns
            .run(|| UdpSocket::bind((client, 0)).unwrap())
            .unwrap()
    }
}

fn service(number: usize) -> SocketAddr {
    (SERVICE, PORT + u16::try_from(number).unwrap()).into()
}

/// Answers each datagram with as many bytes as it asks for; ends when dropped.
struct Echo {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Echo {
    fn start(netns: &NetNs, ip: IpAddr) -> Self {
        let socket = netns
            .run(|| UdpSocket::bind((ip, TARGET)).unwrap())
            .unwrap();
        // So often it looks whether to stop.
        socket
            .set_read_timeout(Some(Duration::from_millis(20)))
            .unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let serve = move || {
            while !stopped.load(Ordering::Relaxed) {
                let mut request = [0; 2];
                if let Ok((2, from)) = socket.recv_from(&mut request) {
                    let answer = vec![b'x'; u16::from_be_bytes(request).into()];
                    drop(socket.send_to(&answer, from));
                }
            }
        };
        let thread = Some(thread::spawn(serve));
        Self { stop, thread }
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(matches!(ended, Some(Ok(()))));
    }
}

/// How many bytes came back, from the address that was asked and no other.
fn ask(socket: &UdpSocket, to: SocketAddr, bytes: u16) -> Option<usize> {
    socket.connect(to).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_millis(300)))
        .unwrap();
    let mut answer = vec![0; 65_535];
    let sent = socket.send(&bytes.to_be_bytes());
    match sent.and_then(|_| socket.recv(&mut answer)) {
        Ok(bytes) => Some(bytes),
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::WouldBlock | ErrorKind::ConnectionRefused
            ) =>
        {
            None
        }
        Err(error) => panic!("{to}: {error}"),
    }
}

#[test]
fn pods_answer_from_the_address_of_their_service() {
    let field = Field::new();
    for (number, pod) in field.pods.iter().enumerate().take(2) {
        let name = pod.label();
        for round in 0..5 {
            let asked = probe::tcp(&field.client.netns, service(number), SOON).unwrap();
            assert!(
                asked.reached_from(field.client.ips[0]),
                "{name} by TCP, round {round}: {asked:?}"
            );
        }
        let socket = field.socket();
        for bytes in [10, 1_400, 1_401, 5_000, 40_000] {
            let answered = ask(&socket, service(number), bytes);
            assert_eq!(answered, Some(bytes.into()), "{name} by UDP");
        }
        // Between the same two ports, past the service: the answers come from the pod itself.
        for bytes in [10, 5_000] {
            let answered = ask(&socket, field.direct(number), bytes);
            assert_eq!(answered, Some(bytes.into()), "{name}, asked directly");
        }
        assert_eq!(
            ask(&socket, service(number), 10),
            Some(10),
            "{name}, by its service again"
        );
    }
}

#[test]
fn a_service_leads_nowhere_where_its_pods_are_isolated() {
    let field = Field::new();
    let (other, socket) = (2, field.socket());
    let isolated = || field.cluster.count("node1", "Isolated");
    let before = isolated();
    assert_eq!(ask(&socket, service(other), 10), None);
    eventually("the drop is counted", || isolated() > before);
    field
        .cluster
        .ask("node1", &["pod-network", "join-projects", "--to=a", "b"])
        .ok();
    eventually("its project is joined", || {
        ask(&socket, service(other), 10) == Some(10)
    });
}

#[test]
fn pods_and_services_answer_in_turn_while_the_agent_is_away() {
    let field = Field::new();
    field.cluster.agent("node1", Action::Kill).unwrap();
    let socket = field.socket();
    for number in [0, 1] {
        for to in [service(number), field.direct(number)].repeat(3) {
            assert_eq!(ask(&socket, to, 100), Some(100), "{to}");
        }
    }
    field.cluster.agent("node1", Action::Start).unwrap();
}
