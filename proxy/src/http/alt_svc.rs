//! Alternative services (RFC 7838): a node that is not, or not any more, among those of a host tells a client which one is, so
//! that its next requests go there while its origin stays what it is. What is known of the request flows in, the value of
//! `Alt-Svc` flows out. Called by `miss` for answers of our own and by `http` for those of pods.
//!
//! Only over TLS that ends here, for that is how the other node proves to be the origin, and only to clients that are
//! connected themselves: a proxy before this one would hand the word on to clients that it does not concern.

use super::context::RequestContext;
use super::miss;
use super::request::RequestTarget;
use crate::limits::ALTERNATIVE_AGE;
use crate::server::Shared;
use http::header::VIA;
use http::request::Parts;
use http::{HeaderName, HeaderValue};
use nearside_routing::miss::{Hop, Miss};
use nearside_routing::{Hostname, Scheme};

/// For a request that found no pod here. A client that came by an alternative is to forget it and ask DNS again.
pub(super) fn of_miss(
    shared: &Shared,
    miss: &Miss<'_>,
    header: &Parts,
    target: &RequestTarget<'_>,
    ctx: &mut RequestContext,
) -> Option<HeaderValue> {
    if !is_heard(shared, header, ctx) || miss.hop == Hop::Moved {
        return None;
    }
    if header.headers.contains_key(ALT_USED) {
        return Some(HeaderValue::from_static("clear"));
    }
    value(miss, target.port, ctx)
}

/// For a pod's response, where a miss is likely soon. Costs next to nothing where nobody would hear it, and one look at what is published where it is
/// not.
pub(super) fn of_response(shared: &Shared, header: &Parts, ctx: &mut RequestContext) -> Option<HeaderValue> {
    if !is_heard(shared, header, ctx) || header.headers.contains_key(ALT_USED) {
        return None;
    }
    let nodes = ctx.state.as_ref()?.snapshot.published.nodes(&ctx.host);
    if nodes.is_empty() || nodes.iter().any(|published| published.node == shared.node_id) {
        return None;
    }
    let (state, route) = (ctx.state.clone()?, ctx.route.clone()?);
    let published = state.snapshot.aliases(&ctx.host);
    let miss = miss::of(shared, &route, &published, ctx);
    let target = RequestTarget::parse(header, header.uri.path().as_bytes()).ok()?;
    value(&miss, target.port, ctx)
}

fn value(miss: &Miss<'_>, port: Option<&str>, ctx: &mut RequestContext) -> Option<HeaderValue> {
    let alternatives = miss.alternatives();
    let alternatives = (!alternatives.is_empty()).then_some(alternatives)?;
    written(&miss::any(&alternatives, &mut ctx.random).alias, port)
}

/// Whether a client may hear of it.
fn is_heard(shared: &Shared, header: &Parts, ctx: &RequestContext) -> bool {
    let direct = ctx.connection.as_ref().is_some_and(|connection| {
        connection.scheme == Scheme::Https && connection.client.ip().to_canonical() == ctx.origin.client.to_canonical()
    });
    let wanted = ctx.route.as_ref().and_then(|route| route.policy.alt_svc).unwrap_or(shared.config.alt_svc);
    direct && wanted && shared.config.tls.http2 && !header.headers.contains_key(VIA)
}

/// HTTP/2 over TLS at the alias, at the port of the origin.
fn written(alias: &Hostname, port: Option<&str>) -> Option<HeaderValue> {
    let port = port.unwrap_or("443");
    HeaderValue::from_str(&format!("h2=\"{alias}:{port}\"; ma={}", ALTERNATIVE_AGE.as_secs())).ok()
}

/// What a client says that came by an alternative service (RFC 7838 §5).
const ALT_USED: HeaderName = HeaderName::from_static("alt-used");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_alternative_is_the_alias_at_the_port_of_the_origin() {
        let alias = Hostname::parse("video--k3x7a.example.com").unwrap();
        assert_eq!(written(&alias, None).unwrap(), "h2=\"video--k3x7a.example.com:443\"; ma=60");
        assert_eq!(written(&alias, Some("8443")).unwrap(), "h2=\"video--k3x7a.example.com:8443\"; ma=60");
    }
}
