//! Settings that change the answer: the policy of the rule that answers flows in, a line for each setting flows out. What
//! only shapes the exchange with the pod, such as timeouts and header fields, is left to the object itself.

use nearside_routing::policy::Instead;
use nearside_routing::policy::authentication::Satisfy;
use nearside_routing::policy::balance::Algorithm;
use nearside_routing::policy::client_certificate::Demand;
use nearside_routing::policy::errors::CustomErrors;
use nearside_routing::table::{CompiledRoute, HostClients, MissPolicy};

/// One line each.
pub(super) fn lines(route: &CompiledRoute, clients: Option<&HostClients>, default_miss: MissPolicy) -> Vec<String> {
    let policy = &route.policy;
    let mut lines = Vec::new();
    let mut add = |line: String| lines.push(line);
    match policy.redirects.instead() {
        Some(Instead::Host(host)) => add(format!("every request is redirected to the host {host} (308)")),
        Some(Instead::Place(fixed)) => add(format!("every request is redirected to a stated place ({})", fixed.status)),
        None => {}
    }
    if let Some(root) = &policy.redirects.app_root {
        add(format!("/ is redirected to {root} (302)"));
    }
    if let Some(clients) = clients {
        let demand = match clients.guard.demand {
            Demand::Required => "a client certificate is required",
            Demand::Optional => "a client certificate may be shown, and must then be vouched for",
            Demand::OptionalOfAnyCa => "a client certificate may be shown, of whatever CA",
        };
        let by = if clients.authority.is_some() { "" } else { "; its CAs cannot be used, so nobody is let in (503)" };
        add(format!("{demand}{by}"));
    }
    if !policy.access.is_open() {
        add("only clients of the lists of addresses are let in (403)".into());
    }
    let authentication = &policy.authentication;
    if authentication.refused {
        add("asks for a guard that is not offered: every request is refused (503)".into());
    }
    if let Some(basic) = &authentication.basic {
        add(format!("a name and a password of Secret {}/{} are asked for", route.source.namespace, basic.secret));
    }
    if authentication.external.is_some() {
        add("a service is asked about each request".into());
    }
    if authentication.is_demanded() && authentication.satisfy == Satisfy::Any {
        add("one of authentication and the lists of addresses is enough".into());
    }
    if !policy.rate.is_open() {
        add("each client may ask only so much (429)".into());
    }
    if let Some(largest) = policy.body.largest {
        add(format!("bodies above {largest} bytes are refused (413)"));
    }
    if policy.rewrite.target.is_some() {
        add("the pod sees a rewritten path".into());
    }
    if policy.cors.is_some() {
        add("the proxy answers preflights of browsers and marks responses (CORS)".into());
    }
    if policy.errors != CustomErrors::default() {
        add("answers with some statuses are replaced".into());
    }
    if let Some(algorithm) = &policy.balance.algorithm {
        add(format!("pods are chosen by {}", name(algorithm)));
    }
    if policy.affinity.cookie == Some(true) {
        let name = policy.affinity.name.as_ref().map_or("of its own name", |name| name.as_str());
        add(format!("a client keeps its pod by a cookie ({name})"));
    }
    if let Some(record) = &policy.https_record {
        add(format!("DNS tells how the host speaks, in an HTTPS record ({})", record.target()));
    }
    if let Some(speed) = &policy.bandwidth {
        add(format!("responses are sent at {} bytes a second", speed.rate));
    }
    let (miss, whose) = match policy.on_miss {
        Some(miss) => (miss, "as the object says"),
        None => (default_miss, "as the proxies have it"),
    };
    match miss {
        MissPolicy::Redirect => add(format!("a node without a ready pod redirects to one that has one, {whose}")),
        MissPolicy::Relay => add(format!(
            "a node without a ready pod asks one that has one where its operator allows it, else redirects, {whose}"
        )),
        MissPolicy::Reject => add(format!("a node without a ready pod answers 503, {whose}")),
    }
    lines
}

fn name(algorithm: &Algorithm) -> &'static str {
    match algorithm {
        Algorithm::RoundRobin => "turns",
        Algorithm::LeastConnections => "the fewest requests",
        Algorithm::Source => "the client's address",
        Algorithm::Random => "chance",
        Algorithm::Hash(_) => "a key of the request",
    }
}
