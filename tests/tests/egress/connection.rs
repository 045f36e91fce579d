//! A TCP connection from a pod to the host outside that stays open, both ends in the test's hands.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use weft_netns::NetNs;
use weft_wait::SOON;

pub struct Connection {
    client: TcpStream,
    server: TcpStream,
}

impl Connection {
    pub fn open(from: &NetNs, to: &NetNs, address: IpAddr) -> Self {
        let listen = || TcpListener::bind((address, 0)).unwrap();
        let listener = to.run(listen).unwrap();
        let at: SocketAddr = listener.local_addr().unwrap();
        let connect = || TcpStream::connect_timeout(&at, SOON);
        let client = from.run(connect).unwrap();
        let client = client.unwrap_or_else(|error| panic!("connect to {at}: {error}"));
        Self {
            client,
            server: listener.accept().unwrap().0,
        }
    }

    /// Whether a byte gets to the other side and back in time.
    pub fn works(&mut self, patience: Duration) -> bool {
        let Self { client, server } = self;
        pass(client, server, patience) && pass(server, client, patience)
    }
}

fn pass(from: &mut TcpStream, to: &mut TcpStream, patience: Duration) -> bool {
    to.set_read_timeout(Some(patience)).unwrap();
    from.write_all(b"!").unwrap();
    // A retransmitted byte of an earlier call counts as well: the connection works.
    to.read_exact(&mut [0]).is_ok()
}
