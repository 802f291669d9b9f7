//! The placement task: snapshots of the source flow in, for each the desired content flows out to the reconciler and to
//! the admin page. Followers run it as well, so that a new leader can write at once.

use crate::desired::{Desired, Planner};
use crate::drain::Letting;
use crate::liveness::{Keeping, Probes};
use crate::metrics::Metrics;
use crate::options::Reading;
use crate::prober::Prober;
use nearside_admin::Blocker;
use nearside_routing::object::{Kind, Secret};
use nearside_routing::{EndpointSource, IndexConfig, Instance, SharedMap};
use nearside_watch::{Selection, Snapshots, Source};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::sync::watch;
use tokio::time::Instant;

/// What the controller reads. Manifests are small and read whole; from a cluster only what placement needs.
pub(crate) fn selections(source: &Source, reading: &Reading, instance: &Instance) -> Vec<Selection> {
    let plain = [Kind::Route, Kind::Ingress, Kind::IngressClass, Kind::Service, Kind::EndpointSlice, Kind::Node];
    let mut selections: Vec<Selection> = plain.into_iter().map(Selection::all).collect();
    if source.client().is_none() {
        selections.extend([Kind::Secret, Kind::Pod].map(Selection::all));
        return reading.admission.narrow(selections);
    }
    // The same Secrets as the proxies', so that the verdicts agree. Those that objects name by annotations are followed
    // besides.
    selections.push(Selection::all(Kind::Secret).fields(format!("type={}", Secret::TLS)));
    let labels: Vec<String> =
        reading.router_selector.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let routers = Selection::all(Kind::Pod).labels(labels.join(","));
    selections.push(match &reading.router_selector.namespace {
        Some(namespace) => routers.namespace(namespace.as_str()),
        None => routers,
    });
    let published = Selection::all(Kind::DnsEndpoint).labels(instance.selector());
    selections.push(published.namespace(reading.namespace.as_str()));
    reading.admission.narrow(selections)
}

/// How the index reads them.
pub(crate) fn index_config(source: &Source, reading: &Reading) -> IndexConfig {
    let endpoints = match source {
        Source::Cluster(_) | Source::Feed(_) => EndpointSource::Slices,
        // No EndpointSlice controller writes into a directory.
        Source::Manifests(_) => EndpointSource::Pods { node: None },
    };
    IndexConfig {
        admission: reading.admission.rules(source),
        endpoints,
        addresses: reading.addresses.clone(),
        router_selector: reading.router_selector.clone(),
        // What is written to a directory nobody reports on.
        follow_dns: matches!(source, Source::Cluster(_)),
    }
}

/// Places each snapshot for ever. `first_sync` is released with the first one.
pub(crate) async fn run(
    mut snapshots: Snapshots,
    planner: Planner,
    probe_port: Option<u16>,
    desired: watch::Sender<Option<Arc<Desired>>>,
    metrics: Metrics,
    first_sync: Blocker,
) {
    let mut first_sync = Some(first_sync);
    let epoch = Instant::now();
    let mut prober = probe_port.map(|port| Prober::spawn(port, epoch));
    let mut planner = if prober.is_some() { planner.with_probes() } else { planner };
    let mut latest = None;
    loop {
        let due = planner.next_due();
        let (snapshot, trust) = tokio::select! {
            next = snapshots.next_with_trust() => latest.insert(next).clone(),
            // A handover goes on although nothing has changed.
            () = tokio::time::sleep_until(epoch + due.unwrap_or_default()), if due.is_some() => match &latest {
                Some(latest) => latest.clone(),
                None => continue,
            },
            probes = found(&mut prober) => {
                planner.observe(probes);
                match &latest {
                    Some(latest) => latest.clone(),
                    None => continue,
                }
            }
        };
        let begin = Instant::now();
        // Ten thousand hosts take long enough to keep the Lease from being renewed on a machine with few cores.
        let next = Desired { trust, ..tokio::task::block_in_place(|| planner.plan(&snapshot, begin - epoch)) };
        if let Some(prober) = &prober {
            prober.ask(planner.suspects());
        }
        metrics.placed(&next, begin.elapsed());
        log_holds(desired.borrow().as_deref(), &next);
        log_kept(desired.borrow().as_deref(), &next);
        desired.send_replace(Some(Arc::new(next)));
        first_sync.take();
    }
}

fn log_holds(before: Option<&Desired>, next: &Desired) {
    let nothing = SharedMap::default();
    for changed in next.held.changes_since(before.map_or(&nothing, |before| &before.held)) {
        let host = changed.key;
        match changed.after {
            Some(reason) => {
                tracing::warn!(%host, reason = reason.as_str(), "the published records of the host are kept")
            }
            None => tracing::info!(%host, "the published records of the host are no longer kept"),
        }
    }
}

/// What probes find, where there are any.
async fn found(prober: &mut Option<Prober>) -> Probes {
    match prober {
        Some(prober) => prober.found().await,
        None => std::future::pending().await,
    }
}

fn log_kept(before: Option<&Desired>, next: &Desired) {
    let (nowhere, keeping) = (BTreeSet::new(), Keeping::default());
    let (known, was) = before.map_or((&nowhere, keeping), |before| (&before.kept, before.keeping));
    for node in next.kept.difference(known) {
        tracing::warn!(%node, "the node is not Ready; it stays published while its router answers");
    }
    for node in known.difference(&next.kept) {
        tracing::info!(%node, "the node is not kept any more: it is Ready, does not answer, was taken out, or its time is over");
    }
    for (node, _) in next.withdrawn.iter().filter(|(_, letting)| **letting == Letting::Drained) {
        if before.is_some_and(|before| before.withdrawn.get(node) != Some(&Letting::Drained)) {
            tracing::info!(%node, "DNS has let go of the node: no name server names it, and TTL and browsers' memory are over");
        }
    }
    if next.keeping == Keeping::Held && was != Keeping::Held {
        let nodes = next.kept.len();
        tracing::error!(
            nodes,
            "many nodes at once are not Ready, and all of these answer: they stay published until they recover, do not answer, or are drained"
        );
    }
}

/// The admin page `/placement`: each host with its nodes, the basis, and why its records are kept if they are.
pub(crate) fn page(desired: Option<&Desired>) -> Value {
    let Some(desired) = desired else {
        return json!({"generation": 0, "hosts": {}});
    };
    let mut hosts = Map::new();
    for (pattern, host) in &desired.placement.hosts {
        let nodes: Vec<&str> = host.nodes.iter().map(|name| &**name).collect();
        hosts.insert(pattern.to_string(), json!({"nodes": nodes, "basis": host.basis.as_str()}));
    }
    for (pattern, reason) in &desired.held {
        let entry = hosts.entry(pattern.to_string()).or_insert_with(|| json!({"nodes": []}));
        entry["held"] = reason.as_str().into();
    }
    let mut page = json!({"generation": desired.generation, "hosts": hosts});
    if !desired.kept.is_empty() {
        let nodes: Vec<&str> = desired.kept.iter().map(|name| &**name).collect();
        page["notReadyButKept"] = json!({"nodes": nodes, "held": desired.keeping == Keeping::Held});
    }
    if !desired.withdrawn.is_empty() {
        let nodes = desired.withdrawn.iter().map(|(name, letting)| (name.to_string(), letting.as_str().into()));
        page["withdrawn"] = Value::Object(nodes.collect());
    }
    page
}
