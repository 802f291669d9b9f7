//! Whether a request is served at all: the route's rules on clients, bodies and rates and the request flow in, an answer of
//! our own flows out, or leave that the context holds while the request lasts. Asked by `decision` before a pod is chosen.

use super::answer::Answer;
use super::body;
use super::context::RequestContext;
use crate::rate::Unit;
use crate::server::Shared;
use http::request::Parts;
use nearside_routing::policy::authentication::Satisfy;
use nearside_routing::table::CompiledRoute;

/// The answer to a request that the route does not serve.
pub(super) fn refuse(
    shared: &Shared,
    route: &CompiledRoute,
    header: &Parts,
    ctx: &mut RequestContext,
) -> Option<Answer> {
    let client = ctx.origin.client;
    let authentication = &route.policy.authentication;
    let either = authentication.is_demanded() && authentication.satisfy == Satisfy::Any;
    if !route.policy.access.admits(client) && !either {
        return Some(Answer::forbidden());
    }
    if let Some(refusal) = body::announced_too_large(header, route.policy.body.largest) {
        return Some(Answer::refusal(refusal));
    }
    match shared.admit(route, client, Unit::Request) {
        Ok(permit) => {
            ctx.permit = permit;
            None
        }
        Err(too_much) => Some(Answer::too_much(too_much)),
    }
}
