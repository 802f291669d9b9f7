//! `nearside-controller explain URL`: a URL and a cluster or a directory flow in, what happens to the request and why flows
//! out. Read only. Objects are read and verdicts made by the same code as in the running controller and the proxies, and what
//! a node would do is asked of the same functions.

mod answer;
mod explanation;
mod policies;
mod question;
mod rules;
mod services;
mod text;
mod tls;

pub(crate) use question::{ExplainArguments, Question};
pub(crate) use tls::{complaint, time_left};

use crate::clock;
use crate::desired::Planner;
use crate::output::{complain, render, say};
use crate::placement::{index_config, selections};
use answer::Known;
use explanation::{Explanation, NodeAnswer, Request, Verdict};
use nearside_admin::printable;
use nearside_routing::placement::NodeState;
use nearside_routing::{HostPattern, Hostname, Instance, Kind, NodeId, NormalPath, Snapshot};
use nearside_watch::{Reading, Selection, Source, read_once};
use services::Names;
use std::process::ExitCode;
use tls::{KnownLeaf, Material};

/// Answers, and gives the exit code: 0 for a request that is served, 1 for one that is not.
pub(crate) async fn run(question: Question) -> ExitCode {
    let default = match question.default_cert.as_deref().map(KnownLeaf::read).transpose() {
        Ok(default) => default,
        Err(error) => return complain(COMMAND, error),
    };
    let source = match Source::from_options(&question.reading.manifests).await {
        Ok(source) => source,
        Err(error) => return complain(COMMAND, error),
    };
    let mut selections = selections(&source, &question.reading, &Instance::of(&question.reading.router_name));
    if source.client().is_none() {
        selections.push(Selection::all(Kind::DnsEndpoint).namespace(question.reading.namespace.as_str()));
    }
    let config = index_config(&source, &question.reading);
    let rules = config.admission.clone();
    let reading = match read_once(source, selections, config, question.patience).await {
        Ok(reading) => reading,
        Err(error) => return complain(COMMAND, error),
    };
    let now = clock::timestamp().as_second();
    let material = Material { objects: &reading.objects, rules: &rules, default: default.as_ref(), now };
    let mut explanation = explain(&question, &reading, &material);
    if let (true, Some(dns)) = (question.resolve, &mut explanation.dns) {
        dns.resolved = Some(resolve(&question.url.host).await);
    }
    let served = explanation.verdict.served;
    say(&printable(&render(&explanation, question.format, text::text)));
    if served { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The answer to one question.
fn explain(question: &Question, reading: &Reading, material: &Material<'_>) -> Explanation {
    let (snapshot, objects, url) = (&*reading.snapshot, &reading.objects, &question.url);
    let decisive = rules::decisive(snapshot, question);
    let route = decisive.map(AsRef::as_ref);
    let (name, alias) = rules::looked_up(snapshot, &url.host);
    let pattern = route.map(|route| route.pattern.clone()).filter(|pattern| *pattern != HostPattern::Any);
    let pattern = pattern.or_else(|| claimed(snapshot, &name));
    let desired = Planner::new(question.reading.records.clone()).plan(snapshot, std::time::Duration::ZERO);
    let placement = pattern.as_ref().and_then(|pattern| desired.placement.hosts.get(pattern)).map(AsRef::as_ref);
    let held = pattern.as_ref().and_then(|pattern| desired.held.get(pattern)).map(|held| held.as_str());
    let names = pattern.as_ref().map(|pattern| Names {
        pattern,
        host: &name,
        namespace: &question.reading.namespace,
        instance: Instance::of(&question.reading.router_name),
        policy: &question.reading.records,
        placement,
        held,
    });
    let published = names.as_ref().map(|names| names.aliases(snapshot, objects)).unwrap_or_default();
    let default = material.default.map(|leaf| &leaf.names);
    let known = Known { question, snapshot, published: &published, default };
    let decided = known.decide();
    let kept = |node: &str| names.as_ref()?.kept(node, snapshot, objects);
    let nodes: Vec<NodeAnswer> = snapshot
        .nodes
        .iter()
        .filter(|(name, _)| question.node.as_ref().is_none_or(|asked| **asked == ***name))
        .map(|(name, state)| {
            let kept = kept(name);
            NodeAnswer {
                node: name.to_string(),
                id: state.id.to_string(),
                eligible: state.is_eligible(),
                why_not: why_not(state),
                published: placement.is_some_and(|host| host.nodes.contains(name)) || kept.is_some(),
                kept,
                answer: known.on_node(&decided, name),
            }
        })
        .collect();
    let mut warnings: Vec<String> =
        reading.incomplete.iter().map(|(kind, why)| format!("{} may be incomplete: {why}", kind.plural())).collect();
    if let Some(asked) = question.node.as_ref().filter(|_| nodes.is_empty()) {
        warnings.push(format!("there is no node {asked}"));
    }
    let clients = route.and_then(|route| snapshot.routes.host(&route.pattern)).and_then(|host| host.clients.as_deref());
    Explanation {
        request: Request {
            method: question.method.clone(),
            scheme: url.scheme.as_str(),
            host: url.host.clone(),
            path: url.path_and_query(),
            normal_path: NormalPath::parse(&url.path).ok().map(|path| path.as_str().to_owned()),
        },
        verdict: verdict(&decided, &nodes, alias),
        host: rules::host(snapshot, question, route),
        rules: rules::rules(snapshot, objects, question, decisive),
        problems: rules::problems(snapshot, objects, material.rules, &url.host),
        tls: tls::tls(snapshot, &url.host, route, material),
        policies: route.map(|route| policies::lines(route, clients, question.on_miss)).unwrap_or_default(),
        services: route.map(|route| services::services(snapshot, objects, route)).unwrap_or_default(),
        placement: placement.map(services::placement),
        dns: names.map(|names| names.told(snapshot, objects)),
        nodes,
        warnings,
    }
}

/// The host itself or the wildcard above it, where somebody claims it.
fn claimed(snapshot: &Snapshot, host: &str) -> Option<HostPattern> {
    let name = Hostname::parse(host).ok()?;
    let above = name.split_first_label().1.and_then(|domain| Hostname::parse(domain).ok()).map(HostPattern::Wildcard);
    std::iter::once(HostPattern::Exact(name)).chain(above).find(|pattern| snapshot.claimed.contains_key(pattern))
}

/// Why no client is sent to a node.
pub(crate) fn why_not(state: &NodeState) -> Option<String> {
    let why = match state.router {
        None => NO_ROUTER,
        Some(false) => "its router is not ready",
        Some(true) if !state.ready => "the node is not Ready",
        Some(true) if state.withdrawn => "the node is withdrawn or being deleted",
        Some(true) => return None,
    };
    Some(why.to_owned())
}

/// What a client gets where DNS sends it: the published nodes speak, or the node that an alias names; else any node.
fn verdict(decided: &answer::Decided<'_>, nodes: &[NodeAnswer], alias: Option<NodeId>) -> Verdict {
    let of_alias = |node: &&NodeAnswer| alias.is_some_and(|alias| node.id == alias.to_string());
    let asked: Vec<&NodeAnswer> = match nodes.iter().filter(of_alias).collect::<Vec<_>>() {
        named if !named.is_empty() => named,
        _ => nodes.iter().filter(|node| node.published).collect(),
    };
    let asked = if asked.is_empty() { nodes.iter().filter(|node| node.eligible).collect() } else { asked };
    let served = asked.iter().filter(|node| node.answer.served).count();
    let told = |node: &NodeAnswer| {
        let status = node.answer.status.map(|status| format!("{status}, ")).unwrap_or_default();
        let location = node.answer.location.as_ref().map(|location| format!(" → {location}")).unwrap_or_default();
        format!("{status}{}{location}", node.answer.text)
    };
    if let answer::Decided::Everywhere(answer) = decided {
        let status = answer.status.map(|status| format!("{status}, ")).unwrap_or_default();
        let location = answer.location.as_ref().map(|location| format!(" → {location}")).unwrap_or_default();
        return Verdict { served: answer.served, text: format!("{status}{}{location}", answer.text) };
    }
    match (asked.as_slice(), served) {
        ([], _) => Verdict { served: false, text: "no node has a ready router".into() },
        ([node], _) => Verdict { served: served > 0, text: format!("on {}: {}", node.node, told(node)) },
        (all, 0) => Verdict { served: false, text: format!("on all of {} nodes: {}", all.len(), told(all[0])) },
        (all, served) if served == all.len() => {
            Verdict { served: true, text: format!("by a ready pod on {served} nodes") }
        }
        (all, served) => {
            Verdict { served: true, text: format!("on {served} of the {} nodes that clients are sent to", all.len()) }
        }
    }
}

async fn resolve(host: &str) -> Vec<String> {
    let looked_up = tokio::net::lookup_host((host, 0)).await;
    match looked_up {
        Ok(found) => {
            let mut addresses: Vec<String> = found.map(|address| address.ip().to_string()).collect();
            addresses.sort();
            addresses.dedup();
            addresses
        }
        Err(error) => vec![format!("nothing: {error}")],
    }
}

/// Nobody listens on such a node, whatever a router there would do.
const NO_ROUTER: &str = "no router runs there";
const COMMAND: &str = "nearside-controller explain";
