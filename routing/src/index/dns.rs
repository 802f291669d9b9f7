//! The part of the index that knows what stands in DNSEndpoints and what publishers have taken of it, for whoever writes
//! them: objects flow in, the records of each host flow out.

use crate::hostname::HostPattern;
use crate::object::{DnsEndpoint, Kind, ObjectKey};
use crate::placement::dns_endpoint_name;
use crate::published::{DnsPublication, DnsRecords, HOST_ANNOTATION};
use std::collections::BTreeMap;
use std::sync::Arc;

#[derive(Debug, Default)]
pub(super) struct DnsIndex {
    follows: bool,
    hosts: BTreeMap<ObjectKey, HostPattern>,
    /// How many objects a publisher has ever told of.
    reported: usize,
    publication: DnsPublication,
    changed: bool,
}

impl DnsIndex {
    /// Where nobody follows, nothing is kept.
    pub(super) fn new(follows: bool) -> Self {
        let publication = DnsPublication { is_followed: follows, ..DnsPublication::default() };
        // That it is followed is told with the first snapshot.
        Self { follows, publication, changed: follows, ..Self::default() }
    }

    pub(super) fn put(&mut self, endpoint: &DnsEndpoint) {
        if !self.follows {
            return;
        }
        let metadata = &endpoint.metadata;
        let key = metadata.key(Kind::DnsEndpoint);
        let pattern = metadata.annotation(HOST_ANNOTATION).and_then(|host| HostPattern::parse(host).ok());
        // An object under another name was not written for this host.
        let pattern = pattern.filter(|pattern| metadata.name.starts_with(&*dns_endpoint_name(pattern)));
        let Some(pattern) = pattern else {
            self.remove(&key);
            return;
        };
        if self.hosts.get(&key).is_some_and(|known| *known != pattern) {
            self.remove(&key);
        }
        let records = DnsRecords::of(endpoint);
        let known = self.publication.hosts.get(&pattern);
        if known.is_some_and(|known| **known == records) {
            return;
        }
        let reported = |records: Option<&DnsRecords>| usize::from(records.is_some_and(|records| records.observed > 0));
        self.reported += reported(Some(&records));
        self.reported -= reported(known.map(AsRef::as_ref));
        self.hosts.insert(key, pattern.clone());
        self.publication.hosts.insert(pattern, Arc::new(records));
        self.changed = true;
    }

    pub(super) fn remove(&mut self, key: &ObjectKey) {
        let Some(pattern) = self.hosts.remove(key) else { return };
        if let Some(records) = self.publication.hosts.remove(&pattern) {
            self.reported -= usize::from(records.observed > 0);
        }
        self.changed = true;
    }

    /// What stands there now, if it differs from the last call.
    pub(super) fn publish(&mut self) -> Option<DnsPublication> {
        self.publication.reports = self.reported > 0;
        std::mem::take(&mut self.changed).then(|| self.publication.clone())
    }
}
