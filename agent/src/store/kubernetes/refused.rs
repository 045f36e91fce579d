//! Requests that met the end of a connection: a server behind a load balancer says GOAWAY now and then to spread its clients.

use http::{Request, Response};
use kube::client::Body;
use tokio::task::yield_now;
use tower::BoxError;
use tower::retry::Policy;

/// Sends a request again that the server has not begun to process and says so (RFC 9113, 6.8), whatever it asks for. What
/// was under way before goes on on the old connection.
#[derive(Clone, Copy)]
pub(super) struct Refused {
    /// Tries.
    pub(super) left: u32,
}

impl<B> Policy<Request<Body>, Response<B>, BoxError> for Refused {
    type Future = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

    fn retry(
        &mut self,
        _: &mut Request<Body>,
        outcome: &mut Result<Response<B>, BoxError>,
    ) -> Option<Self::Future> {
        let error = outcome.as_ref().err()?;
        if self.left == 0 || !is_refused(error.as_ref()) {
            return None;
        }
        self.left -= 1;
        // The connection's task takes it out of use.
        Some(Box::pin(yield_now()))
    }

    fn clone_request(&mut self, request: &Request<Body>) -> Option<Request<Body>> {
        let body = request.body().try_clone()?;
        let mut again = Request::new(body);
        *again.method_mut() = request.method().clone();
        *again.uri_mut() = request.uri().clone();
        *again.version_mut() = request.version();
        *again.headers_mut() = request.headers().clone();
        *again.extensions_mut() = request.extensions().clone();
        Some(again)
    }
}

/// Only streams that are not processed end with the server's GOAWAY; others end with the loss of the connection.
fn is_refused(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| error.source())
        .filter_map(|error| error.downcast_ref::<h2::Error>())
        .any(|error| {
            let polite = error.reason() == Some(h2::Reason::NO_ERROR);
            error.is_go_away() && error.is_remote() && polite
        })
}
