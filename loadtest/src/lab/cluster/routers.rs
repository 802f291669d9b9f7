//! The pods that stand for the routers: one a node, on the node's own addresses, Ready as long as the real proxy says so on its
//! admin port. The proxies themselves are processes of `programs`. Called by the demo and by tests with real proxies.

use super::{Cluster, PodSpec};
use crate::programs;
use anyhow::Result;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// The namespace of the routers' pods.
pub const ROUTER_NAMESPACE: &str = "nearside-system";
/// The label by which the controller finds them.
pub const ROUTER_LABEL: (&str, &str) = ("app.kubernetes.io/name", "nearside-proxy");

impl Cluster {
    /// Adds the router pod of `node` and from now on sets its readiness to what the proxy's `/healthz/ready` at `admin` says, until
    /// the returned task is aborted or the node falls silent.
    ///
    /// # Errors
    /// When there is no such node.
    pub fn follow_router(self: &Arc<Self>, node: &str, admin: SocketAddr) -> Result<JoinHandle<()>> {
        let name = format!("nearside-proxy-{node}");
        let labels = [(ROUTER_LABEL.0.to_owned(), ROUTER_LABEL.1.to_owned())].into();
        self.add_host_pod(PodSpec {
            namespace: ROUTER_NAMESPACE.into(),
            name: name.clone(),
            node: node.into(),
            labels,
            ports: Vec::new(),
        })?;
        let place = self.node(node)?.place().clone();
        let (cluster, node) = (self.clone(), node.to_owned());
        Ok(tokio::spawn(async move {
            loop {
                let answer = timeout(PATIENCE, programs::get(&place, admin, "/healthz/ready")).await;
                let ready = matches!(answer, Ok(Ok((200, _))));
                // A kubelet that is cut off reports nothing; its pods' state is the node controller's word then.
                if cluster.is_node_ready(&node) && cluster.set_ready(ROUTER_NAMESPACE, &name, ready).is_err() {
                    return;
                }
                tokio::time::sleep(PERIOD).await;
            }
        }))
    }
}

/// A kubelet probes every ten seconds by default; the lab is not that patient.
const PERIOD: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_secs(1);
