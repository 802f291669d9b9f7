//! The part of the index that knows nodes: Node objects and the pods of routers flow in, the nodes as placement sees them
//! flow out. The unit of work is a node.

use crate::endpoints::ServiceKey;
use crate::object::{Kind, Node, ObjectKey, Pod};
use crate::placement::{NodeState, NodeStates, RouterSelector, RouterState};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

#[derive(Debug)]
pub(super) struct NodeIndex {
    selector: RouterSelector,
    nodes: BTreeMap<Arc<str>, Node>,
    /// The router pods of each node; a pod's key has the form of a Service's.
    routers: BTreeMap<Arc<str>, BTreeMap<ServiceKey, RouterState>>,
    /// The node of each router pod.
    node_of: BTreeMap<ServiceKey, Arc<str>>,
    dirty: BTreeSet<Arc<str>>,
}

impl NodeIndex {
    pub(super) fn new(selector: RouterSelector) -> Self {
        let (nodes, routers, node_of) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { selector, nodes, routers, node_of, dirty: BTreeSet::new() }
    }

    /// Gives the node's name if its addresses have changed.
    pub(super) fn put(&mut self, node: Node) -> Option<Arc<str>> {
        let name: Arc<str> = node.metadata.name.as_str().into();
        let moved = self.nodes.get(&name).map(addresses_of) != Some(addresses_of(&node));
        self.dirty.insert(Arc::clone(&name));
        self.nodes.insert(Arc::clone(&name), node);
        moved.then_some(name)
    }

    /// Gives the node's name if it was there.
    pub(super) fn remove(&mut self, key: &ObjectKey) -> Option<Arc<str>> {
        let (name, _) = self.nodes.remove_entry(&key.name as &str)?;
        self.dirty.insert(Arc::clone(&name));
        Some(name)
    }

    pub(super) fn put_pod(&mut self, pod: &Pod) {
        let key = ServiceKey::new(&pod.metadata.namespace, &pod.metadata.name);
        if !self.selector.selects(&pod.metadata) || pod.spec.node_name.is_empty() {
            self.forget_pod(&key);
            return;
        }
        let (node, state) = (pod.spec.node_name.as_str(), RouterState::of(pod));
        if self.node_of.get(&key).is_some_and(|known| **known != *node) {
            self.forget_pod(&key);
        }
        let node: Arc<str> = node.into();
        if self.routers.entry(Arc::clone(&node)).or_default().insert(key.clone(), state) != Some(state) {
            self.dirty.insert(Arc::clone(&node));
        }
        self.node_of.insert(key, node);
    }

    pub(super) fn remove_pod(&mut self, key: &ObjectKey) {
        self.forget_pod(&ServiceKey::new(&key.namespace, &key.name));
    }

    pub(super) fn keys(&self) -> Vec<ObjectKey> {
        self.nodes.keys().map(|name| ObjectKey::new(Kind::Node, "", name)).collect()
    }

    /// The addresses of a node; none where it is not known.
    pub(super) fn addresses(&self, node: &str) -> Vec<IpAddr> {
        self.nodes.get(node).map(addresses_of).unwrap_or_default()
    }

    /// The new states, if any changed.
    pub(super) fn publish(&mut self, states: &NodeStates) -> Option<Arc<NodeStates>> {
        let mut next: Option<NodeStates> = None;
        for name in std::mem::take(&mut self.dirty) {
            let state = self.nodes.get(&name).map(|node| NodeState::of(node, self.router(&name)));
            if states.get(&name) == state.as_ref() {
                continue;
            }
            let next = next.get_or_insert_with(|| states.clone());
            match state {
                Some(state) => drop(next.insert(name, state)),
                None => drop(next.remove(&name)),
            }
        }
        next.map(Arc::new)
    }

    /// The best router of a node; `None` where it has none.
    fn router(&self, node: &str) -> Option<RouterState> {
        self.routers.get(node).and_then(|pods| pods.values().max().copied())
    }

    fn forget_pod(&mut self, key: &ServiceKey) {
        let Some(node) = self.node_of.remove(key) else { return };
        if let Some(pods) = self.routers.get_mut(&node) {
            pods.remove(key);
            if pods.is_empty() {
                self.routers.remove(&node);
            }
        }
        self.dirty.insert(node);
    }
}

fn addresses_of(node: &Node) -> Vec<IpAddr> {
    node.status.addresses.iter().filter_map(|entry| entry.address.parse().ok()).collect()
}
