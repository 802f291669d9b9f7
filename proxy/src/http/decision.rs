//! What a request gets: its header and the present state flow in, a pod to ask or an answer of our own flows out. Asks the
//! routing core and the pure modules beside it; `http` carries the decision out.

use super::answer::Answer;
use super::authentication::external::Asked;
use super::client_certificate;
use super::client_guard;
use super::context::RequestContext;
use super::guard;
use super::origin::Origin;
use super::request::RequestTarget;
use super::selection::{self, Choice};
use super::{authentication, cors, miss, public_health, redirect, relay, rewrite};
use crate::metrics::QueueEnd;
use crate::relay::MARK;
use crate::server::Shared;
use crate::state::State;
use http::request::Parts;
use nearside_routing::table::Refused;
use nearside_routing::{Decision, NormalPath, Scheme};
use std::sync::Arc;

/// Decides. `None` means that the pod in the context is to be asked. `raw` is the request target as the client sent it.
pub(super) async fn decide(shared: &Shared, header: &Parts, raw: &[u8], ctx: &mut RequestContext) -> Option<Answer> {
    let target = match RequestTarget::parse(header, raw) {
        Ok(target) => target,
        Err(refusal) => return Some(Answer::refusal(refusal)),
    };
    ctx.host = target.host.as_ref().into();
    ctx.relayed = header.headers.contains_key(MARK);
    if let Some(told) = ctx.relayed.then(|| relay::told(shared, &header.headers, &target.host)).flatten() {
        ctx.origin = Origin { client: told.client, peer: told.peer, scheme: told.scheme, port: told.port };
    }
    let port = ctx.connection.as_deref().map_or(Scheme::Http, |connection| connection.scheme);
    let (health, leaving) = (shared.config.public_health_path.as_deref(), shared.lifecycle().is_node_left());
    if let Some(answer) = public_health::answer(health, port, header, &target, leaving) {
        return Some(answer);
    }
    let raw_path = String::from_utf8_lossy(target.path);
    let Ok(path) = NormalPath::parse(&raw_path) else { return Some(Answer::bad_path()) };
    let state = Arc::clone(ctx.state.insert(shared.state()));
    let connection = ctx.connection.as_deref();
    let scheme = ctx.origin.scheme;
    let over_tls = connection.is_some_and(|connection| connection.scheme == Scheme::Https);
    let server_name = connection.and_then(|connection| connection.server_name.as_deref());
    if over_tls && state.routes().is_misdirected(server_name, &target.host) {
        return Some(Answer::misdirected());
    }
    if connection.is_some_and(|connection| client_certificate::is_refused(&shared.config.tls, connection)) {
        return Some(Answer::certificate_refused());
    }
    let (mut found, mut asked_by) = (state.routes().find(scheme, &target.host, &path), scheme);
    if scheme == Scheme::Https && !over_tls && matches!(found.decision, Decision::NoRoute) {
        // TLS was ended before this proxy, perhaps because the route has none of its own.
        let plain = state.routes().find(Scheme::Http, &target.host, &path);
        if matches!(plain.decision, Decision::Serve(_)) {
            (found, asked_by) = (plain, Scheme::Http);
        }
    }
    ctx.by_alias = found.alias.is_some();
    if scheme == Scheme::Https
        && let Some(answer) = client_guard::refuse(&state, &found.decision, &target, ctx)
    {
        return Some(answer);
    }
    match found.decision {
        Decision::NoRoute => {
            let status = shared.config.error_pages.of(404).map_or(shared.config.no_route_status, |_| 404);
            Some(Answer::no_route(status))
        }
        Decision::RedirectToHttps(route) => {
            ctx.route = Some(Arc::clone(route));
            // What is sent elsewhere anyway needs no stop on the way.
            let stated = redirect::instead(&route.policy.redirects, Scheme::Https, &target);
            Some(stated.unwrap_or_else(|| Answer::https_redirect(route.https_redirect_status(), &target)))
        }
        Decision::Serve(route) => {
            if state.routes().is_ambiguous(asked_by, &target.host, &raw_path, route) {
                return Some(Answer::bad_path());
            }
            ctx.route = Some(Arc::clone(route));
            let policy = &route.policy;
            match route.refuses(scheme) {
                Some(Refused::Closed) => return Some(Answer::unguarded()),
                Some(Refused::NeedsTls) => return Some(Answer::certificate_refused()),
                None => {}
            }
            if let Some(answer) = guard::refuse(shared, route, header, ctx) {
                return Some(answer);
            }
            let answer = redirect::instead(&policy.redirects, scheme, &target)
                .or_else(|| policy.cors.as_ref().and_then(|cors| cors::preflight(cors, header)))
                .or_else(|| redirect::app_root(&policy.redirects, &path));
            if answer.is_some() {
                return answer;
            }
            let asked = Asked { header, target: &target, scheme };
            if let Some(answer) = authentication::refuse(shared, route, &asked, ctx).await {
                return Some(answer);
            }
            if let Some(answer) = miss::send_back(shared, route, header, &target, ctx) {
                return Some(answer);
            }
            let choice = selection::choose_first(header, &target, ctx);
            if choice == Choice::Full {
                shared.metrics().queued(QueueEnd::Full);
                return Some(Answer::pods_busy());
            }
            if choice == Choice::Nothing {
                return miss::answer(shared, route, header, &target, ctx, miss::Moment::Before);
            }
            if let Some(busy) = too_many(shared, &state, ctx) {
                (ctx.target, ctx.waiting) = (None, None);
                return Some(Answer::busy(busy));
            }
            let rewritten = policy.rewrite.target.as_ref();
            let rewritten = rewritten.and_then(|text| rewrite::target(text, &route.path, &path, target.query));
            ctx.pod_target = rewritten.or_else(|| target.origin_form());
            let prefix = policy.rewrite.forwarded_prefix.as_ref();
            ctx.forwarded_prefix = prefix.and_then(|prefix| rewrite::forwarded_prefix(prefix, &route.path, &path));
            None
        }
    }
}

/// Takes a place for a request whose endpoint is chosen. The word for the access log where there is none.
fn too_many(shared: &Shared, state: &State, ctx: &mut RequestContext) -> Option<&'static str> {
    // What has an endpoint is counted by its route already.
    let of_route = ctx.route.as_ref().and_then(|route| state.series.of(route)).map_or(0, |counts| counts.under_way());
    if shared.edge().is_too_many(of_route) {
        return Some("route_busy");
    }
    ctx.place = shared.edge().begin().ok();
    ctx.place.is_none().then_some("proxy_busy")
}

/// The answer to a request that no pod of this node took: those that the route names could not be reached, and nothing of
/// the request was sent. `None` where it can be moved nowhere; what happened to the pod is then the better answer.
pub(super) fn unreachable(shared: &Shared, header: &Parts, raw: &[u8], ctx: &mut RequestContext) -> Option<Answer> {
    let route = ctx.route.clone()?;
    let answer =
        miss::answer(shared, &route, header, &RequestTarget::parse(header, raw).ok()?, ctx, miss::Moment::After);
    answer.filter(|answer| !answer.is_without_endpoint())
}
