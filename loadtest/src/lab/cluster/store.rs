//! Where the cluster's objects go: the one seam between the lab's controllers and a Kubernetes API. The API server of this crate
//! is one store; [`MemoryStore`] is another for tests without one.

use anyhow::{Context as _, Result};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Which object: what its path in the API is made of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reference {
    /// Such as `v1` or `discovery.k8s.io/v1`.
    pub api_version: String,
    /// Such as `Pod`.
    pub kind: String,
    /// Empty for objects of the whole cluster.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
}

/// Takes whole objects, status included, as a kubelet or controller with all rights would write them.
pub trait ObjectStore: Send + Sync {
    /// Creates the object, or replaces its spec, status, labels and annotations. Returns it as stored, with what the store added.
    ///
    /// # Errors
    /// When the object is refused.
    fn put(&self, object: &Value) -> Result<Value>;

    /// Removes the object at once; one that is gone is no error.
    ///
    /// # Errors
    /// When the store is gone.
    fn remove(&self, reference: &Reference) -> Result<()>;

    /// Whether somebody else writes EndpointSlices, so that the lab must not.
    fn has_controllers(&self) -> bool {
        false
    }
}

impl Reference {
    /// The reference of an object.
    ///
    /// # Errors
    /// When `apiVersion`, `kind` or `metadata.name` is missing.
    pub fn of(object: &Value) -> Result<Self> {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        let required = |pointer: &str| text(pointer).with_context(|| format!("object without {pointer}: {object}"));
        Ok(Self {
            api_version: required("/apiVersion")?,
            kind: required("/kind")?,
            namespace: text("/metadata/namespace").unwrap_or_default(),
            name: required("/metadata/name")?,
        })
    }

    /// A reference in parts.
    #[must_use]
    pub fn new(api_version: &str, kind: &str, namespace: &str, name: &str) -> Self {
        Self { api_version: api_version.into(), kind: kind.into(), namespace: namespace.into(), name: name.into() }
    }
}

/// A store that only remembers.
#[derive(Debug, Default)]
pub struct MemoryStore {
    objects: Mutex<BTreeMap<Reference, Value>>,
}

impl MemoryStore {
    /// All objects of a kind, in order of namespace and name.
    #[must_use]
    pub fn list(&self, kind: &str) -> Vec<Value> {
        let objects = self.objects.lock().unwrap_or_else(PoisonError::into_inner);
        objects.iter().filter(|(reference, _)| reference.kind == kind).map(|(_, object)| object.clone()).collect()
    }
}

impl ObjectStore for MemoryStore {
    fn put(&self, object: &Value) -> Result<Value> {
        let reference = Reference::of(object)?;
        self.objects.lock().unwrap_or_else(PoisonError::into_inner).insert(reference, object.clone());
        Ok(object.clone())
    }

    fn remove(&self, reference: &Reference) -> Result<()> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner).remove(reference);
        Ok(())
    }
}
