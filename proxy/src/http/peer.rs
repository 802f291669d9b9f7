//! How a pod is asked: an endpoint and its route's termination flow in, Pingora's description of the connection flows
//! out. Connections are shared only by requests for the same pod under the same TLS policy.

use super::exchange::Exchange;
use super::pod_stream::PodConnector;
use crate::backends::Target;
use crate::limits::{CONNECT_ATTEMPT_TIME, EXCHANGE_IDLE, H2_UPSTREAM_STREAMS, UPSTREAM_IDLE};
use crate::proxy_protocol::Addresses;
use crate::upstream_tls::DestinationCas;
use nearside_routing::policy::backend::BackendProtocol;
use nearside_routing::table::{CompiledRoute, Scheme, Termination};
use pingora::connectors::L4Connect;
use pingora::upstreams::peer::{HttpPeer, Scheme as Plain};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A connection to a pod, described for Pingora.
pub(crate) type Described = Box<HttpPeer>;

/// What matters of a request for its connection.
#[derive(Clone, Debug)]
pub(super) struct Request {
    /// Whether it asks for WebSocket, which only HTTP/1.1 carries to the pod.
    pub(super) upgrade: bool,
    /// Whether it is gRPC, which only HTTP/2 carries.
    pub(super) grpc: bool,
    /// Where it needs a connection of its own: what that must know.
    pub(super) exchange: Option<Arc<Exchange>>,
    /// How it came in.
    pub(super) scheme: Scheme,
    /// Whether pods over TLS may be asked over HTTP/2.
    pub(super) http2: bool,
    /// Who the pod is told is connected, where it wants to be told by the PROXY protocol.
    pub(super) client: Option<Addresses>,
}

/// How long a pod may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timeouts {
    /// To be connected to.
    pub(super) connect: Duration,
    /// Between two bytes of its answer.
    pub(super) read: Duration,
    /// To take a part of the request.
    pub(super) send: Duration,
}

impl Timeouts {
    /// For one attempt to connect. `last` says that no other endpoint is left to try.
    pub(super) fn until_connected(&self, last: bool) -> Duration {
        if last { self.connect } else { self.connect.min(CONNECT_ATTEMPT_TIME) }
    }
}

/// Describes the connection. `last` says that no other endpoint is left to try.
pub(super) fn peer(
    target: &Target,
    route: &CompiledRoute,
    cas: &DestinationCas,
    request: &Request,
    timeouts: &Timeouts,
    last: bool,
) -> HttpPeer {
    let backend = &route.policy.backend;
    let tls = is_tls(route, request.scheme);
    let ca = if tls { cas.verifying(route) } else { None };
    // Pingora does not verify anything where the server name is empty.
    let server_name = match &backend.server_name {
        _ if !tls => String::new(),
        Some(name) => name.as_str().to_owned(),
        None => format!("{}.{}.svc", target.service.name, target.service.namespace),
    };
    let mut peer = HttpPeer::new(target.address, tls, server_name);
    let options = &mut peer.options;
    let named = backend.verify == Some(true) && (backend.server_name.is_some() || route.pod_tls.is_some());
    options.verify_hostname = ca.is_some_and(|ca| ca.names || named);
    options.verify_cert = ca.is_some();
    options.ca = ca.map(|ca| ca.bundle.clone());
    let h2 = match (tls, target.h2c) {
        _ if request.upgrade => H2::No,
        _ if backend.protocol.is_some_and(BackendProtocol::only_http2) => H2::Always,
        (true, _) if !request.http2 => H2::No,
        // Pingora notes for good, under the key of each connection, which pods agree on HTTP/1.1 alone.
        (true, _) if request.exchange.is_some() || request.client.is_some() => {
            if request.grpc {
                H2::Always
            } else {
                H2::No
            }
        }
        (true, _) => H2::IfAgreed,
        (false, true) => H2::Always,
        (false, false) => H2::No,
    };
    match h2 {
        H2::No => options.set_http_version(1, 1),
        H2::IfAgreed => options.set_http_version(2, 1),
        H2::Always => options.set_http_version(2, 2),
    }
    options.max_h2_streams = H2_UPSTREAM_STREAMS;
    let connect = timeouts.until_connected(last);
    options.connection_timeout = Some(connect);
    options.total_connection_timeout = Some(if tls { connect + timeouts.connect } else { connect });
    options.write_timeout = Some(timeouts.send);
    let mut own = 0;
    let connector = |exchange, secured| PodConnector { timeout: connect, client: request.client, exchange, secured };
    options.custom_l4 = request.client.map(|_| Arc::new(connector(None, None)) as Arc<dyn L4Connect + Send + Sync>);
    match &request.exchange {
        Some(_) => {
            // The connection knows better which silence counts.
            options.read_timeout = None;
            options.idle_timeout = Some(EXCHANGE_IDLE);
            own = NEXT_EXCHANGE.fetch_add(1, Ordering::Relaxed);
        }
        None => {
            options.read_timeout = Some(timeouts.read);
            options.idle_timeout = Some(UPSTREAM_IDLE);
        }
    }
    // Pingora tells certificates apart by their serial numbers alone.
    let shown = if tls { cas.shown(route) } else { None };
    let shown_identity = shown.as_ref().map(|(_, fingerprint)| *fingerprint);
    peer.client_cert_key = shown.map(|(shown, _)| shown);
    // Neither CA, ALPN, the pod behind an address nor who that was told is connected is part of Pingora's own key.
    let mut key = DefaultHasher::new();
    (target.identity(), tls, ca.map(|ca| (ca.identity, ca.names || named)), h2, own, request.client, shown_identity)
        .hash(&mut key);
    peer.group_key = key.finish();
    if let Some(exchange) = &request.exchange {
        // What passes above TLS is seen where Pingora is given a connection that has TLS already.
        let secured = (tls && exchange.trailers().is_some()).then(|| Box::new(peer.clone()));
        if secured.is_some() {
            peer.scheme = Plain::HTTP;
            peer.sni.clear();
        }
        peer.options.custom_l4 = Some(Arc::new(connector(Some(Arc::clone(exchange)), secured)));
    }
    peer
}

/// Whether the pod is asked over HTTP/2 in any case, so that trailers need no care.
pub(super) fn is_only_http2(target: &Target, route: &CompiledRoute, scheme: Scheme) -> bool {
    let protocol = route.policy.backend.protocol;
    protocol.is_some_and(BackendProtocol::only_http2) || (target.h2c && !is_tls(route, scheme))
}

/// Whether the pod is asked over HTTP/1 without TLS, without words before it, and answers as fast as it can.
pub(super) fn is_plain(target: &Target, route: &CompiledRoute, scheme: Scheme) -> bool {
    let policy = &route.policy;
    let free = policy.proxy_protocol.is_none() && policy.bandwidth.is_none();
    free && !is_tls(route, scheme) && !is_only_http2(target, route, scheme)
}

/// Whether the pod is asked over TLS.
fn is_tls(route: &CompiledRoute, scheme: Scheme) -> bool {
    let asked = route.policy.backend.protocol.is_some_and(|protocol| protocol.tls(scheme));
    asked || matches!(route.termination, Termination::Reencrypt { .. })
}

static NEXT_EXCHANGE: AtomicU64 = AtomicU64::new(1);

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum H2 {
    No,
    IfAgreed,
    Always,
}
