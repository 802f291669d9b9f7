//! Status in the API: the wanted status of a Route or an Ingress flows in; a patch of its `status` subresource, bound to the
//! version that was read, flows out where it differs, and Events for what the owner is not told yet.

use super::api::{request, resource};
use super::event::Events;
use super::{WriteError, Written};
use crate::clock;
use crate::desired::{EventIntent, Intent, RouterIdentity, next_addresses, next_entries};
use kube::Client;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use nearside_routing::{Kind, ObjectKey};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Writes the status of Routes and Ingresses.
pub(super) struct Statuses {
    client: Client,
    router: RouterIdentity,
    events: Events,
}

impl Statuses {
    pub(super) fn new(client: Client, router: RouterIdentity, instance: &str) -> Self {
        let events = Events::new(client.clone(), instance);
        Self { client, router, events }
    }

    pub(super) async fn write(
        &self,
        key: &ObjectKey,
        intent: Option<&Intent>,
        previous: Option<&Intent>,
    ) -> Result<Written, WriteError> {
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), &key.namespace, &resource(key.kind));
        let label = key.to_string();
        let Some(object) = request(&label, api.get_opt(&key.name)).await? else {
            self.events.settle(key);
            return Ok(Written::Unchanged);
        };
        let patch = if self.router.writes_status { self.patch(key, &object, intent, previous) } else { None };
        let written = match patch {
            Some(mut patch) => {
                patch["metadata"] = json!({"resourceVersion": object.metadata.resource_version});
                let (params, patch) = (PatchParams::default(), Patch::Merge(&patch));
                request(&label, api.patch_status(&key.name, &params, &patch)).await?;
                if intent.is_some() { Written::Updated } else { Written::Deleted }
            }
            None => Written::Unchanged,
        };
        let no_events = BTreeSet::new();
        match intent {
            Some(intent) => self.events.tell(key, &object, events(intent).unwrap_or(&no_events)).await?,
            None => self.events.settle(key),
        }
        Ok(written)
    }

    fn patch(
        &self,
        key: &ObjectKey,
        object: &DynamicObject,
        intent: Option<&Intent>,
        previous: Option<&Intent>,
    ) -> Option<Value> {
        let list = |pointer: &str| object.data.pointer(pointer).and_then(Value::as_array).cloned().unwrap_or_default();
        if key.kind == Kind::Route {
            let intent = intent.and_then(|intent| if let Intent::Route(route) = intent { Some(route) } else { None });
            let next = next_entries(&list("/status/ingress"), intent, &self.router, &clock::now())?;
            return Some(json!({"status": {"ingress": next}}));
        }
        let of = |intent: Option<&Intent>| match intent {
            Some(Intent::Ingress(ingress)) => Some(ingress.clone()),
            _ => None,
        };
        let current = list("/status/loadBalancer/ingress");
        let next = next_addresses(&current, of(intent).as_ref(), of(previous).as_ref())?;
        Some(json!({"status": {"loadBalancer": {"ingress": next}}}))
    }

    pub(super) fn forget(&self) {
        self.events.forget();
    }
}

fn events(intent: &Intent) -> Option<&BTreeSet<EventIntent>> {
    match intent {
        Intent::Route(route) => Some(&route.events),
        Intent::Ingress(ingress) => Some(&ingress.events),
        Intent::DnsEndpoint(_) => None,
    }
}
