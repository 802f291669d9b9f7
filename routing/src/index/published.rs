//! The part of the index that knows what DNS says: DNSEndpoints flow in, the published aliases of each host flow out. The
//! unit of work is a host.

use crate::hostname::Hostname;
use crate::object::{DnsEndpoint, Kind, ObjectKey};
use crate::published::{PublishedAlias, PublishedHosts, published};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug, Default)]
pub(super) struct PublishedIndex {
    objects: BTreeMap<ObjectKey, Vec<(Hostname, PublishedAlias)>>,
    /// The objects that name aliases of a host.
    speakers: BTreeMap<Hostname, BTreeSet<ObjectKey>>,
    dirty: BTreeSet<Hostname>,
}

impl PublishedIndex {
    pub(super) fn put(&mut self, endpoint: &DnsEndpoint) {
        let key = endpoint.metadata.key(Kind::DnsEndpoint);
        let aliases = published(endpoint);
        if self.objects.get(&key) == Some(&aliases) {
            return;
        }
        self.remove(&key);
        for (host, _) in &aliases {
            self.speakers.entry(host.clone()).or_default().insert(key.clone());
            self.dirty.insert(host.clone());
        }
        self.objects.insert(key, aliases);
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
            let aliases: BTreeSet<&PublishedAlias> =
                all.filter(|(of, _)| *of == host).map(|(_, alias)| alias).collect();
            if hosts.get(&host).map(|known| known.iter().collect())
                == Some(aliases.clone()).filter(|all| !all.is_empty())
            {
                continue;
            }
            let aliases = (!aliases.is_empty()).then(|| aliases.into_iter().cloned().collect());
            next.get_or_insert_with(|| hosts.clone()).set(host, aliases);
        }
        next
    }
}
