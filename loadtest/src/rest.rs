//! A client of any Kubernetes API, for the lab and for tests: a kubeconfig goes in; objects go in and come out over HTTP as `kubectl`
//! would send them. Calls block until they are answered, so that they can be made anywhere, also while a test ends by a panic.

mod connection;
mod kubeconfig;

pub(crate) use connection::Upstream;
pub use kubeconfig::{Credentials, Kubeconfig};

use crate::api::ObjectRef;
use anyhow::{Context as _, Result, anyhow};
use connection::Connections;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// A client of one server. Clones share its connections.
#[derive(Clone, Debug)]
pub struct Rest {
    connections: Arc<Connections>,
    kinds: Arc<Mutex<Kinds>>,
}

/// Plurals by `apiVersion` and kind, and whether the kind has namespaces.
type Kinds = BTreeMap<(String, String), (String, bool)>;

/// What a server says no with.
#[derive(Debug, thiserror::Error)]
#[error("{method} {path}: {code} {reason}: {message}")]
pub struct Refusal {
    /// Of the request.
    pub method: String,
    /// Of the request.
    pub path: String,
    /// HTTP status.
    pub code: u16,
    /// `Status.reason`.
    pub reason: String,
    /// `Status.message`, or the whole body when it is no Status.
    pub message: String,
}

impl Rest {
    /// A client for the current context of a kubeconfig.
    ///
    /// # Errors
    /// When its certificates cannot be read.
    pub fn new(kubeconfig: &Kubeconfig) -> Result<Self> {
        Ok(Self { connections: Arc::new(Connections::new(kubeconfig)?), kinds: Arc::default() })
    }

    /// Sends one request with a JSON body (or none) and reads the whole JSON answer.
    ///
    /// # Errors
    /// [`Refusal`] when the server says no; otherwise when there is no answer.
    pub fn request(&self, method: &str, path: &str, media_type: &str, body: Option<&Value>) -> Result<Value> {
        let told = || format!("{method} {path}");
        let body = body.map(Value::to_string).unwrap_or_default();
        let (code, bytes) = self.connections.send(method, path, media_type, body).with_context(told)?;
        let answer: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        if (200..300).contains(&code) {
            return Ok(answer);
        }
        let text = |field: &str| answer[field].as_str().map(str::to_owned);
        Err(anyhow!(Refusal {
            method: method.to_owned(),
            path: path.to_owned(),
            code,
            reason: text("reason").unwrap_or_default(),
            message: text("message").unwrap_or_else(|| String::from_utf8_lossy(&bytes).into_owned()),
        }))
    }

