//! The controllers of Kubernetes that clients cannot do without: every namespace gets its ServiceAccount `default`, every Service its
//! EndpointSlices. The server's own changes flow in, objects flow out as if kube-controller-manager had written them. Started with the
//! server when asked for; a server without them leaves this to the lab.

use super::endpoint_slices::slices;
use super::kinds::ResourceKind;
use super::object::{Key, is_deleting, items, meta, meta_text, set_meta, text};
use super::registry::{Caller, DeleteOptions, ListQuery, Registry};
use super::store::ChangeFeed;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::{Arc, Weak};

/// Starts them; they see every change from here on, and end with the server.
pub(crate) fn start(registry: &Arc<Registry>) {
    if let Some(feeds) = feeds(registry) {
        tokio::spawn(run(Arc::downgrade(registry), feeds));
    }
}

async fn run(registry: Weak<Registry>, [mut namespaces, mut services, mut pods]: [ChangeFeed; 3]) {
    loop {
        let change = tokio::select! {
            change = namespaces.recv() => change,
            change = services.recv() => change,
            change = pods.recv() => change,
        };
        let Some(first) = change else { return };
        let Some(registry) = registry.upgrade() else { return };
        let mut concerned = BTreeSet::new();
        let rest = [&mut namespaces, &mut services, &mut pods];
        let more: Vec<_> = rest.into_iter().flat_map(|feed| std::iter::from_fn(|| feed.try_recv().ok())).collect();
        for change in more.iter().chain([&first]) {
            concerned.insert(if &*change.storage == "namespaces" { &change.key.name } else { &change.key.namespace });
        }
        for namespace in concerned {
            reconcile(&registry, namespace);
        }
    }
}

fn feeds(registry: &Registry) -> Option<[ChangeFeed; 3]> {
    let kinds = ["Namespace", "Service", "Pod"].map(|kind| registry.kinds.by_type("v1", kind));
    let mut state = registry.store.lock();
    let revision = state.revision();
    let mut follow = |kind: &Option<Arc<ResourceKind>>| {
        kind.as_ref().and_then(|kind| state.follow(&kind.storage, revision).ok()).map(|(_, feed)| feed)
    };
    let [namespaces, services, pods] = &kinds;
    Some([follow(namespaces)?, follow(services)?, follow(pods)?])
}

/// Makes one namespace as it should be.
fn reconcile(registry: &Registry, namespace: &str) {
    let kind = |api_version: &str, kind: &str| registry.kinds.by_type(api_version, kind);
    let Some(of) = kind("v1", "Namespace").and_then(|kind| registry.get(&kind, &Key::new("", namespace)).ok()) else {
        return;
    };
    if is_deleting(&of) {
        return;
    }
    if let Some(accounts) = kind("v1", "ServiceAccount")
        && registry.get(&accounts, &Key::new(namespace, DEFAULT_ACCOUNT)).is_err()
    {
        // Somebody else may be faster.
        let _ = registry.create(&accounts, namespace, json!({"metadata": {"name": DEFAULT_ACCOUNT}}), &caller());
    }
    let [Some(services), Some(pods), Some(kept)] =
        [kind("v1", "Service"), kind("v1", "Pod"), kind("discovery.k8s.io/v1", "EndpointSlice")]
    else {
        return;
    };
    let list = |kind: &ResourceKind| {
        let query = ListQuery { namespace: Some(namespace.to_owned()), ..ListQuery::default() };
        registry.list(kind, &query).map(|page| page.items).unwrap_or_default()
    };
    let pods = list(&pods);
    let wanted: Vec<Value> = list(&services).iter().flat_map(|service| slices(service, &pods)).collect();
    let held = list(&kept);
    let held = held.iter().filter(|slice| {
        let labels = meta(slice, "labels");
        labels.is_some_and(|labels| labels["endpointslice.kubernetes.io/managed-by"] == MANAGED_BY)
    });
    let held: Vec<&Value> = held.collect();
    for slice in &wanted {
        let before = held.iter().find(|held| meta_text(held, "name") == meta_text(slice, "name"));
        let outcome = match before {
            None => registry.create(&kept, namespace, slice.clone(), &caller()),
            Some(before) if is_same(before, slice) => continue,
            Some(before) => {
                let mut slice = slice.clone();
                set_meta(&mut slice, "resourceVersion", meta(before, "resourceVersion").cloned());
                registry.update(&kept, &key(&slice), super::registry::Part::Main, slice, &caller())
            }
        };
        if let Err(error) = outcome {
            let name = meta_text(slice, "name");
            tracing::warn!(%error, "EndpointSlice {namespace}/{name} cannot be written");
        }
    }
    for gone in held.iter().filter(|held| !wanted.iter().any(|slice| key(slice) == key(held))) {
        let _ = registry.delete(&kept, &key(gone), &DeleteOptions::default(), &caller());
    }
}

fn is_same(held: &Value, wanted: &Value) -> bool {
    let owner =
        |slice: &Value| items(slice, "metadata.ownerReferences").first().map(|owner| text(owner, "uid").to_owned());
    ["addressType", "endpoints", "ports"].iter().all(|field| held.get(field) == wanted.get(field))
        && meta(held, "labels") == meta(wanted, "labels")
        && owner(held) == owner(wanted)
}

fn key(object: &Value) -> Key {
    Key::new(meta_text(object, "namespace"), meta_text(object, "name"))
}

fn caller() -> Caller {
    Caller { manager: "kube-controller-manager".to_owned(), dry_run: false, is_lab: false }
}

/// The account of pods that name none.
const DEFAULT_ACCOUNT: &str = "default";
const MANAGED_BY: &str = "endpointslice-controller.k8s.io";
