//! A node as placement sees it: a Node object and the readiness of its router flow in, whether the node may be published
//! and under which addresses flows out.

use crate::node_id::NodeId;
use crate::object::{Node, NodeAddress, ObjectMeta, Pod};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Every node by name.
pub type NodeStates = BTreeMap<Arc<str>, NodeState>;

/// What placement knows of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeState {
    /// The identifier in per-node aliases.
    pub id: NodeId,
    /// `status.addresses[]`.
    pub addresses: Vec<NodeAddress>,
    /// The node's `Ready` condition.
    pub ready: bool,
    /// An operator withdraws the node (`nearside.dev/drain: "true"`), or excludes it from external traffic
    /// (label `node.kubernetes.io/exclude-from-external-load-balancers`), or declares it dead (the taint
    /// `node.kubernetes.io/out-of-service`), or it is being deleted.
    pub withdrawn: bool,
    /// Whether the node's router is ready; `None` where it has no router.
    pub router: Option<bool>,
    /// Its router is being ended and has not ended: it still answers who comes, and nobody should be sent there.
    pub router_ends: bool,
    /// Its router is called not ready by the node controller alone.
    pub router_lost: bool,
}

impl NodeState {
    pub(crate) fn of(node: &Node, router: Option<RouterState>) -> Self {
        let metadata = &node.metadata;
        Self {
            id: NodeId::of(&metadata.name),
            addresses: node.status.addresses.clone(),
            ready: node.is_ready() && !node.is_out_of_service(),
            withdrawn: node.is_out_of_service()
                || metadata.annotation(DRAIN).is_some_and(|value| value == "true")
                || metadata.labels.contains_key(EXCLUDED)
                || metadata.deletion_timestamp.is_some(),
            router: router.map(|router| router == RouterState::Ready),
            router_ends: router == Some(RouterState::Ending),
            router_lost: router == Some(RouterState::Lost),
        }
    }

    /// Whether clients may be sent to the node: it is Ready, not withdrawn, and its router is ready.
    pub fn is_eligible(&self) -> bool {
        self.ready && !self.withdrawn && self.router == Some(true)
    }

    /// Whether nothing speaks against the node but that the API server does not call it Ready: the node controller then takes
    /// the readiness of its pods back as well, its router's among them, while all of them may serve.
    pub fn is_suspect(&self) -> bool {
        let taken_back = !self.ready || self.router_lost;
        taken_back && !self.withdrawn && self.router.is_some() && !self.router_ends
    }

    /// Whether clients that are sent to the node, as they should not be, are answered.
    pub fn answers(&self) -> bool {
        self.ready && (self.router == Some(true) || self.router_ends)
    }
}

/// What a router pod does, from worst to best.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum RouterState {
    /// It does not answer, or not yet.
    NotReady,
    /// It is called not ready by the node controller alone.
    Lost,
    /// It is being deleted, and serves until DNS has let go of it.
    Ending,
    /// It is ready.
    Ready,
}

impl RouterState {
    pub(crate) fn of(pod: &Pod) -> Self {
        match (pod.is_terminating(), pod.is_ready()) {
            _ if pod.has_ended() => Self::NotReady,
            (false, true) => Self::Ready,
            (false, false) if pod.is_lost() => Self::Lost,
            (false, false) => Self::NotReady,
            // Its readiness is off because it is to end.
            (true, _) => Self::Ending,
        }
    }
}

/// Which pods are routers: all of these labels (`--router-selector`), in one namespace or in any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouterSelector {
    /// Labels that a router pod has.
    pub labels: BTreeMap<String, String>,
    /// The namespace of the router pods; `None` means any. Set where tenants may create pods.
    pub namespace: Option<String>,
}

impl Default for RouterSelector {
    fn default() -> Self {
        let label = ("app.kubernetes.io/name".to_owned(), "nearside-proxy".to_owned());
        Self { labels: [label].into(), namespace: None }
    }
}

impl RouterSelector {
    pub(crate) fn selects(&self, metadata: &ObjectMeta) -> bool {
        !self.labels.is_empty()
            && self.namespace.as_ref().is_none_or(|namespace| *namespace == metadata.namespace)
            && self.labels.iter().all(|(name, value)| metadata.labels.get(name) == Some(value))
    }
}

const DRAIN: &str = "nearside.dev/drain";
const EXCLUDED: &str = "node.kubernetes.io/exclude-from-external-load-balancers";
