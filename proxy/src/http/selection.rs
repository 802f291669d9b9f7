//! Which endpoint a request asks, attempt by attempt: the context flows in with its route, and out with a target. Called by
//! `decision` for the first attempt and by `http` for further ones.

use super::context::RequestContext;
use super::cookies;
use super::hash_key;
use super::request::RequestTarget;
use crate::backends::Demand;
use crate::limits::CONNECT_ATTEMPTS;
use http::request::Parts;
use std::net::{IpAddr, Ipv4Addr};

/// Chooses the endpoint that is asked first, if there is any.
pub(super) fn choose_first(header: &Parts, target: &RequestTarget<'_>, ctx: &mut RequestContext) {
    let (Some(state), Some(route)) = (&ctx.state, &ctx.route) else { return };
    let balance = state.balances.of(route);
    let client = ctx.connection.as_ref().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |known| known.client.ip());
    let method = balance.method(client, |key| hash_key::value(key, header, target, client));
    if let Some(cookie) = &balance.cookie {
        ctx.target = state.backends.kept(route, cookies::values(&header.headers, &cookie.name));
    }
    ctx.balance = Some((balance, method));
    if ctx.target.is_none() {
        choose_next(ctx);
    }
}

/// Chooses another endpoint than those that were tried, if there is any.
pub(super) fn choose_next(ctx: &mut RequestContext) {
    let (Some(state), Some(route), Some((balance, method))) = (&ctx.state, &ctx.route, &ctx.balance) else { return };
    let demand = Demand { route, balance, method: *method, tried: &ctx.tried };
    ctx.target = state.backends.pick(&demand, &mut ctx.random);
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
    let Some(target) = ctx.target.take() else { return false };
    ctx.tried.push(target.address);
    ctx.failed = Some(target);
    may_try_after(ctx, &ctx.tried)
}

fn may_try_after(ctx: &RequestContext, tried: &[std::net::SocketAddr]) -> bool {
    let (Some(state), Some(route)) = (&ctx.state, &ctx.route) else { return false };
    tried.len() < CONNECT_ATTEMPTS && state.backends.has_more(route, tried)
}
