//! The end of an answer that brings nothing. Signs of life of the connection say nothing about it: the server, or a proxy in
//! the way, may answer them and bring nothing more on a watch. So the next request goes by another connection.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::{Body, Frame, SizeHint};
use hyper_util::client::legacy::connect::{CaptureConnection, capture_connection};
use thiserror::Error;
use tokio::time::{Instant, Sleep, sleep, timeout};
use tower::BoxError;

/// Why an answer was given up.
#[derive(Debug, Error)]
#[error("nothing came for {} s", .0.as_secs())]
pub(super) struct Silent(Duration);

/// Ends answers that bring nothing for so long.
#[derive(Clone, Copy)]
pub(super) struct SilenceLayer(pub(super) Duration);

impl<S> tower::Layer<S> for SilenceLayer {
    type Service = Limited<S>;

    fn layer(&self, inner: S) -> Limited<S> {
        Limited {
            inner,
            limit: self.0,
        }
    }
}

/// A connection whose answers end in silence.
pub(super) struct Limited<S> {
    inner: S,
    limit: Duration,
}

impl<S, A, B> tower::Service<Request<A>> for Limited<S>
where
    S: tower::Service<Request<A>, Response = Response<B>, Error = BoxError>,
    S::Future: Send + 'static,
{
    type Response = Response<LimitedBody<B>>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<A>) -> Self::Future {
        let limit = self.limit;
        let unanswered = Unanswered(Some(capture_connection(&mut request)));
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = timeout(limit, answer).await.map_err(|_| Silent(limit))??;
            let connection = unanswered.answered();
            Ok(answer.map(|inner| LimitedBody::new(inner, limit, connection)))
        })
    }
}

/// A request on its way. If it is dropped, by us or by whoever asked and has waited long enough, no other request takes its
/// connection.
struct Unanswered(Option<CaptureConnection>);

impl Unanswered {
    fn answered(mut self) -> Option<CaptureConnection> {
        self.0.take()
    }
}

impl Drop for Unanswered {
    fn drop(&mut self) {
        give_up(self.0.as_ref());
    }
}

/// What is under way on a connection goes on; nothing new begins on it.
fn give_up(connection: Option<&CaptureConnection>) {
    let Some(connection) = connection else {
        return;
    };
    if let Some(connected) = connection.connection_metadata().as_ref() {
        connected.poison();
    }
}

/// An answer's body that ends in silence.
pub(super) struct LimitedBody<B> {
    inner: B,
    limit: Duration,
    connection: Option<CaptureConnection>,
    /// Since the last piece.
    silence: Pin<Box<Sleep>>,
}

impl<B> LimitedBody<B> {
    fn new(inner: B, limit: Duration, connection: Option<CaptureConnection>) -> Self {
        Self {
            inner,
            limit,
            connection,
            silence: Box::pin(sleep(limit)),
        }
    }
}

impl<B> Body for LimitedBody<B>
where
    B: Body + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = B::Data;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, BoxError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.inner).poll_frame(context) {
            let next = Instant::now() + self.limit;
            self.silence.as_mut().reset(next);
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        ready!(self.silence.as_mut().poll(context));
        give_up(self.connection.as_ref());
        Poll::Ready(Some(Err(Silent(self.limit).into())))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use http_body_util::{BodyExt as _, StreamBody};

    use super::*;

    const LIMIT: Duration = Duration::from_millis(200);

    #[test]
    fn a_body_ends_when_nothing_comes_for_the_limit_and_not_before() {
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.enable_time().build().unwrap();
        runtime.block_on(async {
            // Four pieces, each half the limit after the one before; then nothing more, and no end.
            let pieces = stream::unfold(0, |told| async move {
                if told == 4 {
                    std::future::pending::<()>().await;
                }
                sleep(LIMIT / 2).await;
                Some((Ok::<_, BoxError>(Frame::data(&b"piece"[..])), told + 1))
            });
            let start = Instant::now();
            let mut body = LimitedBody::new(StreamBody::new(Box::pin(pieces)), LIMIT, None);
            for _ in 0..4 {
                assert!(body.frame().await.unwrap().is_ok());
            }
            let error = body.frame().await.unwrap().unwrap_err();
            assert!(error.is::<Silent>(), "{error}");
            assert!(start.elapsed() >= 3 * LIMIT, "{:?}", start.elapsed());
        });
    }
}
