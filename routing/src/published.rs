//! What DNS says of a host: DNSEndpoint objects flow in, the aliases of the nodes that can serve each host flow out.
//! The proxy redirects by it.

use crate::hostname::{HostPattern, Hostname};
use crate::node_id::NodeId;
use crate::object::{DnsEndpoint, DnsEndpointSpec};
use crate::placement::Basis;
use crate::shared_map::SharedMap;

/// The nodes that are published for each host.
pub type PublishedHosts = SharedMap<Hostname, [PublishedAlias]>;

/// One node that can serve a host.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PublishedAlias {
    /// The node.
    pub node: NodeId,
    /// The name under which the host is reached on that node.
    pub alias: Hostname,
}

/// The hosts and aliases of one DNSEndpoint. Only names that are an alias of a host of the same object count, so that no
/// object can send clients to a foreign name. A host that no pod can answer has none: its records name every router, and
/// to send a client from one to another would not help it.
pub fn published(endpoint: &DnsEndpoint) -> Vec<(Hostname, PublishedAlias)> {
    let managed = endpoint.metadata.labels.get(MANAGED_LABEL).is_some_and(|value| value == MANAGED_VALUE);
    let basis = endpoint.metadata.annotation(BASIS_ANNOTATION);
    if !managed || basis == Some(Basis::NoReadyPods.as_str()) {
        return Vec::new();
    }
    let sets = || endpoint.spec.endpoints.iter().filter(|set| matches!(set.record_type.as_str(), "A" | "AAAA"));
    let mut found = Vec::new();
    for set in sets().filter(|set| !set.targets.is_empty()) {
        let Ok(alias) = Hostname::parse(&set.dns_name) else {
            continue;
        };
        let Some((host, node)) = NodeId::split_alias(alias.as_str()) else {
            continue;
        };
        if sets().any(|other| other.dns_name.eq_ignore_ascii_case(&host))
            && let Ok(host) = Hostname::parse(&host)
        {
            found.push((host, PublishedAlias { node, alias }));
        }
    }
    found.sort_unstable();
    found.dedup();
    found
}

/// What stands in the DNSEndpoints of the hosts, and what publishers have told of it.
#[derive(Clone, Debug, Default)]
pub struct DnsPublication {
    /// Whether anybody asks; where nobody does, nothing else is known.
    pub is_followed: bool,
    /// By host.
    pub hosts: SharedMap<HostPattern, DnsRecords>,
    /// Whether any publisher has ever told what it has taken.
    pub reports: bool,
}

/// The records of a host as they stand in its DNSEndpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsRecords {
    /// `spec`.
    pub spec: DnsEndpointSpec,
    /// `metadata.generation`.
    pub generation: i64,
    /// `status.observedGeneration`; 0 for none.
    pub observed: i64,
}

impl DnsRecords {
    /// Whether a publisher has taken what stands there.
    pub fn is_observed(&self) -> bool {
        self.generation > 0 && self.observed >= self.generation
    }
}

/// The annotation of a DNSEndpoint that names its host.
pub const HOST_ANNOTATION: &str = "nearside.dev/host";
/// The label that marks the DNSEndpoint objects of Nearside.
pub const MANAGED_LABEL: &str = "nearside.dev/dns";
/// The annotation that says why the nodes of a host were chosen ([`Basis::as_str`]).
pub const BASIS_ANNOTATION: &str = "nearside.dev/basis";
/// The value of [`MANAGED_LABEL`].
pub const MANAGED_VALUE: &str = "managed";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::{ObjectMeta, RecordSet};

    fn set(name: &str, targets: &[&str]) -> RecordSet {
        RecordSet {
            dns_name: name.into(),
            record_type: "A".into(),
            targets: targets.iter().map(|t| (*t).to_owned()).collect(),
            record_ttl: Some(30),
        }
    }

    #[test]
    fn only_aliases_of_hosts_of_the_same_object_count() {
        let id = NodeId::of("n1");
        let alias = format!("video--{id}.example.com");
        let mut endpoint = DnsEndpoint {
            metadata: ObjectMeta {
                labels: [(MANAGED_LABEL.to_owned(), MANAGED_VALUE.to_owned())].into(),
                ..ObjectMeta::default()
            },
            spec: DnsEndpointSpec {
                endpoints: vec![
                    set("video.example.com", &["198.18.0.1"]),
                    set(&alias, &["198.18.0.1"]),
                    set(&format!("bank--{id}.example.com"), &["198.18.0.1"]),
                ],
            },
            ..DnsEndpoint::default()
        };
        let found = published(&endpoint);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].1.alias.as_str(), alias);
        endpoint.metadata.annotations.insert(BASIS_ANNOTATION.to_owned(), "NoReadyPods".to_owned());
        assert!(published(&endpoint).is_empty(), "every router is published, and none of them has a pod");
        endpoint.metadata.annotations.clear();
        endpoint.metadata.labels.clear();
        assert!(published(&endpoint).is_empty(), "not an object of ours");
    }
}
