//! DNSEndpoints in the API: the wanted records of a host flow in; create, replace and delete requests flow out, each bound
//! to the version that was read. What exists is kept in memory, so that an object that is right costs no request.
//!
//! All records of a host are in one object, so nodes that come and nodes that go change in one update; whoever serves the
//! records makes the new before it breaks the old.

use super::api::{is_not_found, request, resource};
use super::{WriteError, Written};
use crate::desired::{DnsEndpointIntent, Records, is_ours, next_object, summary};
use crate::limits::PAGE;
use kube::Client;
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, PostParams, Preconditions};
use kube::core::{ApiResource, TypeMeta};
use nearside_routing::Kind;
use nearside_routing::published::{MANAGED_LABEL, MANAGED_VALUE};
use serde_json::Value;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The DNSEndpoints of one namespace.
pub(super) struct DnsEndpoints {
    api: Api<DynamicObject>,
    resource: ApiResource,
    namespace: String,
    known: Mutex<HashMap<Arc<str>, Value>>,
}

impl DnsEndpoints {
    pub(super) fn new(client: Client, namespace: &str) -> Self {
        let resource = resource(Kind::DnsEndpoint);
        let api = Api::namespaced_with(client, namespace, &resource);
        Self { api, resource, namespace: namespace.to_owned(), known: Mutex::default() }
    }

    /// Lists what exists and gives the names of the objects that are ours.
    pub(super) async fn refresh(&self) -> Result<Vec<Arc<str>>, WriteError> {
        let mut found = HashMap::new();
        let mut params = ListParams::default().labels(&format!("{MANAGED_LABEL}={MANAGED_VALUE}")).limit(PAGE);
        loop {
            let page = request("the list of DNSEndpoints", self.api.list(&params)).await.map_err(no_such_kind)?;
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
        let names = found.iter().filter(|(_, object)| is_ours(object)).map(|(name, _)| Arc::clone(name)).collect();
        *self.known() = found;
        Ok(names)
    }

    /// Makes the DNSEndpoint of a host what it should be.
    pub(super) async fn put(&self, name: &Arc<str>, intent: &DnsEndpointIntent) -> Result<Written, WriteError> {
        let Records::Publish { spec, basis } = &intent.records else {
            return Ok(Written::Unchanged);
        };
        let known = self.known().get(name).cloned();
        let label = self.label(name);
        if known.as_ref().is_some_and(|object| !is_ours(object)) {
            self.read(name).await?;
            return Err(WriteError::Foreign { object: label });
        }
        let Some(next) = next_object(known.as_ref(), &self.namespace, &intent.pattern, spec, *basis) else {
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
    pub(super) async fn withdraw(&self, name: &Arc<str>) -> Result<Written, WriteError> {
        let Some(object) = self.known().get(name).cloned() else {
            return Ok(Written::Unchanged);
        };
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        if !is_ours(&object) || text("/metadata/deletionTimestamp").is_some() {
            return Ok(Written::Unchanged);
        }
        let preconditions =
            Preconditions { resource_version: text("/metadata/resourceVersion"), uid: text("/metadata/uid") };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        let label = self.label(name);
        match request(&label, self.api.delete(name, &params)).await {
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
    }

    async fn send(&self, name: &str, label: &str, next: Value, exists: bool) -> Result<DynamicObject, WriteError> {
        let invalid =
            |source| WriteError::Api { object: label.to_owned(), source: Box::new(kube::Error::SerdeError(source)) };
        let object: DynamicObject = serde_json::from_value(next).map_err(invalid)?;
        let params = PostParams::default();
        if exists {
            request(label, self.api.replace(name, &params, &object)).await
        } else {
            request(label, self.api.create(&params, &object)).await
        }
    }

    /// Reads one object afresh into memory.
    async fn read(&self, name: &Arc<str>) -> Result<(), WriteError> {
        match request(&self.label(name), self.api.get_opt(name)).await? {
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
}

fn no_such_kind(error: WriteError) -> WriteError {
    if is_not_found(&error) {
        WriteError::NoSuchKind { plural: Kind::DnsEndpoint.plural(), group: Kind::DnsEndpoint.group() }
    } else {
        error
    }
}
