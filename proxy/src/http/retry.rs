//! Whether a request that one pod failed is given to another: the failure and the context flow in, the decision flows out.
//! `http` sees to it that the request may be repeated and its response has not begun. What a pod has had is sent again only as far as
//! the rule's budget goes.

use super::context::RequestContext;
use super::failure::Failure;
use super::selection;
use crate::edge::{Exceeded, Limit};
use nearside_routing::policy::retry::Retry;
use std::time::Instant;

/// After an endpoint could not be connected to: nothing was sent, so only the route's word is against it.
pub(super) fn after_connect_failure(ctx: &RequestContext) -> bool {
    let Some(retry) = retry(ctx) else { return true };
    retry.on.is_none_or(|on| on.error) && has_tries(retry, ctx)
}

/// After an endpoint failed the request, or its answer was `refused`, because another one is to better it.
pub(super) fn after(failure: &Failure, refused: bool, ctx: &RequestContext, exceeded: &Exceeded) -> bool {
    let Some(retry) = retry(ctx) else { return false };
    if refused && !matches!(failure.reason, "pod_timeout" | "pod_failed") {
        // That was decided with the answer.
        return true;
    }
    let counts = retry.on.is_some_and(|on| match failure.reason {
        "pod_timeout" => on.timeout,
        "pod_failed" => on.error,
        _ => false,
    });
    counts && has_tries(retry, ctx) && !selection::is_last(ctx) && is_affordable(ctx, exceeded)
}

/// Whether an endpoint's answer with this status is not to be the client's: the route says so and another one is left.
pub(super) fn after_status(status: u16, ctx: &RequestContext, exceeded: &Exceeded) -> bool {
    let Some(retry) = retry(ctx) else { return false };
    let counts = retry.on.is_some_and(|on| on.status(status));
    counts && has_tries(retry, ctx) && !selection::is_last(ctx) && is_affordable(ctx, exceeded)
}

/// Whether the rule's budget has another repetition, which it has no more then.
fn is_affordable(ctx: &RequestContext, exceeded: &Exceeded) -> bool {
    let Some(budget) = ctx.balance.as_ref().and_then(|(balance, _)| balance.retries.as_ref()) else { return true };
    let affordable = budget.repeat(Instant::now());
    if !affordable {
        exceeded.count(Limit::Retries);
    }
    affordable
}

fn retry(ctx: &RequestContext) -> Option<&Retry> {
    ctx.route.as_ref().map(|route| &route.policy.retry)
}

/// Whether the present attempt is not the last one that the route allows.
fn has_tries(retry: &Retry, ctx: &RequestContext) -> bool {
    let tries = retry.tries.filter(|tries| *tries > 0).and_then(|tries| usize::try_from(tries).ok());
    let time = retry.timeout.filter(|timeout| !timeout.is_zero());
    tries.is_none_or(|tries| ctx.attempts.count() + 1 < tries)
        && time.is_none_or(|time| Instant::now().saturating_duration_since(ctx.started) < time)
}
