//! A request that the proxy of another node answers in this one's place: leave to relay, the connection, the marked header
//! and the limits on the response. The other proxy does for the request all that its route asks for; nothing is done twice
//! here. Called by `miss` and by the phases of `http`; one of the few modules that name Pingora types.
//!
//! Over TLS the other proxy must show the very certificate that this one has for the host and prove that it holds its key;
//! it does where both have read the same Secret.

use super::context::RequestContext;
use super::peer::Timeouts;
use super::request::RequestTarget;
use crate::connection::Connection;
use crate::limits::{H2_UPSTREAM_STREAMS, UPSTREAM_IDLE};
use crate::relay::{MARK, Relays, Told};
use crate::server::Shared;
use crate::state::State;
use crate::trace::context::{TRACEPARENT, TRACESTATE};
use http::header::{CONTENT_LENGTH, HOST};
use http::request::Parts;
use http::{HeaderMap, HeaderValue};
use nearside_routing::Scheme;
use nearside_routing::published::PublishedAlias;
use nearside_routing::table::CompiledRoute;
use pingora::http::RequestHeader;
use pingora::protocols::Digest;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType, Result};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::OwnedSemaphorePermit;

/// One relayed request.
#[derive(Debug)]
pub(crate) struct Relay {
    /// The other node's proxy.
    pub(crate) address: SocketAddr,
    /// The fingerprint of the certificate that it must show; `None` without TLS.
    pin: Option<[u8; 32]>,
    /// Whether it is the right one and was asked.
    pub(super) asked: bool,
    /// Bytes of its response's body.
    pub(super) received: u64,
    _place: OwnedSemaphorePermit,
}

/// Whether requests like this one may be relayed at all. Who has shown a certificate, or is to, must show it to the node that
/// answers, and a WebSocket over HTTP/2 has a way of its own to its pod.
pub(super) fn may_relay(shared: &Shared, route: &CompiledRoute, ctx: &RequestContext) -> bool {
    let asked =
        |connection: &Connection| connection.certificate.get().is_some() || connection.presented.get().is_some();
    let certificates = route.policy.client_certificates.guard.is_some() || ctx.connection.as_deref().is_some_and(asked);
    shared.relays().is_some() && !certificates && !ctx.websocket_h2 && ctx.relay.is_none()
}

/// Begins to relay to the proxy of a node, if the limits leave room.
pub(super) fn begin(
    shared: &Shared,
    state: &State,
    to: &PublishedAlias,
    target: &RequestTarget<'_>,
    ctx: &RequestContext,
) -> Option<Relay> {
    let connection = ctx.connection.as_deref()?;
    let pin = match connection.scheme {
        Scheme::Http => None,
        Scheme::Https => Some(state.certificates.serving(state.routes(), Some(&target.host))?.fingerprint()?),
    };
    let place = shared.relays()?.admit()?;
    let near = connection.local.ip().to_canonical();
    let same_family = |address: &&IpAddr| address.is_ipv4() == near.is_ipv4();
    let ip = to.addresses.iter().find(same_family).or_else(|| to.addresses.first())?;
    // The proxies of all nodes listen at the same ports. What a client says of a port counts for nothing.
    let address = SocketAddr::new(*ip, connection.local.port());
    Some(Relay { address, pin, asked: false, received: 0, _place: place })
}

/// What the mark of another proxy tells, where there is one; `None` where its word does not count.
pub(super) fn told(shared: &Shared, headers: &HeaderMap, host: &str) -> Option<Told> {
    let mut marks = headers.get_all(MARK).iter();
    let (Some(mark), None) = (marks.next(), marks.next()) else { return None };
    shared.relays()?.keys().told(mark.as_bytes(), host, since_1970())
}

