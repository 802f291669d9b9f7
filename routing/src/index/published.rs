//! The part of the index that knows what DNS says: DNSEndpoints flow in, the published nodes of each host flow out. The
//! unit of work is a host.

use crate::hostname::HostPattern;
use crate::object::{DnsEndpoint, Kind, ObjectKey};
use crate::published::{PublishedHosts, PublishedNode, published};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug, Default)]
pub(super) struct PublishedIndex {
    objects: BTreeMap<ObjectKey, Vec<(HostPattern, PublishedNode)>>,
    /// The objects that name aliases of a host.
    speakers: BTreeMap<HostPattern, BTreeSet<ObjectKey>>,
    dirty: BTreeSet<HostPattern>,
}

impl PublishedIndex {
    pub(super) fn put(&mut self, endpoint: &DnsEndpoint) {
        let key = endpoint.metadata.key(Kind::DnsEndpoint);
        let nodes = published(endpoint);
        if self.objects.get(&key) == Some(&nodes) {
            return;
        }
        self.remove(&key);
        for (host, _) in &nodes {
            self.speakers.entry(host.clone()).or_default().insert(key.clone());
            self.dirty.insert(host.clone());
        }
        self.objects.insert(key, nodes);
    }

    pub(super) fn remove(&mut self, key: &ObjectKey) {
        for (host, _) in self.objects.remove(key).unwrap_or_default() {
            if let Some(speakers) = self.speakers.get_mut(&host) {
                speakers.remove(key);
                if speakers.is_empty() {
                    self.speakers.remove(&host);
                }
            }
            self.dirty.insert(host);
        }
    }

    pub(super) fn keys(&self) -> Vec<ObjectKey> {
        self.objects.keys().cloned().collect()
    }

    /// The new hosts, if any changed.
    pub(super) fn publish(&mut self, hosts: &PublishedHosts) -> Option<PublishedHosts> {
        let mut next: Option<PublishedHosts> = None;
        for host in std::mem::take(&mut self.dirty) {
            let speakers = self.speakers.get(&host).into_iter().flatten();
            let all = speakers.filter_map(|key| self.objects.get(key)).flatten();
            // Where several objects speak of a node, one of them is enough to know it.
            let mut by_node = BTreeMap::new();
            for (_, node) in all.filter(|(of, _)| *of == host) {
                let known = by_node.entry(node.node).or_insert(node);
                *known = (*known).max(node);
            }
            if hosts.of(&host).iter().eq(by_node.values().copied()) {
                continue;
            }
            let nodes = by_node.into_values().cloned().collect();
            next.get_or_insert_with(|| hosts.clone()).set(&host, nodes);
        }
        next
    }
}
