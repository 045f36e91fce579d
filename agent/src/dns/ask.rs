//! One lookup: servers in order until one has an address; A and AAAA at once; TCP when UDP was cut short.

use std::collections::HashMap;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{Either, select};
use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ProtocolConfig, ResolverOpts, ServerOrderingStrategy,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::xfer::{DnsHandle as _, FirstAnswer as _};
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::{DnsRequestOptions, DnsResponse, Query, ResponseCode};
use hickory_resolver::proto::rr::{Name, RData, Record as HickoryRecord, RecordType};
use hickory_resolver::{NameServerPool, PoolContext, TlsConfig};
use weft_core::model::DnsName;
use weft_core::names::{Answer, Failure, Family, Record, RecordData, Report};

/// When one family has answered with addresses, the other gets so much more time: a server that never answers AAAA
/// queries must not keep the A records back.
const OTHER_FAMILY: Duration = Duration::from_secs(1);
/// Queries on one TCP connection at once: more than lookups can be under way.
const TCP_QUERIES: usize = 512;

type Upstream = NameServerPool<TokioRuntimeProvider>;

/// The servers in use: each with its own connections, so that none waits for another.
pub(super) struct Upstreams {
    timeout: Duration,
    upstreams: HashMap<SocketAddr, Upstream>,
}

impl Upstreams {
    pub(super) fn new(timeout: Duration) -> Self {
        Self {
            timeout,
            upstreams: HashMap::new(),
        }
    }

    /// Drops connections to servers that are not in use any more.
    pub(super) fn keep(&mut self, servers: &[SocketAddr]) {
        self.upstreams.retain(|server, _| servers.contains(server));
    }

    /// Asks the servers in their order.
    pub(super) fn lookup(
        &mut self,
        name: &DnsName,
        servers: &[SocketAddr],
    ) -> impl Future<Output = Report> + Send + 'static {
        let timeout = self.timeout;
        let upstreams: Vec<_> = servers
            .iter()
            .map(|server| {
                let upstream = self.upstreams.entry(*server);
                let upstream = upstream.or_insert_with(|| connect(*server, timeout));
                (*server, upstream.clone())
            })
            .collect();
        let name = name.clone();
        async move {
            let mut report = Report::default();
            for (server, upstream) in upstreams {
                let (v4, v6) = both(&upstream, &name, timeout).await;
                if v4.has_addresses() || v6.has_addresses() {
                    report.answer = Some(Answer { server, v4, v6 });
                    break;
                }
                report.failures.0.push((server, why_nothing(v4, v6)));
            }
            report
        }
    }
}

fn connect(server: SocketAddr, timeout: Duration) -> Upstream {
    let connections = [ProtocolConfig::Udp, ProtocolConfig::Tcp].map(|protocol| {
        let mut connection = ConnectionConfig::new(protocol);
        connection.port = server.port();
        connection
    });
    let mut options = ResolverOpts::default();
    options.timeout = timeout;
    options.server_ordering_strategy = ServerOrderingStrategy::UserProvidedOrder;
    options.max_active_requests = TCP_QUERIES;
    // A port of its own choice may be one that a service of the node is about to use.
    options.os_port_selection = true;
    let config = NameServerConfig::new(server.ip(), true, connections.into());
    // Without TLS there is nothing in it that can fail.
    let tls = TlsConfig::new().unwrap_or(TlsConfig {});
    let context = Arc::new(PoolContext::new(options, tls));
    NameServerPool::from_config([config], context, TokioRuntimeProvider::new())
}

async fn both(upstream: &Upstream, name: &DnsName, timeout: Duration) -> (Family, Family) {
    let v4 = pin!(family(upstream, name, RecordType::A, timeout));
    let v6 = pin!(family(upstream, name, RecordType::AAAA, timeout));
    match select(v4, v6).await {
        Either::Left((v4, v6)) => {
            let v6 = other(&v4, v6).await;
            (v4, v6)
        }
        Either::Right((v6, v4)) => {
            let v4 = other(&v6, v4).await;
            (v4, v6)
        }
    }
}

