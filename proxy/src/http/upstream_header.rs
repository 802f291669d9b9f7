//! The header for the pod: the client's header, the policy of the route and the router's own settings flow in, the header as
//! the pod gets it flows out. One of the few modules that name Pingora types.
//!
//! In order: what a client must not say is removed, and what the service says that let it in is written; the router's
//! actions; who asked; host, connection, trailers, id and trace; the actions of the route, which so have the last word; second spellings of fields that are there; the case of
//! names.

use super::authentication::external;
use super::client_certificate;
use super::client_guard;
use super::context::RequestContext;
use super::cookies;
use super::fields::PodHeader;
use super::forwarded::{Forwarded, remove_spoofed, remove_twins};
use super::header_actions::{Known, apply};
use super::unique_id::Identified;
use crate::relay::MARK;
use crate::server::Shared;
use crate::trace::context::{TRACEPARENT, TRACESTATE};
use crate::trailers::Trailers;
use http::header::{CONNECTION, COOKIE, HOST, TE, TRAILER, UPGRADE};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Version};
use nearside_routing::Kind;
use nearside_routing::header_value::Side;
use pingora::Result;
use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

/// Makes the header for the pod out of `upstream`, which Pingora copied from the client's.
///
/// # Errors
/// Pingora's, for a target that no request can have.
pub(super) fn write(
    shared: &Shared,
    client: &Parts,
    upstream: &mut impl PodHeader,
    ctx: &mut RequestContext,
) -> Result<()> {
    if let Some(target) = &ctx.pod_target {
        // The host of HTTP/2 is a part of the target that is replaced.
        let authority = upstream.authority().filter(|_| !upstream.all().contains_key(HOST));
        if let Some(host) = authority.and_then(|host| HeaderValue::from_str(host).ok()) {
            upstream.set(&HOST, host);
        }
        upstream.set_target(target)?;
    }
    let config = &shared.config.headers;
    upstream.remove(&MARK);
    remove_spoofed(upstream);
    if let Some(external) = ctx.route.as_ref().and_then(|route| route.policy.authentication.external.as_ref()) {
        external::write_to_pod(external, &ctx.from_service, upstream);
    }
    client_certificate::write(&shared.config.tls, ctx.connection.as_deref(), upstream);
    client_guard::write(&shared.config.tls, ctx.shown.as_ref(), upstream);
    let mut host = host(client);
    // The OpenShift router compares and forwards hosts in lower case; an Ingress forwards what the client wrote.
    let lower = ctx.route.as_ref().is_some_and(|route| route.source.kind == Kind::Route);
    if lower && host.iter().any(u8::is_ascii_uppercase) {
        host.make_ascii_lowercase();
        if let Ok(host) = HeaderValue::from_bytes(&host) {
            upstream.set(&HOST, host);
        }
    }
    let authority = client.uri.authority().map(http::uri::Authority::as_str);
    let certificate = ctx.connection.as_ref().and_then(|connection| connection.certificate.get()?.as_ref());
    let known = Known { authority, client_certificate: certificate.map(|certificate| &*certificate.der) };
    apply(&config.request, Side::Request, known, upstream);

    let policy = ctx.route.as_ref().map(|route| &route.policy);
    let to_pod = policy.map(|policy| &policy.to_pod);
    if let Some(connection) = &ctx.connection {
        let forwarded = Forwarded {
            client: ctx.origin.client,
            peer: ctx.origin.peer,
            scheme: ctx.origin.scheme,
            host: &host,
            port: ctx.origin.port,
            http2: client.version == Version::HTTP_2,
        };
        forwarded.write(to_pod.and_then(|to_pod| to_pod.forwarded).unwrap_or(config.forwarded), upstream);
        if let Some((name, format)) = &config.unique_id {
            // A second attempt at another pod is the same request.
            let id = ctx.unique_id.get_or_insert_with(|| {
                let since = SystemTime::now().duration_since(UNIX_EPOCH);
                let identified = Identified {
                    client: SocketAddr::new(ctx.origin.client, connection.client.port()),
                    local: connection.local,
                    seconds: since.map_or(0, |since| since.as_secs()),
                    count: shared.next_request(),
                    process: std::process::id(),
                };
                format.id(&identified, &mut ctx.random).into()
            });
            if let Ok(id) = HeaderValue::from_str(id) {
                upstream.set(name, id);
            }
        }
    }
    if let Some(trace) = &ctx.trace {
        upstream.set(&TRACEPARENT, trace.parent_for_asked());
        match trace.state_for_asked() {
            Some(state) => upstream.set(&TRACESTATE, state.clone()),
            None => upstream.remove(&TRACESTATE),
        }
    }
    if let Some(host) = to_pod.and_then(|to_pod| to_pod.host.clone()) {
        upstream.set(&HOST, host);
    }
    if let Some(prefix) = ctx.forwarded_prefix.clone() {
        upstream.set(&X_FORWARDED_PREFIX, prefix);
    }
    let http1 = upstream.version() < Version::HTTP_2;
    if http1 && to_pod.is_some_and(|to_pod| to_pod.close) && !upstream.all().contains_key(UPGRADE) {
        upstream.set(&CONNECTION, HeaderValue::from_static("close"));
    }
    if let Some(trailers) = &ctx.trailers {
        write_trailers(trailers, http1, upstream);
    }
    if let Some(policy) = policy {
        apply(&policy.header_actions.request, Side::Request, known, upstream);
    }
    remove_twins(&client.headers, upstream);
    if let Some(cookies) = cookies::joined(upstream.all()).filter(|_| http1) {
        upstream.set(&COOKIE, cookies);
    }
    if http1 && to_pod.is_some_and(|to_pod| to_pod.adjust_case) {
        upstream.adjust_case(&config.cased)?;
    }
    Ok(())
}

/// What the proxy itself says of trailers, for the client's fields are for the proxy.
fn write_trailers(trailers: &Trailers, http1: bool, upstream: &mut impl PodHeader) {
    if trailers.wanted() {
        upstream.set(&TE, HeaderValue::from_static("trailers"));
        if http1 {
            upstream.add(&CONNECTION, HeaderValue::from_static("te"));
        }
    }
    if let Some(announced) = trailers.announced().filter(|_| http1) {
        upstream.set(&TRAILER, announced.clone());
    }
}

/// `:authority` or `Host` as the client wrote it.
fn host(client: &Parts) -> Vec<u8> {
    let authority = client.uri.authority().map(|authority| authority.as_str().as_bytes());
    authority.or_else(|| client.headers.get(HOST).map(HeaderValue::as_bytes)).unwrap_or_default().to_vec()
}

const X_FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");
