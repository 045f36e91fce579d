//! The HTTP under a client: one connection of HTTP/2 for everything, or as many of HTTP/1.1 where a server or a proxy in the
//! way knows only that.

use std::time::Duration;

use hyper_rustls::{FixedServerNameResolver, HttpsConnectorBuilder};
use hyper_timeout::TimeoutConnector;
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use kube::Client;
use kube::client::{Body, ConfigExt as _};
use tower::retry::RetryLayer;
use tower::{BoxError, ServiceBuilder};

use super::heard::HeardLayer;
use super::refused::Refused;
use super::silence::SilenceLayer;

/// How long is waited for what.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// For the next piece of an answer. A watch without news brings a bookmark a minute: a lower limit cuts quiet watches
    /// that are well.
    pub silence: Duration,
    /// Nothing came on the connection for so long: the server is asked for a sign of life. Whole seconds.
    pub quiet: Duration,
    /// For the sign of life; then the connection is dead. Whole seconds.
    pub sign: Duration,
}

impl Default for Limits {
    /// A watch that brings not one of two bookmarks is dead. The signs of life are those of client-go
    /// (`HTTP2_READ_IDLE_TIMEOUT_SECONDS`, `HTTP2_PING_TIMEOUT_SECONDS`).
    fn default() -> Self {
        Self {
            silence: Duration::from_secs(150),
            quiet: Duration::from_secs(30),
            sign: Duration::from_secs(15),
        }
    }
}

/// To the server, before it counts as away.
const CONNECT: Duration = Duration::from_secs(5);
/// Until a connection without requests is closed. Longer than a watch lasts (five minutes): the pool counts from the last
/// request, and would open another connection next to one that the watches are still on.
const UNUSED: Duration = Duration::from_mins(10);

/// Of a request that met the end of its connection: the next one may be about to end too.
const RETRIES: u32 = 5;

/// On the runtime's thread: the client starts its workers where it is made.
pub(super) fn transport(
    config: &kube::Config,
    heard: HeardLayer,
    limits: Limits,
) -> Result<Client, BoxError> {
    if let Some(proxy) = &config.proxy_url {
        // Not the whole of it: it may hold a password.
        return Err(format!(
            "the kubeconfig (proxy-url) or the environment (HTTPS_PROXY) names the proxy {}, and none is supported: leave it \
             out, and name an address of the server that is reached directly",
            proxy.host().unwrap_or_default()
        )
        .into());
    }
    let mut pool = Pool::builder(TokioExecutor::new());
    pool.timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(UNUSED)
        .http2_keep_alive_interval(limits.quiet)
        .http2_keep_alive_timeout(limits.sign)
        .http2_keep_alive_while_idle(true);
    let pool: Pool<_, Body> = pool.build(connector(config, limits)?);
    let service = ServiceBuilder::new()
        .layer(heard)
        .layer(SilenceLayer(limits.silence))
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .layer(RetryLayer::new(Refused { left: RETRIES }))
        .map_err(BoxError::from)
        .service(pool);
    Ok(Client::new(service, config.default_namespace.clone()))
}

type Connector = TimeoutConnector<hyper_rustls::HttpsConnector<HttpConnector>>;

fn connector(config: &kube::Config, limits: Limits) -> Result<Connector, BoxError> {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    // Where there is no HTTP/2. The kernel keeps a connection with unanswered probes until the last of the three; one with
    // unacknowledged data until the user timeout.
    tcp.set_keepalive(Some(limits.quiet));
    tcp.set_keepalive_interval(Some(limits.sign / 3));
    tcp.set_keepalive_retries(Some(3));
    tcp.set_tcp_user_timeout(Some(limits.quiet + limits.sign));
    let mut tls = HttpsConnectorBuilder::new()
        .with_tls_config(config.rustls_client_config()?)
        .https_or_http();
    if let Some(name) = &config.tls_server_name {
        let name = name.clone().try_into()?;
        tls = tls.with_server_name_resolver(FixedServerNameResolver::new(name));
    }
    let tls = tls.enable_http1().enable_http2().wrap_connector(tcp);
    let mut connector = TimeoutConnector::new(tls);
    connector.set_connect_timeout(Some(CONNECT));
    Ok(connector)
}
