//! Any Kubernetes API as the lab's object store: what kubelets and users of the lab write becomes the requests that they would send,
//! with the rights of the lab's kubeconfig and nothing that a real server does not offer.

use super::names::Names;
use super::store::{ObjectStore, Reference};
use crate::api::ObjectRef;
use crate::rest::{Rest, code};
use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// The store.
#[derive(Clone, Debug)]
pub struct RestStore {
    rest: Rest,
    names: Names,
    has_controllers: bool,
}

impl RestStore {
    /// A store in the cluster of `rest`. Looks whether controllers work there: if so, a namespace that is made soon has the
    /// ServiceAccount `default`.
    ///
    /// # Errors
    /// When the server does not answer, or refuses.
    pub fn new(rest: Rest, names: Names, first_namespace: &str) -> Result<Self> {
        let mut store = Self { rest, names, has_controllers: true };
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": first_namespace}});
        store.put(&namespace)?;
        let (name, deadline) = (store.names.global(first_namespace), Instant::now() + PATIENCE);
        while store.rest.get(ObjectRef::new("v1", "ServiceAccount", &name, "default"))?.is_none() {
            if Instant::now() > deadline {
                store.has_controllers = false;
                store.make_account(&name)?;
                break;
            }
            std::thread::sleep(POLL);
        }
        Ok(store)
    }

    /// The client behind it.
    #[must_use]
    pub fn rest(&self) -> &Rest {
        &self.rest
    }

    /// How the lab's names look there.
    #[must_use]
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// Reads an object by the lab's names for it.
    ///
    /// # Errors
    /// When the server does not answer, or refuses.
    pub fn get(&self, object: ObjectRef<'_>) -> Result<Option<Value>> {
        let ObjectRef { api_version, kind, namespace, name } = object;
        let metadata = json!({"namespace": namespace, "name": name});
        let renamed = self.names.outward(json!({"apiVersion": api_version, "kind": kind, "metadata": metadata}));
        self.rest.get(target(&renamed))
    }

    /// What a real cluster asks for beside the names, and what only the server may say.
    fn request(&self, object: &Value) -> Value {
        let mut object = self.names.outward(object.clone());
        for field in ["uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "resourceVersion"]
        {
            if let Some(metadata) = object["metadata"].as_object_mut() {
                metadata.remove(field);
            }
        }
        if let Some(fields) = object.as_object_mut() {
            fields.remove("status");
        }
        match object["kind"].as_str() {
            // No kubelet watches it, so nothing of others may run on it; its addresses are the lab's own affair.
            Some("Node") => object["spec"] = json!({"taints": [{"key": "nearside.dev/lab", "effect": "NoSchedule"}]}),
            Some("Pod") => {
                object["spec"]["tolerations"] = json!([{"operator": "Exists"}]);
                object["spec"]["automountServiceAccountToken"] = json!(false);
                object["spec"]["enableServiceLinks"] = json!(false);
            }
            // Routers are on the addresses of their nodes.
            Some("Namespace") => {
                object["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] = json!("privileged");
            }
            _ => {}
        }
        object
    }

    /// A pod or node: made once, from then on only its status changes.
    fn put_with_status(&self, object: &Value) -> Result<Value> {
        let request = self.request(object);
        let target = target(&request);
        let status = &object["status"];
        if is_deleting(object) {
            let grace = object.pointer("/metadata/deletionGracePeriodSeconds").and_then(Value::as_u64);
            self.rest.delete(target, Some(grace.unwrap_or(30)))?;
        }
        match self.rest.patch_status(target, status) {
            Err(error) if code(&error) == Some(404) && !is_deleting(object) => {
                self.create(&request)?;
                self.rest.patch_status(target, status)
            }
            other => other,
        }
    }

    /// Creates a pod or node; a pod has to wait until its namespace has the account that it gets.
    fn create(&self, object: &Value) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.rest.create(object) {
                Ok(_) => return Ok(()),
                Err(error) if Instant::now() > deadline => return Err(error),
                Err(error) if error.to_string().contains("error looking up service account") => {}
                Err(error) => return Err(error),
            }
            std::thread::sleep(POLL);
        }
    }

