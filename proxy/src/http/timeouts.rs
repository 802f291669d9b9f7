//! How long a request may take: the router's settings and those of the route flow in, the time limits of one attempt and
//! of the whole exchange flow out. Pure.

use super::exchange::{Exchange, Patience};
use super::peer;
use crate::edge::BodyRate;
use crate::options;
use crate::trailers::Trailers;
use nearside_routing::policy::Policy;
use nearside_routing::policy::timeouts::Timeouts;
use std::sync::Arc;

/// For one attempt.
pub(super) fn of(router: &options::Timeouts, route: &Timeouts) -> peer::Timeouts {
    let read = route.read.unwrap_or(router.read);
    peer::Timeouts { connect: route.connect.unwrap_or(router.connect), read, send: route.send.unwrap_or(read) }
}

/// For a request that another node answers, whose own proxy knows better when its pod is late.
pub(super) fn relayed(router: &options::Timeouts, route: &Timeouts, upgrade: bool) -> peer::Timeouts {
    let whole = of(router, route);
    if upgrade { peer::Timeouts { read: route.tunnel.unwrap_or(router.tunnel), ..whole } } else { whole }
}

/// For a request and its response, where these need more than one time limit, a bandwidth or trailers. `body_rate` is how fast a request
/// that is not complete must come.
pub(super) fn exchange(
    router: &options::Timeouts,
    route: &Policy,
    upgrade: bool,
    complete: bool,
    trailers: Option<Arc<Trailers>>,
    body_rate: Option<BodyRate>,
) -> Option<Arc<Exchange>> {
    if complete && !upgrade && route.bandwidth.is_none() && trailers.is_none() {
        return None;
    }
    let patience = Patience {
        client: router.client,
        pod: route.timeouts.read.unwrap_or(router.read),
        tunnel: route.timeouts.tunnel.unwrap_or(router.tunnel),
    };
    let exchange = Exchange::new(patience, route.bandwidth.filter(|_| !upgrade), complete);
    Some(Arc::new(exchange.with_trailers(trailers).with_body_rate(body_rate)))
}
