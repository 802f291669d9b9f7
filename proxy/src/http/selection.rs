//! Which endpoint a request asks, attempt by attempt: the context flows in with its route, and out with a target or with
//! endpoints to wait for. Called by `decision` for the first attempt and by `http` for further ones.

use super::context::RequestContext;
use super::cookies;
use super::hash_key;
use super::request::RequestTarget;
use crate::backends::{Demand, Picked};
use crate::limits::CONNECT_ATTEMPTS;
use http::request::Parts;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
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

/// Chooses the endpoint that is asked first: the one that the client is to keep, or another.
pub(super) fn choose_first(header: &Parts, target: &RequestTarget<'_>, ctx: &mut RequestContext) -> Choice {
    let (Some(state), Some(route)) = (&ctx.state, &ctx.route) else { return Choice::Nothing };
    let balance = state.balances.of(route);
    let client = ctx.connection.as_ref().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |known| known.client.ip());
    let method = balance.method(client, |key| hash_key::value(key, header, target, client));
    let name = balance.cookie.as_ref().map(|cookie| cookie.name.clone());
    ctx.balance = Some((balance, method));
    choose(ctx, name.iter().flat_map(|name| cookies::values(&header.headers, name)))
}

/// Chooses another endpoint than those that were tried.
pub(super) fn choose_next(ctx: &mut RequestContext) -> Choice {
    choose(ctx, std::iter::empty())
}

fn choose<'v>(ctx: &mut RequestContext, cookies: impl Iterator<Item = &'v [u8]>) -> Choice {
    let (Some(state), Some(route), Some((balance, method))) = (&ctx.state, &ctx.route, &ctx.balance) else {
        return Choice::Nothing;
    };
    let demand = Demand { route, balance, method: *method, tried: &ctx.tried, now: Instant::now() };
    match state.backends.pick(&demand, cookies, &mut ctx.random) {
        Picked::Target(target) => ctx.target = Some(target),
        Picked::Waiting(waiting) => ctx.waiting = Some(waiting),
        Picked::Full => return Choice::Full,
        Picked::Nothing => return Choice::Nothing,
    }
    Choice::Found
}

/// Whether no other endpoint would be tried after the present one.
pub(super) fn is_last(ctx: &RequestContext) -> bool {
    let mut tried = ctx.tried.clone();
    tried.extend(ctx.target.iter().map(|target| target.address));
    !may_try_after(ctx, &tried)
}

/// Notes that the endpoint could not be reached, and says whether another one is to be tried. What could not be reached is
/// still what the access log names.
pub(super) fn give_up(ctx: &mut RequestContext) -> bool {
    let Some(mut target) = ctx.target.take() else { return false };
    target.leave();
    ctx.tried.push(target.address);
    ctx.failed = Some(target);
    may_try_after(ctx, &ctx.tried)
}

fn may_try_after(ctx: &RequestContext, tried: &[SocketAddr]) -> bool {
    let (Some(state), Some(route)) = (&ctx.state, &ctx.route) else { return false };
    tried.len() < CONNECT_ATTEMPTS && state.backends.has_more(route, tried)
}
