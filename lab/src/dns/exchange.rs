//! One message to a name server and its answer, from the calling thread's network namespace.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use hickory_proto::op::{Message, MessageType, OpCode, Query};
use hickory_proto::rr::{Name, RData, Record, RecordType};

/// Largest answer over UDP that is taken.
const LARGEST: usize = 8_192;

/// Encodes a message.
pub fn encode(message: &Message) -> io::Result<Vec<u8>> {
    message.to_vec().map_err(io::Error::other)
}

/// Decodes a message.
pub fn decode(bytes: &[u8]) -> io::Result<Message> {
    Message::from_vec(bytes).map_err(io::Error::other)
}

/// A name; letters stay as they are written.
pub fn name(text: &str) -> io::Result<Name> {
    let mut name = Name::from_ascii(text).map_err(io::Error::other)?;
    name.set_fqdn(true);
    Ok(name)
}

/// A question as a stub resolver puts it.
pub fn question(of: &str, kind: RecordType) -> io::Result<Message> {
    let mut message = Message::new(rand::random(), MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(name(of)?, kind));
    Ok(message)
}

/// An answer that nobody asked a server for: to the question `query`, with an address of `owner`.
pub fn forgery(query: &Message, owner: &str, address: IpAddr) -> io::Result<Message> {
    let mut message = Message::new(query.metadata.id, MessageType::Response, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.metadata.recursion_available = true;
    message.queries.clone_from(&query.queries);
    message.add_answer(Record::from_rdata(name(owner)?, 60, RData::from(address)));
    Ok(message)
}

/// Over UDP, from a port of its own. What has another ID is not taken for the answer.
pub fn over_udp(server: SocketAddr, query: &[u8], patience: Duration) -> io::Result<Vec<u8>> {
    let any: IpAddr = if server.is_ipv6() {
        [0; 16].into()
    } else {
        [0; 4].into()
    };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(server)?;
    socket.send(query)?;
    receive(&socket, query, patience)
}

/// Waits for the answer to a query on a connected socket.
pub fn receive(socket: &UdpSocket, query: &[u8], patience: Duration) -> io::Result<Vec<u8>> {
    let deadline = Instant::now() + patience;
    let mut buffer = [0; LARGEST];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        socket.set_read_timeout(Some(left))?;
        let length = match socket.recv(&mut buffer) {
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error),
        };
        if length >= 12 && buffer.get(..2) == query.get(..2) {
            return Ok(buffer[..length].to_vec());
        }
    }
}

/// Over TCP, on a connection of its own (RFC 1035 section 4.2.2).
pub fn over_tcp(server: SocketAddr, query: &[u8], patience: Duration) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&server, patience)?;
    stream.set_read_timeout(Some(patience))?;
    write_framed(&mut stream, query)?;
    read_framed(&mut stream)
}

/// A message behind its length, in one segment.
pub fn write_framed(to: &mut impl Write, message: &[u8]) -> io::Result<()> {
    let length = u16::try_from(message.len()).map_err(io::Error::other)?;
    to.write_all(&[&length.to_be_bytes()[..], message].concat())
}

/// The next message of a stream.
pub fn read_framed(from: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut length = [0; 2];
    from.read_exact(&mut length)?;
    let mut message = vec![0; u16::from_be_bytes(length).into()];
    from.read_exact(&mut message)?;
    Ok(message)
}
