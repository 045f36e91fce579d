//! The name servers and the order to ask them in.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// So many lookups in a row without a sign of life, and a server is asked last.
const SILENCES: u32 = 3;
/// For so long; then one lookup tries it first again.
const SHUNNED: Duration = Duration::from_secs(30);

/// Name servers in the order of the configuration. A silent one moves to the end: it stays in use, since it may know
/// names that the others do not, but a dead first server does not cost every name its time.
#[derive(Debug, Default)]
pub(super) struct Servers(Vec<Server>);

#[derive(Debug)]
struct Server {
    address: SocketAddr,
    silences: u32,
    shunned_until: Option<Instant>,
}

impl Servers {
    /// Replaces the list; what is known of servers that stay is kept. Tells whether it differs.
    pub(super) fn set(&mut self, addresses: &[SocketAddr]) -> bool {
        if self.addresses().eq(addresses.iter().copied()) {
            return false;
        }
        let mut old = std::mem::take(&mut self.0);
        for address in addresses {
            let known = old.iter().position(|server| server.address == *address);
            self.0.push(match known {
                Some(i) => old.swap_remove(i),
                None => Server {
                    address: *address,
                    silences: 0,
                    shunned_until: None,
                },
            });
        }
        true
    }

    pub(super) fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.0.iter().map(|server| server.address)
    }

    /// The order for a lookup that starts now.
    pub(super) fn order(&mut self, now: Instant) -> Vec<SocketAddr> {
        let (mut first, mut last) = (Vec::new(), Vec::new());
        for server in &mut self.0 {
            match server.shunned_until {
                Some(until) if until > now => last.push(server.address),
                // One lookup finds out whether it lives; the others go on without it meanwhile.
                Some(_) => {
                    server.shunned_until = Some(now + SHUNNED);
                    first.push(server.address);
                }
                None => first.push(server.address),
            }
        }
        first.append(&mut last);
        first
    }

    /// A server answered, whatever it said. Tells whether it had been silent.
    pub(super) fn heard(&mut self, address: SocketAddr) -> bool {
        let server = self.0.iter_mut().find(|server| server.address == address);
        server.is_some_and(|server| {
            server.silences = 0;
            server.shunned_until.take().is_some()
        })
    }

    /// A server did not answer a lookup.
    pub(super) fn silent(&mut self, address: SocketAddr, now: Instant) {
        if let Some(server) = self.0.iter_mut().find(|server| server.address == address) {
            server.silences = server.silences.saturating_add(1);
            if server.silences >= SILENCES {
                server.shunned_until = Some(now + SHUNNED);
            }
        }
    }
}
