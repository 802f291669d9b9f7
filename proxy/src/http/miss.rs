//! A request that another node may have to answer: the request and the present state flow in; what `nearside_routing::miss`
//! says of it is carried out as an answer of our own. Called by `decision`.

use super::answer::Answer;
use super::context::RequestContext;
use super::request::RequestTarget;
use super::{alt_svc, grpc, relay, selection};
use crate::balance::Random;
use crate::server::Shared;
use crate::state::State;
use http::HeaderMap;
use http::header::ALT_SVC;
use http::request::Parts;
use nearside_routing::Scheme;
use nearside_routing::miss::{Hop, Miss, Step};
use nearside_routing::published::PublishedAlias;
use nearside_routing::table::{CompiledRoute, MissPolicy};

/// When it turns out that no pod of this node can answer a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    /// Before anybody was asked.
    Before,
    /// After those were asked that could not be reached: the request can be answered, and not be passed on any more.
    After,
}

/// What becomes of a request that no pod of this node can answer: an answer of our own, or `None` where the context says who
/// is asked instead.
pub(super) fn answer(
    shared: &Shared,
    route: &CompiledRoute,
    header: &Parts,
    target: &RequestTarget<'_>,
    ctx: &mut RequestContext,
    moment: Moment,
) -> Option<Answer> {
    let Some(state) = ctx.state.clone() else { return Some(Answer::no_endpoint()) };
    let published = state.snapshot.aliases(&target.host);
    let relays = moment == Moment::Before && relay::may_relay(shared, route, ctx);
    let mut miss = Miss { follows: !grpc::is_grpc(header), relays, ..of(shared, route, &published, ctx) };
    let scheme = ctx.origin.scheme;
    let mut step = miss.step(|alias| is_covered(&state, scheme, alias));
    if let Step::Relay(nodes) = &step {
        let node = any(nodes, &mut ctx.random);
        if let Some(begun) = relay::begin(shared, &state, node, target, ctx) {
            shared.metrics().miss(MissPolicy::Relay, &route.pattern);
            (ctx.relay, ctx.reason, ctx.pod_target) = (Some(begun), Some(RELAYED), target.origin_form());
            return None;
        }
        miss.relays = false;
        step = miss.step(|alias| is_covered(&state, scheme, alias));
    }
    let (policy, answer) = match step {
        Step::Redirect(aliases) => {
            let alias = any(&aliases, &mut ctx.random);
            (MissPolicy::Redirect, Answer::alias_redirect(ctx.origin.scheme, &alias.alias, target))
        }
        Step::Relay(_) | Step::Refuse(_) => (MissPolicy::Reject, Answer::no_endpoint()),
    };
    shared.metrics().miss(policy, &route.pattern);
    Some(match alt_svc::of_miss(shared, &miss, header, target, ctx) {
        Some(field) => answer.with_field(ALT_SVC, field),
        None => answer,
    })
}

/// The redirect of a client whose cookie names a pod of another node, to that node.
pub(super) fn send_back(
    shared: &Shared,
    route: &CompiledRoute,
    header: &Parts,
    target: &RequestTarget<'_>,
    ctx: &mut RequestContext,
) -> Option<Answer> {
    let node = selection::named_elsewhere(header, ctx).filter(|_| may_be_sent_back(route, header, ctx))?;
    let state = ctx.state.clone()?;
    let published = state.snapshot.aliases(&target.host);
    let miss = of(shared, route, &published, ctx);
    let home = miss.home(node, |alias| is_covered(&state, ctx.origin.scheme, alias))?;
    shared.metrics().sent_back();
    Some(Answer::return_redirect(ctx.origin.scheme, &home.alias, target))
}

/// What is known of the request, as the routing core asks it.
pub(super) fn of<'m>(
    shared: &Shared,
    route: &CompiledRoute,
    published: &'m [PublishedAlias],
    ctx: &RequestContext,
) -> Miss<'m> {
    Miss {
        policy: route.policy.on_miss.unwrap_or(shared.config.on_miss),
        has_weight: route.has_weight(),
        hop: Hop::of(ctx.by_alias, ctx.relayed),
        follows: true,
        relays: false,
        published,
        own: shared.node_id,
    }
}

/// Several nodes share what they get.
pub(super) fn any<'m>(aliases: &[&'m PublishedAlias], random: &mut Random) -> &'m PublishedAlias {
    aliases[random.below(aliases.len())]
}

/// A client that follows makes a connection of its own, so what it will see there counts, not what it sees here.
fn is_covered(state: &State, scheme: Scheme, alias: &str) -> bool {
    scheme == Scheme::Http
        || state.certificates.serving(state.routes(), Some(alias)).is_some_and(|seen| seen.names.cover(alias))
}

/// Whether a client that could be served here is sure to follow to another origin. What a script of a page asks for in
/// its own name it may not read from another origin, and neither WebSocket of browsers nor gRPC follows at all.
fn may_be_sent_back(route: &CompiledRoute, header: &Parts, ctx: &RequestContext) -> bool {
    let stays = ctx.upgrade || grpc::is_grpc(header);
    !stays && follows(&header.headers, route.policy.cors.is_some())
}

/// By the Fetch Metadata that browsers send (`Sec-Fetch-Mode`); whoever sends none is no browser of today.
fn follows(headers: &HeaderMap, cors: bool) -> bool {
    match headers.get("sec-fetch-mode").map(|mode| mode.as_bytes()) {
        None | Some(b"navigate" | b"no-cors") => true,
        Some(b"cors") => cors,
        Some(_) => false,
    }
}

/// Why no pod answered, for the access log.
const RELAYED: &str = "relayed";

#[cfg(test)]
mod tests {
    use super::*;
    use nearside_routing::{Hostname, NodeId};

    #[test]
    fn several_nodes_share_the_misses() {
        let host = Hostname::parse("video.example.com").unwrap();
        let alias = |node: &str| {
            let node = NodeId::of(node);
            PublishedAlias { node, alias: node.alias(&host).unwrap(), addresses: [].into(), is_observed: true }
        };
        let published = [alias("n2"), alias("n3")];
        let both: Vec<&PublishedAlias> = published.iter().collect();
        let mut random = Random::seeded(1);
        let first = (0..1000).filter(|_| any(&both, &mut random).node == published[0].node);
        assert!((400..600).contains(&first.count()));
    }

    #[test]
    fn only_what_browsers_can_follow_is_sent_back() {
        for (mode, cors, expected) in [
            (None, false, true),
            (Some("navigate"), false, true),
            (Some("no-cors"), false, true),
            (Some("cors"), false, false),
            (Some("cors"), true, true),
            (Some("same-origin"), true, false),
            (Some("websocket"), true, false),
        ] {
            let mut headers = HeaderMap::new();
            headers.extend(mode.map(|mode| (http::HeaderName::from_static("sec-fetch-mode"), mode.parse().unwrap())));
            assert_eq!(follows(&headers, cors), expected, "{mode:?} {cors}");
        }
    }
}
