//! The header for the client: the pod's header or that of an answer of our own, the policy of the route and the router's own
//! settings flow in, the header as the client gets it flows out. One of the few modules that name Pingora types.
//!
//! In order: who may read it across origins; the cookies of the service that let the request in; the actions of the route; `Strict-Transport-Security`; the router's actions,
//! which so have the last word; the case of names.

use super::authentication::external;
use super::context::RequestContext;
use super::fields::Fields;
use super::header_actions::{Known, apply};
use super::{cors, header_case};
use crate::server::Shared;
use http::Version;
use http::header::STRICT_TRANSPORT_SECURITY;
use nearside_routing::Scheme;
use nearside_routing::header_value::Side;
use pingora::Result;
use pingora::http::{RequestHeader, ResponseHeader};

/// Changes a response of a pod.
///
/// # Errors
/// Pingora's, for more fields than a header can have.
pub(super) fn write(
    shared: &Shared,
    client: &RequestHeader,
    response: &mut ResponseHeader,
    ctx: &RequestContext,
) -> Result<()> {
    let certificate = ctx.connection.as_ref().and_then(|connection| connection.certificate.get()?.as_ref());
    let known = Known { client_certificate: certificate.map(|certificate| &*certificate.der), ..Known::default() };
    write_cors(client, response, ctx);
    if let Some(route) = &ctx.route {
        if let Some(external) = &route.policy.authentication.external {
            external::write_cookies(external, &ctx.cookies_of_service, response.status, response);
        }
        apply(&route.policy.header_actions.response, Side::Response, known, response);
    }
    write_hsts(response, ctx);
    apply(&shared.config.headers.response, Side::Response, known, response);
    write_case(shared, client, response)
}

/// Changes an answer of our own: actions are for what pods say.
///
/// # Errors
/// Pingora's, for more fields than a header can have.
pub(super) fn write_own(
    shared: &Shared,
    client: &RequestHeader,
    response: &mut ResponseHeader,
    ctx: &RequestContext,
) -> Result<()> {
    write_cors(client, response, ctx);
    write_hsts(response, ctx);
    write_case(shared, client, response)
}

fn write_cors(client: &RequestHeader, response: &mut ResponseHeader, ctx: &RequestContext) {
    if let Some(cors) = ctx.route.as_ref().and_then(|route| route.policy.cors.as_ref()) {
        cors::write(cors, &client.headers, response);
    }
}

fn write_hsts(response: &mut ResponseHeader, ctx: &RequestContext) {
    let secure = ctx.origin.scheme == Scheme::Https;
    // A client must not believe it where anybody on the way could have written it (RFC 6797 §7.2).
    if let Some(hsts) = ctx.route.as_ref().and_then(|route| route.policy.hsts.clone()).filter(|_| secure) {
        response.set(&STRICT_TRANSPORT_SECURITY, hsts);
    }
}

fn write_case(shared: &Shared, client: &RequestHeader, response: &mut ResponseHeader) -> Result<()> {
    if client.version < Version::HTTP_2 {
        header_case::adjust_response(&shared.config.headers.cased, response)?;
    }
    Ok(())
}