    /// Reads an object; `None` when it or its kind does not exist.
    ///
    /// # Errors
    /// When there is no answer, or another refusal.
    pub fn get(&self, object: ObjectRef<'_>) -> Result<Option<Value>> {
        match self.path(object).and_then(|path| self.request("GET", &path, "", None)) {
            Ok(object) => Ok(Some(object)),
            Err(error) if code(&error) == Some(404) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// All objects of a kind, in one namespace or (`""`) all, with these labels (`""` for any).
    ///
    /// # Errors
    /// When there is no answer, or a refusal.
    pub fn list(&self, api_version: &str, kind: &str, namespace: &str, labels: &str) -> Result<Vec<Value>> {
        let mut path = self.path(ObjectRef::new(api_version, kind, namespace, ""))?;
        if !labels.is_empty() {
            path = format!("{path}?labelSelector={}", labels.replace('=', "%3D").replace(',', "%2C"));
        }
        let mut list = self.request("GET", &path, "", None)?;
        let mut items = list["items"].as_array_mut().map(std::mem::take).unwrap_or_default();
        // Items of a list do not say what they are.
        for item in &mut items {
            item["apiVersion"] = json!(api_version);
            item["kind"] = json!(kind);
        }
        Ok(items)
    }

    /// Creates an object.
    ///
    /// # Errors
    /// When there is no answer, or a refusal.
    pub fn create(&self, object: &Value) -> Result<Value> {
        let path = self.path(ObjectRef { name: "", ..reference(object) })?;
        self.request("POST", &path, JSON, Some(object))
    }

    /// Forced server-side apply of everything but the status.
    ///
    /// # Errors
    /// When there is no answer, or a refusal.
    pub fn apply(&self, object: &Value) -> Result<Value> {
        let path = format!("{}?fieldManager={MANAGER}&force=true", self.path(reference(object))?);
        self.request("PATCH", &path, "application/apply-patch+yaml", Some(object))
    }

    /// Merge patch (RFC 7386) of everything but the status.
    ///
    /// # Errors
    /// When there is no answer, or a refusal.
    pub fn patch(&self, object: ObjectRef<'_>, patch: &Value) -> Result<Value> {
        let path = format!("{}?fieldManager={MANAGER}", self.path(object)?);
        self.request("PATCH", &path, MERGE, Some(patch))
    }

    /// Merge patch of the status: `status` is the patch for the field of that name.
    ///
    /// # Errors
    /// When there is no answer, or a refusal.
    pub fn patch_status(&self, object: ObjectRef<'_>, status: &Value) -> Result<Value> {
        let path = format!("{}/status?fieldManager={MANAGER}", self.path(object)?);
        self.request("PATCH", &path, MERGE, Some(&json!({ "status": status })))
    }

    /// Deletes an object with a grace period in seconds, or with the kind's own; one that is gone is no error.
    ///
    /// # Errors
    /// When there is no answer, or a refusal.
    pub fn delete(&self, object: ObjectRef<'_>, grace: Option<u64>) -> Result<()> {
        let options = json!({
            "apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": grace, "propagationPolicy": "Background",
        });
        match self.path(object).and_then(|path| self.request("DELETE", &path, JSON, Some(&options))) {
            Err(error) if code(&error) != Some(404) => Err(error),
            _ => Ok(()),
        }
    }

    /// A token of a ServiceAccount, by a TokenRequest.
    ///
    /// # Errors
    /// When there is no answer, or a refusal.
    pub fn token(&self, namespace: &str, account: &str, lifetime: Duration) -> Result<String> {
        let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token");
        let request = json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
            "spec": {"expirationSeconds": lifetime.as_secs()},
        });
        let answer = self.request("POST", &path, JSON, Some(&request))?;
        answer["status"]["token"].as_str().map(str::to_owned).context("the TokenRequest was answered without a token")
    }

    /// The path of an object, or of its collection when it has no name.
    fn path(&self, object: ObjectRef<'_>) -> Result<String> {
        let (plural, namespaced) = self.resource(object.api_version, object.kind)?;
        let mut path = root(object.api_version);
        if namespaced && !object.namespace.is_empty() {
            path = format!("{path}/namespaces/{}", object.namespace);
        }
        path = format!("{path}/{plural}");
        Ok(if object.name.is_empty() { path } else { format!("{path}/{}", object.name) })
    }

    /// The plural of a kind, as discovery has it.
    fn resource(&self, api_version: &str, kind: &str) -> Result<(String, bool)> {
        let wanted = (api_version.to_owned(), kind.to_owned());
        if let Some(known) = self.kinds.lock().unwrap_or_else(PoisonError::into_inner).get(&wanted) {
            return Ok(known.clone());
        }
        let document = self.request("GET", &root(api_version), "", None)?;
        let mut kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        for resource in document["resources"].as_array().into_iter().flatten() {
            let text = |field: &str| resource[field].as_str().unwrap_or_default().to_owned();
            if !text("name").contains('/') {
                let found = (text("name"), resource["namespaced"] == true);
                kinds.insert((api_version.to_owned(), text("kind")), found);
            }
        }
        kinds.get(&wanted).cloned().ok_or_else(|| {
            anyhow!(Refusal {
                method: "GET".to_owned(),
                path: root(api_version),
                code: 404,
                reason: "NotFound".to_owned(),
                message: format!("the server has no kind {kind} in {api_version}"),
            })
        })
    }
}

/// The status code of a refusal.
#[must_use]
pub fn code(error: &anyhow::Error) -> Option<u16> {
    error.downcast_ref::<Refusal>().map(|refusal| refusal.code)
}

fn root(api_version: &str) -> String {
    if api_version.contains('/') { format!("/apis/{api_version}") } else { format!("/api/{api_version}") }
}

fn reference(object: &Value) -> ObjectRef<'_> {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    ObjectRef::new(text("/apiVersion"), text("/kind"), text("/metadata/namespace"), text("/metadata/name"))
}

const JSON: &str = "application/json";
const MERGE: &str = "application/merge-patch+json";
/// `fieldManager` of what the lab writes.
const MANAGER: &str = "nearside-lab";
