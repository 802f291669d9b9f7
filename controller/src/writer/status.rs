//! Status in the API: the wanted status of a Route or an Ingress flows in; a patch of its `status` subresource, bound to the
//! version that was read, flows out where it differs, and Events for what the owner is not told yet.

use super::api::resource;
use super::event::Events;
use super::requests::Requests;
use super::{WriteError, Written};
use crate::clock;
use crate::contention::{Contended, Contention};
use crate::desired::{
    EventIntent, Intent, Passed, RouterIdentity, is_published, is_signed, next_addresses, next_entries, passed,
};
use crate::limits::PAGE;
use kube::Client;
use kube::api::{Api, DynamicObject, ListParams, Patch, PatchParams};
use nearside_routing::{Kind, ObjectKey};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Writes the status of Routes and Ingresses.
pub(super) struct Statuses {
    client: Client,
    router: RouterIdentity,
    events: Events,
    requests: Requests,
    contention: Mutex<Contention>,
    epoch: Instant,
}

impl Statuses {
    pub(super) fn new(client: Client, router: RouterIdentity, process: &str, requests: Requests) -> Self {
        let events = Events::new(client.clone(), process, requests.clone());
        Self { client, router, events, requests, contention: Mutex::default(), epoch: Instant::now() }
    }

    pub(super) async fn write(
        &self,
        key: &ObjectKey,
        intent: Option<&Intent>,
        previous: Option<&Intent>,
    ) -> Result<Written, WriteError> {
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), &key.namespace, &resource(key.kind));
        let label = key.to_string();
        let Some(object) = self.requests.read(&label, api.get_opt(&key.name)).await? else {
            self.events.settle(key);
            self.contention().forget(key);
            return Ok(Written::Unchanged);
        };
        let patch = if self.router.writes_status { self.patch(key, &object, intent, previous) } else { None };
        let uid = object.metadata.uid.as_deref().unwrap_or_default();
        if self.router.writes_status
            && key.kind == Kind::Route
            && let Some(pause) = self.contended(key, uid, &object)
        {
            return Ok(Written::Contended(pause));
        }
        let written = match patch {
            Some(mut patch) => {
                patch["metadata"] = json!({"resourceVersion": object.metadata.resource_version});
                let (params, patch) = (PatchParams::default(), Patch::Merge(&patch));
                let stored = self.requests.write(&label, api.patch_status(&key.name, &params, &patch)).await?;
                self.contention().set(key, uid, self.own_entry(&stored));
                if let Some(event) = self.happened(key, &object, &stored, intent.is_some()) {
                    self.events.pass(key, &object, &event).await?;
                }
                if intent.is_some() { Written::Updated } else { Written::Deleted }
            }
            None => {
                self.contention().set(key, uid, self.own_entry(&object));
                Written::Unchanged
            }
        };
        let no_events = BTreeSet::new();
        match intent {
            Some(intent) => self.events.tell(key, &object, events(intent).unwrap_or(&no_events)).await?,
            None => self.events.settle(key),
        }
        Ok(written)
    }

    /// Routes with an entry that we have written, by its name and its conditions: whoever is in our scope no more loses it,
    /// also if that came to be while no controller ran. An entry of our name that is somebody else's is not among them.
    pub(super) async fn stale(&self) -> Result<Vec<ObjectKey>, WriteError> {
        if !self.router.writes_status {
            return Ok(Vec::new());
        }
        let api: Api<DynamicObject> = Api::all_with(self.client.clone(), &resource(Kind::Route));
        let mut params = ListParams::default().limit(PAGE);
        let mut found = Vec::new();
        loop {
            let page = self.requests.read("the list of Routes", api.list(&params)).await?;
            for route in &page.items {
                if self.own_entry(route).is_some_and(is_signed)
                    && let (Some(namespace), Some(name)) = (&route.metadata.namespace, &route.metadata.name)
                {
                    found.push(ObjectKey::new(Kind::Route, namespace, name));
                }
            }
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params = params.continue_token(&token),
                None => return Ok(found),
            }
        }
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

    /// What a write of the status has made of the object, if its owner should know.
    fn happened(
        &self,
        key: &ObjectKey,
        before: &DynamicObject,
        after: &DynamicObject,
        in_scope: bool,
    ) -> Option<EventIntent> {
        let router = || format!("router {}", self.router.name);
        if key.kind == Kind::Route {
            let entry = |object| self.own_entry(object);
            let published = |object| entry(object).is_some_and(is_published);
            let host = entry(after).and_then(|entry| entry["host"].as_str()).unwrap_or_default();
            return match (entry(before).is_some(), entry(after).is_some()) {
                (true, false) => Some(passed(Passed::Withdrawn, &router())),
                _ if published(after) && !published(before) => Some(passed(Passed::Published, host)),
                _ => None,
            };
        }
        let has_addresses = |object: &DynamicObject| {
            let list = object.data.pointer("/status/loadBalancer/ingress").and_then(Value::as_array);
            list.is_some_and(|list| !list.is_empty())
        };
        match (has_addresses(before), has_addresses(after)) {
            (false, true) => Some(passed(Passed::Published, "the Ingress")),
            (true, false) if in_scope => Some(passed(Passed::NotPlaced, "the Ingress")),
            (true, false) => Some(passed(Passed::Withdrawn, &router())),
            _ => None,
        }
    }

    /// For how long the Route is left alone, because somebody else writes our entry, or too many others.
    fn contended(&self, key: &ObjectKey, uid: &str, object: &DynamicObject) -> Option<Duration> {
        let now = self.epoch.elapsed();
        let contended = self.contention().check(key, uid, self.own_entry(object), now).err()?;
        let router = &self.router.name;
        match contended {
            Contended::Route { new: true, .. } => tracing::warn!(
                object = %key,
                router,
                "somebody else has changed our entry in the status; it is left alone for a while. Look for another router \
                 of this name (--router-name)"
            ),
            Contended::Everything { new: true, .. } => tracing::error!(
                router,
                "somebody else has changed our entry in too many Routes; no status of Routes is written for a while. Look for \
                 another router of this name (--router-name)"
            ),
            Contended::Route { .. } | Contended::Everything { .. } => {}
        }
        Some(contended.until().saturating_sub(now))
    }

    /// Our entry in the status of a Route.
    fn own_entry<'o>(&self, object: &'o DynamicObject) -> Option<&'o Value> {
        let entries = object.data.pointer("/status/ingress").and_then(Value::as_array)?;
        entries.iter().find(|entry| entry["routerName"] == self.router.name.as_str())
    }

    fn contention(&self) -> MutexGuard<'_, Contention> {
        self.contention.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn forget(&self) {
        *self.contention() = Contention::default();
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
