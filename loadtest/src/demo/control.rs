//! The demo's Kubernetes API: the fake API server in the control place and on a port of the host, and the kubeconfigs for both.
//! Called by `stage`.

use crate::api::{ApiServer, ObjectRef, Options};
use crate::lab::Place;
use crate::lab::cluster::ObjectStore;
use anyhow::{Context as _, Result};
use serde_json::Value;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The running API server.
pub(crate) struct ControlPlane {
    api: ApiServer,
    person: PathBuf,
    inside: PathBuf,
}

impl ControlPlane {
    pub(crate) async fn start(place: &Place, port: u16, directory: &Path) -> Result<Self> {
        let inside = SocketAddr::new(place.address(), port);
        let person = Place::host().tcp_listener(SocketAddr::from(([127, 0, 0, 1], 0)))?;
        let person_address = person.local_addr()?;
        let listeners = vec![place.tcp_listener(inside)?, person];
        let options = Options { graceful_pod_deletion: true, ..Options::default() };
        let api = ApiServer::start_on(listeners, options).await.context("cannot start the API server")?;
        let write = |name: &str, address: SocketAddr| {
            let path = directory.join(name);
            let written = fs::write(&path, api.kubeconfig_yaml_for(address));
            written.with_context(|| format!("cannot write {}", path.display())).map(|()| path)
        };
        let (person, inside) = (write("kubeconfig.yaml", person_address)?, write("kubeconfig-inside.yaml", inside)?);
        Ok(Self { api, person, inside })
    }

    /// Where the lab's controllers write.
    pub(crate) fn store(&self) -> Arc<dyn ObjectStore> {
        Arc::new(self.api.clone())
    }

    /// For a person on this machine.
    pub(crate) fn kubeconfig(&self) -> &Path {
        &self.person
    }

    /// For the programs of the cluster.
    pub(crate) fn kubeconfig_inside(&self) -> &Path {
        &self.inside
    }

    /// Namespace and name of the pods that are marked for deletion.
    pub(crate) fn deleted_pods(&self) -> Vec<(String, String)> {
        let pods = self.api.list("v1", "Pod", "").into_iter();
        let marked = pods.filter(|pod| pod.pointer("/metadata/deletionTimestamp").is_some());
        let text = |pod: &Value, key: &str| pod["metadata"][key].as_str().unwrap_or_default().to_owned();
        marked.map(|pod| (text(&pod, "namespace"), text(&pod, "name"))).collect()
    }

    /// Sets an annotation of a node, as `kubectl annotate` does; `None` removes it.
    pub(crate) fn annotate_node(&self, node: &str, key: &str, value: Option<&str>) -> Result<()> {
        let patch = serde_json::json!({"metadata": {"annotations": {key: value}}});
        self.api.patch(ObjectRef::new("v1", "Node", "", node), patch).map(drop).with_context(|| format!("node {node}"))
    }

    /// An object as it is now.
    pub(crate) fn get(&self, api_version: &str, kind: &str, namespace: &str, name: &str) -> Option<Value> {
        self.api.get(ObjectRef::new(api_version, kind, namespace, name))
    }
}
