//! DNSEndpoints in the API: the wanted records of a host flow in; create, replace and delete requests flow out, each bound
//! to the version that was read. What exists is kept in memory, so that an object that is right costs no request.
//!
//! All records of a host are in one object, so nodes that come and nodes that go change in one update; whoever serves the
//! records makes the new before it breaks the old.

use super::api::resource;
use super::requests::{Requests, is_not_found};
use super::{WriteError, Written};
use crate::desired::{DnsEndpointIntent, Records, is_ours, next_object, summary};
use crate::limits::PAGE;
use kube::Client;
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, PostParams, Preconditions};
use kube::core::{ApiResource, TypeMeta};
use nearside_routing::{Instance, Kind};
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The DNSEndpoints of one namespace.
pub(super) struct DnsEndpoints {
    api: Api<DynamicObject>,
    resource: ApiResource,
    namespace: String,
    instance: Instance,
    requests: Requests,
    /// By the name in the API.
    known: Mutex<HashMap<Arc<str>, Value>>,
    /// Objects that somebody else has changed: they are read before they are written.
    distrusted: Mutex<HashSet<Arc<str>>>,
}

impl DnsEndpoints {
    pub(super) fn new(client: Client, namespace: &str, instance: Instance, requests: Requests) -> Self {
        let resource = resource(Kind::DnsEndpoint);
        let api = Api::namespaced_with(client, namespace, &resource);
        Self {
            api,
            resource,
            namespace: namespace.to_owned(),
            instance,
            requests,
            known: Mutex::default(),
            distrusted: Mutex::default(),
        }
    }

    /// Lists what exists and gives the names of the objects that are ours, as targets name them.
    pub(super) async fn refresh(&self) -> Result<Vec<Arc<str>>, WriteError> {
        let mut found = HashMap::new();
        let mut params = ListParams::default().labels(&self.instance.selector()).limit(PAGE);
        loop {
            let page =
                self.requests.read("the list of DNSEndpoints", self.api.list(&params)).await.map_err(no_such_kind)?;
            let next = page.metadata.continue_.clone().filter(|token| !token.is_empty());
            for object in page.items {
                let (name, value) = self.value(object);
                found.insert(name, value);
            }
            match next {
                Some(token) => params = params.continue_token(&token),
                None => break,
            }
        }
        let names = found.values().filter_map(|object| is_ours(object, &self.instance)).collect();
        *self.known() = found;
        self.distrusted().clear();
        Ok(names)
    }

    /// Makes the DNSEndpoint of a host what it should be.
    pub(super) async fn put(&self, target: &str, intent: &DnsEndpointIntent) -> Result<Written, WriteError> {
        let Records::Publish { spec, basis, weights } = &intent.records else {
            return Ok(Written::Unchanged);
        };
        let name = &self.instance.name(target);
        self.read_again(name).await?;
        let known = self.known().get(name).cloned();
        let label = self.label(name);
        if known.as_ref().is_some_and(|object| is_ours(object, &self.instance).is_none()) {
            self.read(name).await?;
            return Err(WriteError::Foreign { object: label });
        }
        let Some(next) =
            next_object(known.as_ref(), &self.namespace, &self.instance, &intent.pattern, spec, *basis, weights)
        else {
            return Ok(Written::Unchanged);
        };
        let (host, generation) = summary(&next);
        let written = self.send(name, &label, next, known.is_some()).await;
        match written {
            Ok(object) => {
                let (_, value) = self.value(object);
                self.known().insert(Arc::clone(name), value);
                tracing::info!(host, generation, name = &**name, "records written");
                Ok(if known.is_some() { Written::Updated } else { Written::Created })
            }
            Err(error) if error.is_conflict() || is_not_found(&error) => {
                // The object is not what memory says: the next attempt starts from what it is.
                self.read(name).await?;
                Err(WriteError::Conflict { object: label })
            }
            Err(error) => Err(error),
        }
    }

    /// Deletes the DNSEndpoint of a host that nothing claims any more.
    pub(super) async fn withdraw(&self, target: &str) -> Result<Written, WriteError> {
        let name = &self.instance.name(target);
        self.read_again(name).await?;
        let Some(object) = self.known().get(name).cloned() else {
            return Ok(Written::Unchanged);
        };
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        if is_ours(&object, &self.instance).is_none() || text("/metadata/deletionTimestamp").is_some() {
            return Ok(Written::Unchanged);
        }
        let preconditions =
            Preconditions { resource_version: text("/metadata/resourceVersion"), uid: text("/metadata/uid") };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        let label = self.label(name);
        match self.requests.write(&label, self.api.delete(name, &params)).await {
            Ok(_) => {
                self.known().remove(name);
                tracing::info!(host = summary(&object).0, name = &**name, "records withdrawn: nothing claims the host");
                Ok(Written::Deleted)
            }
            Err(error) if is_not_found(&error) => {
                self.known().remove(name);
                Ok(Written::Unchanged)
            }
            Err(error) if error.is_conflict() => {
                self.read(name).await?;
                Err(error)
            }
            Err(error) => Err(error),
        }
    }

    pub(super) fn forget(&self) {
        self.known().clear();
        self.distrusted().clear();
    }

    /// The object is not what memory says; it is read before it is used again.
    pub(super) fn distrust(&self, target: &str) {
        self.distrusted().insert(self.instance.name(target));
    }

    async fn read_again(&self, name: &Arc<str>) -> Result<(), WriteError> {
        let distrusted = self.distrusted().contains(name);
        if distrusted {
            self.read(name).await?;
            self.distrusted().remove(name);
        }
        Ok(())
    }

    async fn send(&self, name: &str, label: &str, next: Value, exists: bool) -> Result<DynamicObject, WriteError> {
        let invalid =
            |source| WriteError::Api { object: label.to_owned(), source: Box::new(kube::Error::SerdeError(source)) };
        let object: DynamicObject = serde_json::from_value(next).map_err(invalid)?;
        let params = PostParams::default();
        if exists {
            self.requests.write(label, self.api.replace(name, &params, &object)).await
        } else {
            self.requests.write(label, self.api.create(&params, &object)).await
        }
    }

    /// Reads one object afresh into memory.
    async fn read(&self, name: &Arc<str>) -> Result<(), WriteError> {
        match self.requests.read(&self.label(name), self.api.get_opt(name)).await? {
            Some(object) => {
                let (name, value) = self.value(object);
                self.known().insert(name, value);
            }
            None => {
                self.known().remove(name);
            }
        }
        Ok(())
    }

    /// An object as plain JSON, without the book-keeping of field owners, which is longer than all the rest.
    fn value(&self, mut object: DynamicObject) -> (Arc<str>, Value) {
        object.metadata.managed_fields = None;
        // Items of a list come without their type.
        object.types =
            Some(TypeMeta { api_version: self.resource.api_version.clone(), kind: self.resource.kind.clone() });
        let name = object.metadata.name.clone().unwrap_or_default();
        (name.into(), serde_json::to_value(object).unwrap_or_default())
    }

    fn label(&self, name: &str) -> String {
        format!("DNSEndpoint {}/{name}", self.namespace)
    }

    fn known(&self) -> MutexGuard<'_, HashMap<Arc<str>, Value>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn distrusted(&self) -> MutexGuard<'_, HashSet<Arc<str>>> {
        self.distrusted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn no_such_kind(error: WriteError) -> WriteError {
    if is_not_found(&error) {
        WriteError::NoSuchKind { plural: Kind::DnsEndpoint.plural(), group: Kind::DnsEndpoint.group() }
    } else {
        error
    }
}