async fn other(first: &Family, second: impl Future<Output = Family>) -> Family {
    if !first.has_addresses() {
        return second.await;
    }
    let second = tokio::time::timeout(OTHER_FAMILY, second).await;
    second.unwrap_or(Family::Failed(Failure::Timeout))
}

async fn family(
    upstream: &Upstream,
    name: &DnsName,
    records: RecordType,
    timeout: Duration,
) -> Family {
    // hickory ends a query over UDP, and one over TCP after it, by its own timeout, and must see it end to give a
    // dead connection up. This one is for what it may overlook.
    let whole = timeout * 2 + Duration::from_secs(1);
    let mut options = DnsRequestOptions::default();
    let query = async {
        match send(upstream, name, records, options).await {
            // A server that does not know EDNS.
            Err(NetError::Dns(DnsError::ResponseCode(
                ResponseCode::FormErr | ResponseCode::NotImp | ResponseCode::BADVERS,
            ))) => {
                options.use_edns = false;
                send(upstream, name, records, options).await
            }
            other => other,
        }
    };
    match tokio::time::timeout(whole, query).await {
        Ok(Ok(response)) => read(name, &response),
        Ok(Err(error)) => failed(&error),
        Err(_) => Family::Failed(Failure::Timeout),
    }
}

async fn send(
    upstream: &Upstream,
    name: &DnsName,
    records: RecordType,
    options: DnsRequestOptions,
) -> Result<DnsResponse, NetError> {
    // The dot: no search list, whatever the name looks like.
    let name = Name::from_ascii(format!("{name}."))?;
    let query = Query::query(name, records);
    upstream.lookup(query, options).first_answer().await
}

fn read(name: &DnsName, response: &DnsResponse) -> Family {
    let records: Vec<Record> = response.answers.iter().filter_map(record).collect();
    match (Family::of(name, &records), response.response_code) {
        (found @ Family::Addresses { .. }, ResponseCode::NoError) => found,
        (_, ResponseCode::NoError) => Family::Nothing,
        // An alias to a name that does not exist.
        (_, code) => Family::Failed(code_failure(code)),
    }
}

fn record(record: &HickoryRecord) -> Option<Record> {
    let data = match &record.data {
        RData::A(a) => RecordData::Address(a.0.into()),
        RData::AAAA(aaaa) => RecordData::Address(aaaa.0.into()),
        RData::CNAME(target) => RecordData::Alias(text(&target.0)),
        _ => return None,
    };
    Some(Record {
        owner: text(&record.name),
        ttl: Duration::from_secs(record.ttl.into()),
        data,
    })
}

/// As [`DnsName`] writes names; what no such name can have is escaped, and equal names stay equal.
fn text(name: &Name) -> String {
    let mut text = name.to_ascii().to_ascii_lowercase();
    if text.ends_with('.') {
        text.pop();
    }
    text
}

fn failed(error: &NetError) -> Family {
    Family::Failed(match error {
        NetError::Timeout => Failure::Timeout,
        NetError::Io(error) => Failure::Unreachable(error.to_string()),
        NetError::NoConnections | NetError::Busy => Failure::Unreachable(error.to_string()),
        NetError::Dns(DnsError::ResponseCode(code)) => code_failure(*code),
        NetError::Dns(DnsError::NoRecordsFound(none)) => match none.response_code {
            ResponseCode::NoError => return Family::Nothing,
            code => code_failure(code),
        },
        error => Failure::Unusable(error.to_string()),
    })
}

fn code_failure(code: ResponseCode) -> Failure {
    match code {
        ResponseCode::ServFail => Failure::ServFail,
        ResponseCode::NXDomain => Failure::NxDomain,
        ResponseCode::Refused => Failure::Refused,
        code => Failure::Code(code.into()),
    }
}

/// Neither family has an address: a failure tells more than an empty answer, and an answer more than silence.
fn why_nothing(v4: Family, v6: Family) -> Failure {
    let failure = |family| match family {
        Family::Failed(failure) => Some(failure),
        Family::Nothing | Family::Addresses { .. } => None,
    };
    match (failure(v4), failure(v6)) {
        (Some(v4), Some(v6)) if v4.is_silence() => v6,
        (Some(failure), _) | (None, Some(failure)) => failure,
        (None, None) => Failure::NoAddress,
    }
}
