//! Events in the API (`events.k8s.io/v1`): what an object's owner should be told flows in; an Event for what is new flows
//! out. The name of an Event follows from its content, so that a controller that starts anew does not repeat it.

use super::WriteError;
use super::requests::Requests;
use crate::clock;
use crate::desired::{EventIntent, PUBLISHED};
use kube::Client;
use kube::api::{Api, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use nearside_routing::ObjectKey;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Tells the owners of objects, once per change.
pub(super) struct Events {
    client: Client,
    resource: ApiResource,
    instance: String,
    requests: Requests,
    /// What stands and has been told, by object. An object without an entry has not been looked at in this term.
    told: Mutex<BTreeMap<ObjectKey, BTreeSet<EventIntent>>>,
}

impl Events {
    pub(super) fn new(client: Client, instance: &str, requests: Requests) -> Self {
        let gvk = GroupVersionKind::gvk("events.k8s.io", "v1", "Event");
        let resource = ApiResource::from_gvk_with_plural(&gvk, "events");
        let instance = instance.chars().take(MAX_INSTANCE).collect();
        Self { client, resource, instance, requests, told: Mutex::default() }
    }

    /// Tells what is in `events` and was not there when last told.
    pub(super) async fn tell(
        &self,
        key: &ObjectKey,
        object: &DynamicObject,
        events: &BTreeSet<EventIntent>,
    ) -> Result<(), WriteError> {
        let known = self.told().get(key).cloned();
        let first_look = known.is_none();
        let mut told: BTreeSet<EventIntent> = known.unwrap_or_default();
        told.retain(|event| events.contains(event));
        for event in events {
            if told.contains(event) {
                continue;
            }
            self.create(key, object, event, first_look).await?;
            told.insert(event.clone());
            // One that failed leaves the others told.
            self.told().insert(key.clone(), told.clone());
        }
        self.told().insert(key.clone(), told);
        Ok(())
    }

    /// Tells what has just happened to the object, now and not again while it lasts.
    pub(super) async fn pass(
        &self,
        key: &ObjectKey,
        object: &DynamicObject,
        event: &EventIntent,
    ) -> Result<(), WriteError> {
        self.create(key, object, event, false).await
    }

    /// Nothing is to be told of the object any more.
    pub(super) fn settle(&self, key: &ObjectKey) {
        self.told().remove(key);
    }

    pub(super) fn forget(&self) {
        self.told().clear();
    }

    async fn create(
        &self,
        key: &ObjectKey,
        object: &DynamicObject,
        event: &EventIntent,
        first_look: bool,
    ) -> Result<(), WriteError> {
        let uid = object.metadata.uid.as_deref().unwrap_or_default();
        let name = name(key, uid, event);
        let now = clock::now_micro();
        let value = json!({
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": &*key.namespace},
            "eventTime": now,
            "reportingController": CONTROLLER,
            "reportingInstance": self.instance,
            "action": "Admit",
            "reason": event.reason,
            "note": event.message,
            "type": if event.good { "Normal" } else { "Warning" },
            "regarding": {
                "apiVersion": key.kind.api_version(),
                "kind": key.kind.name(),
                "namespace": &*key.namespace,
                "name": &*key.name,
                "uid": uid,
                "resourceVersion": object.metadata.resource_version,
            },
        });
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), &key.namespace, &self.resource);
        let label = format!("Event for {key}");
        let invalid =
            |source| WriteError::Api { object: label.clone(), source: Box::new(kube::Error::SerdeError(source)) };
        let new: DynamicObject = serde_json::from_value(value).map_err(invalid)?;
        // What was told by the leader before this one costs a question and no write.
        if first_look && self.requests.read(&label, api.get_opt(&name)).await?.is_some() {
            return Ok(());
        }
        match self.requests.write(&label, api.create(&PostParams::default(), &new)).await {
            Ok(_) => Ok(()),
            // That is told once; what comes back is counted.
            Err(error) if error.is_conflict() && event.reason == PUBLISHED => Ok(()),
            Err(error) if error.is_conflict() => {
                let Some(existing) = self.requests.read(&label, api.get_opt(&name)).await? else { return Err(error) };
                let count = existing.data.pointer("/series/count").and_then(Value::as_i64).unwrap_or(1);
                let again = json!({"series": {"count": count + 1, "lastObservedTime": now}});
                self.requests.write(&label, api.patch(&name, &PatchParams::default(), &Patch::Merge(&again))).await?;
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn told(&self) -> MutexGuard<'_, BTreeMap<ObjectKey, BTreeSet<EventIntent>>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn name(key: &ObjectKey, uid: &str, event: &EventIntent) -> String {
    let mut hasher = DefaultHasher::new();
    (key, uid, event.reason, &event.message).hash(&mut hasher);
    let start: String = key.name.chars().take(MAX_NAME_START).collect();
    format!("{}.{:016x}", start.trim_end_matches(['.', '-']), hasher.finish())
}

/// `reportingController`.
const CONTROLLER: &str = "nearside.dev/controller";
/// The longest `reportingInstance` that the API server takes.
const MAX_INSTANCE: usize = 128;
/// Characters of the object's name in the name of its Event; with the hash it stays below 253.
const MAX_NAME_START: usize = 230;
