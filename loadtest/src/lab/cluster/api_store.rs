//! The fake API server as the lab's object store: what kubelets and controllers write becomes the calls that they would make.

use super::store::{ObjectStore, Reference};
use crate::api::{ApiError, ApiServer, ObjectRef};
use anyhow::{Context as _, Result};
use serde_json::Value;

impl ObjectStore for ApiServer {
    fn put(&self, object: &Value) -> Result<Value> {
        let reference = Reference::of(object)?;
        let target = reference.target();
        let told = || format!("{} {}/{}", reference.kind, reference.namespace, reference.name);
        let live = self.get(target);
        match (&live, object.get("status")) {
            // Others annotate and cordon nodes; the lab's kubelet owns nothing but the status.
            (Some(_), Some(status)) if reference.kind == "Node" => {
                return self.set_status(target, status.clone()).with_context(told);
            }
            _ => {}
        }
        let deleted = |object: &Value| object.pointer("/metadata/deletionTimestamp").is_some();
        if deleted(object) && live.is_some_and(|live| !deleted(&live)) {
            let grace = object.pointer("/metadata/deletionGracePeriodSeconds").and_then(Value::as_u64);
            self.delete_with_grace(target, grace.unwrap_or(30)).with_context(told)?;
        }
        self.seed(object.clone()).with_context(told)
    }

    fn remove(&self, reference: &Reference) -> Result<()> {
        match self.delete(reference.target()) {
            Err(ApiError { code: 404, .. }) => Ok(()),
            other => other
                .map(drop)
                .with_context(|| format!("{} {}/{}", reference.kind, reference.namespace, reference.name)),
        }
    }
}

impl Reference {
    fn target(&self) -> ObjectRef<'_> {
        ObjectRef::new(&self.api_version, &self.kind, &self.namespace, &self.name)
    }
}