    fn make_account(&self, namespace: &str) -> Result<()> {
        let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"namespace": namespace, "name": "default"}});
        self.rest.apply(&account).map(drop)
    }
}

impl ObjectStore for RestStore {
    fn put(&self, object: &Value) -> Result<Value> {
        let reference = Reference::of(object)?;
        let told = || format!("{} {}/{}", reference.kind, reference.namespace, reference.name);
        if ["Pod", "Node"].contains(&reference.kind.as_str()) {
            return self.put_with_status(object).with_context(told);
        }
        let stored = self.rest.apply(&self.request(object)).with_context(told)?;
        if reference.kind == "Namespace" && !self.has_controllers {
            self.make_account(&self.names.global(&reference.name))?;
        }
        Ok(stored)
    }

    fn remove(&self, reference: &Reference) -> Result<()> {
        let Reference { api_version, kind, namespace, name } = reference;
        let object =
            json!({"apiVersion": api_version, "kind": kind, "metadata": {"namespace": namespace, "name": name}});
        let request = self.names.outward(object);
        // What a kubelet does when the last container has ended.
        let grace = (kind == "Pod").then_some(0);
        self.rest.delete(target(&request), grace).with_context(|| format!("{kind} {namespace}/{name}"))
    }

    fn has_controllers(&self) -> bool {
        self.has_controllers
    }
}

/// Removes what runs of the lab have left in a cluster: of one run, or (`None`) of all of them. Returns when the namespaces are gone.
///
/// # Errors
/// When the server does not answer, refuses, or keeps a namespace.
pub fn remove_leftovers(rest: &Rest, run: Option<&str>) -> Result<usize> {
    let labels = run.map_or_else(|| super::RUN_LABEL.to_owned(), |run| format!("{}={run}", super::RUN_LABEL));
    let list = |api_version: &str, kind: &str, namespace: &str| rest.list(api_version, kind, namespace, &labels);
    let mut removed = 0;
    let namespaces = list("v1", "Namespace", "")?;
    for namespace in &namespaces {
        let name = namespace["metadata"]["name"].as_str().unwrap_or_default();
        // No kubelet will ever say that they have ended. What publishes comes first of the rest: others may read it.
        for (api_version, kind, grace) in [("v1", "Pod", Some(0)), ("externaldns.k8s.io/v1alpha1", "DNSEndpoint", None)]
        {
            let found = match rest.list(api_version, kind, name, "") {
                Err(error) if code(&error) == Some(404) => Vec::new(),
                found => found?,
            };
            for object in found {
                rest.delete(target(&object), grace)?;
            }
        }
    }
    for (api_version, kind) in [
        ("coordination.k8s.io/v1", "Lease"),
        ("networking.k8s.io/v1", "IngressClass"),
        ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding"),
        ("rbac.authorization.k8s.io/v1", "ClusterRole"),
        ("v1", "Node"),
        ("v1", "Namespace"),
    ] {
        for object in list(api_version, kind, "")? {
            rest.delete(target(&object), None)?;
            removed += 1;
        }
    }
    let deadline = Instant::now() + PATIENCE * 6;
    while !list("v1", "Namespace", "")?.is_empty() {
        if Instant::now() > deadline {
            bail!("the namespaces with the label {labels} do not go away");
        }
        std::thread::sleep(POLL);
    }
    Ok(removed)
}

fn target(object: &Value) -> ObjectRef<'_> {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    ObjectRef::new(text("/apiVersion"), text("/kind"), text("/metadata/namespace"), text("/metadata/name"))
}

fn is_deleting(object: &Value) -> bool {
    object.pointer("/metadata/deletionTimestamp").is_some()
}

/// For the controllers of a cluster to do their part.
const PATIENCE: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(20);
