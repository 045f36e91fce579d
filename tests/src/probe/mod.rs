//! Traffic for tests: connections whose other end says where they came from, and numbered packet streams. Everything
//! runs on threads inside the namespaces; no external program takes part.

mod line;
mod stream;

pub use line::{Outcome, Server, ask, serve, tcp};
pub use stream::{Report, Stream};
