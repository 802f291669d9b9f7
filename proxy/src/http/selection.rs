//! Which endpoint a request asks, attempt by attempt: the context flows in with its route, and out with a target or with
//! endpoints to wait for. Called by `decision` for the first attempt and by `http` for further ones.

use super::canary;
use super::context::RequestContext;
use super::cookies;
use super::hash_key;
use super::request::RequestTarget;
use crate::attempts::Failed;
use crate::backends::{Demand, Picked};
use crate::balance::{AffinityCookie, CookieValue, Method, RouteBalance};
use http::HeaderMap;
use http::request::Parts;
use nearside_routing::NodeId;
use nearside_routing::policy::canary::Side;
use nearside_routing::table::CompiledRoute;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

/// Whether a request can be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    /// By the target in the context, or by one of those to wait for.
    Found,
    /// Every endpoint has as many requests as it may have, and as many as may wait.
    Full,
    /// No endpoint is left.
    Nothing,
}

/// Chooses the endpoint that is asked first: of the canary beside the rule, if the request is for it, else of the rule; the
/// one that the client is to keep, or another. A canary without endpoints here leaves its requests to the main rule.
pub(super) fn choose_first(header: &Parts, target: &RequestTarget<'_>, ctx: &mut RequestContext) -> Choice {
    let (Some(state), Some(route)) = (ctx.state.clone(), ctx.route.clone()) else { return Choice::Nothing };
    let client = ctx.origin.client;
    let balance = |route: &CompiledRoute| {
        let balance = state.balances.of(route);
        let method = balance.method(client, |key| hash_key::value(key, header, target, client));
        (balance, method)
    };
    let main = balance(&route);
    if let Some(beside) = &route.canary
        && state.backends.has_more(&beside.route, |_| false)
    {
        let canary = balance(&beside.route);
        let keeps = |route: &CompiledRoute, (balance, method): &(Arc<RouteBalance>, Method)| {
            let demand = Demand { route, balance, method: *method, tried: &[], now: Instant::now() };
            state.backends.keeps(&demand, kept_values(balance, &header.headers))
        };
        let kept = || match (keeps(&route, &main), keeps(&beside.route, &canary)) {
            (true, _) => Some(Side::Main),
            (false, true) => Some(Side::Canary),
            (false, false) => None,
        };
        if canary::side(&beside.rules, &header.headers, &main.0.canary, kept) == Side::Canary {
            ctx.route = Some(Arc::clone(&beside.route));
            ctx.main = Some((Arc::clone(&route), main));
            return choose_with(canary, header, ctx);
        }
    }
    choose_with(main, header, ctx)
}

/// The node that a client belongs to by its cookie, where that is to bring it back and no endpoint here is the one.
pub(super) fn named_elsewhere(header: &Parts, ctx: &RequestContext) -> Option<NodeId> {
    let (state, route) = (ctx.state.as_ref()?, ctx.route.as_ref()?);
    let mut elsewhere = None;
    for route in route.with_canary() {
        let balance = state.balances.of(route);
        if !balance.cookie.as_ref().is_some_and(AffinityCookie::brings_back) {
            continue;
        }
        let demand = Demand { route, balance: &balance, method: Method::Random, tried: &[], now: Instant::now() };
        if state.backends.keeps(&demand, kept_values(&balance, &header.headers)) {
            return None;
        }
        elsewhere = elsewhere.or_else(|| kept_values(&balance, &header.headers).find_map(CookieValue::home));
    }
    elsewhere
}

fn choose_with(balance: (Arc<RouteBalance>, Method), header: &Parts, ctx: &mut RequestContext) -> Choice {
    let cookie = Arc::clone(&balance.0);
    if let Some(retries) = &cookie.retries {
        retries.request(Instant::now());
    }
    ctx.balance = Some(balance);
    choose(ctx, kept_values(&cookie, &header.headers))
}

/// What the client's cookies say of the endpoint that it is to keep.
fn kept_values<'h>(balance: &'h RouteBalance, headers: &'h HeaderMap) -> impl Iterator<Item = &'h [u8]> {
    balance.cookie.iter().flat_map(|cookie| cookies::values(headers, &cookie.name))
}

/// Chooses another endpoint than those that were tried.
pub(super) fn choose_next(ctx: &mut RequestContext) -> Choice {
    choose(ctx, std::iter::empty())
}

fn choose<'v>(ctx: &mut RequestContext, cookies: impl Iterator<Item = &'v [u8]>) -> Choice {
    let (Some(state), Some(route), Some((balance, method))) = (&ctx.state, &ctx.route, &ctx.balance) else {
        return Choice::Nothing;
    };
    let demand = Demand { route, balance, method: *method, tried: ctx.attempts.failed(), now: Instant::now() };
    match state.backends.pick(&demand, cookies, &mut ctx.random) {
        Picked::Target(target) => ctx.target = Some(target.counted(&state.series, route)),
        Picked::Waiting(waiting) => ctx.waiting = Some(waiting),
        Picked::Full => return Choice::Full,
        Picked::Nothing => {
            // A canary that cannot be reached fails no request.
            let Some((route, balance)) = ctx.main.take() else { return Choice::Nothing };
            (ctx.route, ctx.balance) = (Some(route), Some(balance));
            return choose(ctx, std::iter::empty());
        }
    }
    Choice::Found
}

/// Whether no other endpoint would be tried if the present one said nothing.
pub(super) fn is_last(ctx: &RequestContext) -> bool {
    let present = ctx.target.as_ref().map(|target| target.address);
    !(ctx.attempts.may_lose_another() && is_another_left(ctx, present))
}

/// Notes that the endpoint failed, and says whether another one is to be tried. What could not be reached is still what the access
/// log names.
pub(super) fn give_up(ctx: &mut RequestContext, how: Failed) -> bool {
    let Some(mut target) = ctx.target.take() else { return false };
    target.leave();
    ctx.attempts.add(target.address, how);
    ctx.failed = Some(target);
    ctx.attempts.may_go_on() && is_another_left(ctx, None)
}

/// Whether there is an endpoint that was not tried, besides `present`.
fn is_another_left(ctx: &RequestContext, present: Option<SocketAddr>) -> bool {
    let (Some(state), Some(route)) = (&ctx.state, &ctx.route) else { return false };
    let main = ctx.main.as_ref().map(|(main, _)| main);
    let besides = |address: SocketAddr| present == Some(address) || ctx.attempts.failed().contains(&address);
    [Some(route), main].into_iter().flatten().any(|route| state.backends.has_more(route, besides))
}
