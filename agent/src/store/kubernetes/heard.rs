//! When the API server was heard last: every piece of every good answer counts, bookmarks of a quiet watch included.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use http::{Request, Response};
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::watch;

/// Told of each good answer to a read: the path that was asked for, and whether it is a watch. Answers whether to go on.
type Listener = Box<dyn Fn(&str, bool) -> bool + Send + Sync>;

/// The clock, and who wants to hear of answers.
pub(super) struct Heard {
    start: Instant,
    /// Milliseconds after the start.
    last: AtomicU64,
    listeners: Mutex<Vec<Listener>>,
    /// Changes with each good answer to a read.
    answers: watch::Sender<()>,
}

impl Heard {
    pub(super) fn new() -> Self {
        Self {
            start: Instant::now(),
            last: AtomicU64::new(0),
            listeners: Mutex::new(Vec::new()),
            answers: watch::Sender::new(()),
        }
    }

    /// How long ago; since the start if there was nothing yet.
    pub(super) fn ago(&self) -> Duration {
        let last = Duration::from_millis(self.last.load(Ordering::Relaxed));
        self.start.elapsed().saturating_sub(last)
    }

    pub(super) fn listen(&self, listener: Listener) {
        self.listeners().push(listener);
    }

    /// Changes with each good answer to a read from now on.
    pub(super) fn answers(&self) -> watch::Receiver<()> {
        self.answers.subscribe()
    }

    fn listeners(&self) -> std::sync::MutexGuard<'_, Vec<Listener>> {
        self.listeners
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self) {
        let now = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(now, Ordering::Relaxed);
    }

    fn answered(&self, path: &str, watch: bool) {
        self.note();
        self.listeners().retain(|listener| listener(path, watch));
        self.answers.send_replace(());
    }
}

/// Puts the clock around a client's connection.
#[derive(Clone)]
pub(super) struct HeardLayer(pub(super) Arc<Heard>);

impl<S> tower::Layer<S> for HeardLayer {
    type Service = Hearing<S>;

    fn layer(&self, inner: S) -> Hearing<S> {
        Hearing {
            inner,
            heard: Arc::clone(&self.0),
        }
    }
}

/// A connection with the clock around it.
pub(super) struct Hearing<S> {
    inner: S,
    heard: Arc<Heard>,
}

impl<S, A, B> tower::Service<Request<A>> for Hearing<S>
where
    S: tower::Service<Request<A>, Response = Response<B>>,
    S::Future: Send + 'static,
{
    type Response = Response<HeardBody<B>>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<A>) -> Self::Future {
        let heard = Arc::clone(&self.heard);
        let path = request.uri().path().to_owned();
        let query = request.uri().query().unwrap_or_default();
        let watch = query.split('&').any(|pair| pair == "watch=true");
        let read = request.method() == http::Method::GET;
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await?;
            let good = answer.status().is_success();
            if good && read {
                heard.answered(&path, watch);
            }
            Ok(answer.map(|inner| HeardBody {
                inner,
                heard: good.then_some(heard),
            }))
        })
    }
}

/// An answer's body with the clock around it.
pub(super) struct HeardBody<B> {
    inner: B,
    /// Not for an answer that is an error: a proxy in the way can say that too.
    heard: Option<Arc<Heard>>,
}

impl<B: Body + Unpin> Body for HeardBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(context));
        if let (Some(Ok(_)), Some(heard)) = (&frame, &self.heard) {
            heard.note();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
