//! The compiled table as JSON: what each host and path is answered with, by which local endpoints, and what happens where
//! there are none.

use crate::state::State;
use nearside_routing::table::{CompiledRoute, HostRoutes, InsecurePolicy, MissPolicy, Termination};
use nearside_routing::{HostPattern, NodeId};
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Settings that the page repeats.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// The node of this proxy.
    pub(crate) node: Arc<str>,
    /// The name of this router.
    pub(crate) router: String,
    /// The policy of routes that state none.
    pub(crate) on_miss: MissPolicy,
}

#[derive(Debug, Serialize)]
pub(super) struct Table {
    node: String,
    node_id: String,
    router: String,
    generation: u64,
    hosts: BTreeMap<String, Host>,
    problems: BTreeMap<String, Vec<String>>,
}

#[derive(Debug, Serialize)]
struct Host {
    kind: &'static str,
    namespace: String,
    certificate: &'static str,
    published: Vec<Published>,
    rules: Vec<Rule>,
}

#[derive(Debug, Serialize)]
struct Published {
    node_id: String,
    alias: String,
}

#[derive(Debug, Serialize)]
struct Rule {
    source: String,
    path: String,
    termination: &'static str,
    insecure: &'static str,
    on_miss: &'static str,
    backends: Vec<Backend>,
    #[serde(skip_serializing_if = "Option::is_none")]
    canary: Option<Box<Self>>,
}

#[derive(Debug, Serialize)]
struct Backend {
    service: String,
    port: String,
    weight: u16,
    local_endpoints: Vec<Endpoint>,
}

#[derive(Debug, Serialize)]
struct Endpoint {
    address: String,
    pod: String,
    state: String,
}

/// The page.
pub(super) fn page(state: &State, settings: &Settings) -> Table {
    let hosts = state.routes().hosts().map(|host| (host.pattern.to_string(), describe(host, state, settings)));
    let problems = state.snapshot.verdicts.iter().filter_map(|(object, verdict)| {
        let rejected = match &verdict.outcome {
            nearside_routing::Outcome::Rejected(problem) => Some(problem),
            nearside_routing::Outcome::Admitted => None,
        };
        let problems: Vec<String> = rejected.into_iter().chain(&verdict.problems).map(ToString::to_string).collect();
        (!problems.is_empty()).then(|| (object.to_string(), problems))
    });
    Table {
        node: settings.node.to_string(),
        node_id: NodeId::of(&settings.node).to_string(),
        router: settings.router.clone(),
        generation: state.snapshot.generation,
        hosts: hosts.collect(),
        problems: problems.collect(),
    }
}

fn describe(host: &HostRoutes, state: &State, settings: &Settings) -> Host {
    let alias = |node: NodeId| match &host.pattern {
        HostPattern::Exact(name) => node.alias(name).map(|alias| alias.to_string()),
        HostPattern::Wildcard(domain) => Some(node.wildcard_alias(domain)),
        HostPattern::Any => None,
    };
    let published = state.snapshot.published.of(&host.pattern).iter();
    let published = published
        .filter_map(|published| Some(Published { node_id: published.node.to_string(), alias: alias(published.node)? }));
    Host {
        kind: host.kind.name(),
        namespace: host.namespace.to_string(),
        certificate: if host.certificate.is_some() { "own" } else { "default" },
        published: published.collect(),
        rules: host.routes.iter().map(|route| rule(route, state, settings)).collect(),
    }
}

fn rule(route: &CompiledRoute, state: &State, settings: &Settings) -> Rule {
    let backends = route.backends.iter().map(|backend| {
        let endpoints = state.backends.local(backend).map(|(_, local)| Endpoint {
            address: local.endpoint.address.to_string(),
            pod: local.endpoint.pod.to_string(),
            state: format!("{:?}", local.endpoint.state),
        });
        Backend {
            service: backend.service.to_string(),
            port: format!("{:?}", backend.port),
            weight: backend.weight,
            local_endpoints: endpoints.collect(),
        }
    });
    Rule {
        source: route.source.to_string(),
        path: route.path.to_string(),
        termination: match route.termination {
            Termination::None => "none",
            Termination::Edge => "edge",
            Termination::Reencrypt { .. } => "reencrypt",
            Termination::Passthrough => "passthrough",
        },
        insecure: match route.insecure {
            InsecurePolicy::None => "none",
            InsecurePolicy::Allow => "allow",
            InsecurePolicy::Redirect => "redirect",
        },
        on_miss: route.policy.on_miss.unwrap_or(settings.on_miss).as_str(),
        backends: backends.collect(),
        canary: route.canary.as_ref().map(|canary| Box::new(rule(&canary.route, state, settings))),
    }
}
