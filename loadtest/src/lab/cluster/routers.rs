//! The pods that stand for the routers, on the node's own addresses, Ready as long as the real proxy says so on its admin port or
//! socket: one a node, and two while one takes over from another. The proxies themselves are processes of `programs`. Called by the demo and by tests with real proxies.

use super::{Cluster, PodSpec};
use crate::programs;
use anyhow::Result;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// The namespace of the routers' pods.
pub const ROUTER_NAMESPACE: &str = "nearside-system";
/// The label by which the controller finds them.
pub const ROUTER_LABEL: (&str, &str) = ("app.kubernetes.io/name", "nearside-proxy");

/// Where a kubelet asks a router whether it is ready.
#[derive(Clone, Debug)]
pub enum Probe {
    /// At the admin port.
    Port(SocketAddr),
    /// At the admin socket, which no other proxy of the node answers at.
    Socket(PathBuf),
}

impl Cluster {
    /// Adds the router pod of `node` and from now on sets its readiness to what the proxy's `/healthz/ready` at `admin` says, until
    /// the returned task is aborted or the node falls silent.
    ///
    /// # Errors
    /// When there is no such node.
    pub fn follow_router(self: &Arc<Self>, node: &str, admin: SocketAddr) -> Result<JoinHandle<()>> {
        self.follow_router_pod(node, &format!("nearside-proxy-{node}"), Probe::Port(admin))
    }

    /// The same for a router pod of this name: while one proxy takes over from another, a node has two.
    ///
    /// # Errors
    /// When there is no such node, or the name is taken.
    pub fn follow_router_pod(self: &Arc<Self>, node: &str, name: &str, probe: Probe) -> Result<JoinHandle<()>> {
        let labels = [(ROUTER_LABEL.0.to_owned(), ROUTER_LABEL.1.to_owned())].into();
        self.add_host_pod(PodSpec {
            namespace: ROUTER_NAMESPACE.into(),
            name: name.into(),
            node: node.into(),
            labels,
            ports: Vec::new(),
        })?;
        let place = self.node(node)?.place().clone();
        let (cluster, node, name) = (self.clone(), node.to_owned(), name.to_owned());
        Ok(tokio::spawn(async move {
            loop {
                let answer = async {
                    match &probe {
                        Probe::Port(admin) => programs::get(&place, *admin, READY).await,
                        Probe::Socket(path) => programs::get_at_socket(path, READY).await,
                    }
                };
                let ready = matches!(timeout(PATIENCE, answer).await, Ok(Ok((200, _))));
                // A kubelet that is cut off reports nothing; its pods' state is the node controller's word then.
                if cluster.is_node_ready(&node) && cluster.set_ready(ROUTER_NAMESPACE, &name, ready).is_err() {
                    return;
                }
                tokio::time::sleep(PERIOD).await;
            }
        }))
    }

    /// Marks a router pod as being deleted, as a DaemonSet does before its kubelet sends SIGTERM. [`Cluster::kill_pod`] removes it.
    ///
    /// # Errors
    /// When there is no such pod.
    pub fn delete_router_pod(&self, name: &str) -> Result<()> {
        self.change(&(ROUTER_NAMESPACE.to_owned(), name.to_owned()), |pod| pod.deleted = Some(super::now()))
    }
}

const READY: &str = "/healthz/ready";
/// A kubelet probes every ten seconds by default; the lab is not that patient.
const PERIOD: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_secs(1);
