//! Just enough HTTP for the server in the pods: one request for each connection.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use weft_netns::NetNs;

/// Longest wait for an answer that is expected.
pub const SOON: Duration = Duration::from_secs(3);
/// How long silence must last to count as such.
pub const SILENCE: Duration = Duration::from_millis(700);

/// The body of an answer, asked for from inside a namespace.
pub fn get(from: &NetNs, to: SocketAddr, path: &str, patience: Duration) -> io::Result<String> {
    from.run(|| {
        let mut stream = TcpStream::connect_timeout(&to, patience)?;
        stream.set_read_timeout(Some(patience))?;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: pod\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        match answer.split_once("\r\n\r\n") {
            Some((head, body)) if head.contains(" 200 ") => Ok(body.to_owned()),
            _ => Err(io::Error::other(answer)),
        }
    })
    .unwrap()
}

/// The client's address as the server sees it.
pub fn seen_as(from: &NetNs, to: SocketAddr) -> io::Result<IpAddr> {
    let answer = get(from, to, "/clientip", SOON)?;
    let seen: SocketAddr = answer.trim().parse().map_err(io::Error::other)?;
    Ok(seen.ip().to_canonical())
}

/// Whether nobody answers at all, as when packets are dropped on the way.
pub fn silent(from: &NetNs, to: SocketAddr) -> bool {
    let asked = get(from, to, "/clientip", SILENCE);
    asked.is_err_and(|error| {
        matches!(
            error.kind(),
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock
        )
    })
}