/// Describes the connection.
pub(super) fn peer(
    relay: &Relay,
    header: &Parts,
    ctx: &RequestContext,
    grpc: bool,
    h2: bool,
    timeouts: &Timeouts,
) -> HttpPeer {
    let tls = relay.pin.is_some();
    let mut peer = HttpPeer::new(relay.address, tls, if tls { ctx.host.to_string() } else { String::new() });
    let options = &mut peer.options;
    // By the fingerprint, in `connected`; that the other side holds its key is verified in any case.
    (options.verify_cert, options.verify_hostname) = (false, false);
    let versions = match (ctx.upgrade, grpc, tls && h2) {
        (true, _, _) => (1, 1),
        (false, true, _) => (2, 2),
        (false, false, true) => (2, 1),
        (false, false, false) => (1, 1),
    };
    options.set_http_version(versions.0, versions.1);
    options.max_h2_streams = H2_UPSTREAM_STREAMS;
    options.connection_timeout = Some(timeouts.connect);
    options.total_connection_timeout = Some(timeouts.connect * 2);
    options.write_timeout = Some(timeouts.send);
    options.read_timeout = Some(timeouts.read);
    options.idle_timeout = Some(UPSTREAM_IDLE);
    let mut key = DefaultHasher::new();
    ("relay", relay.pin, versions, header.headers.contains_key("upgrade")).hash(&mut key);
    peer.group_key = key.finish();
    peer
}

/// The other side is there. Nothing of the request is sent to any but the right one.
///
/// # Errors
/// It has shown another certificate, perhaps because a new one has not been read by both yet.
pub(super) fn connected(relay: &mut Relay, digest: Option<&Digest>) -> Result<()> {
    if let Some(pin) = &relay.pin {
        let shown = digest.and_then(|digest| digest.ssl_digest.as_ref()).map(|tls| &tls.cert_digest[..]);
        if shown != Some(&pin[..]) {
            return Error::e_explain(ErrorType::InvalidCert, "the other node shows another certificate for the host");
        }
    }
    relay.asked = true;
    Ok(())
}

/// Makes the header for the other proxy out of the client's, which it gets as it is but for the mark and the context of the trace,
/// which goes on there.
///
/// # Errors
/// Pingora's, for a target that no request can have.
pub(super) fn write_request(shared: &Shared, upstream: &mut RequestHeader, ctx: &RequestContext) -> Result<()> {
    if let Some(target) = &ctx.pod_target {
        let authority = upstream.uri.authority().filter(|_| !upstream.headers.contains_key(HOST));
        if let Some(host) = authority.and_then(|host| HeaderValue::from_str(host.as_str()).ok()) {
            upstream.insert_header(HOST, host)?;
        }
        upstream.set_raw_path(target)?;
    }
    if let Some(trace) = &ctx.trace {
        upstream.insert_header(TRACEPARENT, trace.parent_for_asked())?;
        match trace.state_for_asked() {
            Some(state) => upstream.insert_header(TRACESTATE, state.clone())?,
            None => drop(upstream.remove_header(&TRACESTATE)),
        }
    }
    let (Some(relays), Some(connection)) = (shared.relays(), ctx.connection.as_deref()) else { return Ok(()) };
    let origin = &ctx.origin;
    let told = Told { client: origin.client, peer: connection.client.ip(), scheme: origin.scheme, port: origin.port };
    upstream.insert_header(MARK, relays.keys().mark(&told, &ctx.host, since_1970()))
}

/// Refuses a response that says itself that it is too long, before any byte of it is sent.
///
/// # Errors
/// With the status 503.
pub(super) fn check_length(relays: &Relays, headers: &HeaderMap) -> Result<()> {
    let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > relays.response_bytes()) {
        return Error::e_explain(ErrorType::HTTPStatus(503), "the response is too long to be relayed");
    }
    Ok(())
}

/// A part of the response is about to be sent; gives the time to wait first.
///
/// # Errors
/// The response is longer than may be relayed; what was sent of it ends here.
pub(super) fn pass(relays: &Relays, relay: &mut Relay, bytes: usize) -> Result<Option<Duration>> {
    relay.received = relay.received.saturating_add(bytes as u64);
    if relay.received > relays.response_bytes() {
        return Error::e_explain(ErrorType::InternalError, "the response is too long to be relayed");
    }
    Ok(Some(relays.spend(bytes as u64)).filter(|wait| !wait.is_zero()))
}

fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
