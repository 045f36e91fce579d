//! Traffic for tests: connections whose other end says where they came from, numbered packet streams, lookups followed by a
//! connection. Everything runs on threads inside the namespaces; no external program takes part.

mod line;
mod lookup;
mod stream;

pub use line::{Outcome, Server, ask, serve, tcp};
pub use lookup::{Answer, Lookup, Round};
pub use stream::{Report, Stream};
