//! What DNS says of a host: DNSEndpoint objects flow in, the nodes that can serve each host flow out, with their addresses
//! and the aliases under which they are reached. The proxy sends clients elsewhere by it.

use crate::hostname::{HostPattern, Hostname, split_first_label};
use crate::node_id::NodeId;
use crate::object::{DnsEndpoint, DnsEndpointSpec, DnsEndpointStatus, PublicationCondition};
use crate::placement::Basis;
use crate::shared_map::SharedMap;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

/// The nodes that are published for each host under an alias of their own. Looking a host up costs the same however many
/// there are; names of aliases are made for whoever asks.
#[derive(Clone, Debug, Default)]
pub struct PublishedHosts {
    exact: SharedMap<Hostname, [PublishedNode]>,
    /// By the domain below which the hosts are.
    wildcard: SharedMap<Hostname, [PublishedNode]>,
}

/// One node that can serve a host and has an alias for it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PublishedNode {
    /// The node.
    pub node: NodeId,
    /// The addresses of the alias, sorted; never none.
    pub addresses: Arc<[IpAddr]>,
    /// Whether its alias is in DNS for sure: a publisher has taken the object as it stands, or had taken the node before the object
    /// changed.
    pub is_observed: bool,
}

/// One node that can serve a host, and how to reach it there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PublishedAlias {
    /// The node.
    pub node: NodeId,
    /// The name under which the host is reached on that node.
    pub alias: Hostname,
    /// See [`PublishedNode::addresses`].
    pub addresses: Arc<[IpAddr]>,
    /// See [`PublishedNode::is_observed`].
    pub is_observed: bool,
}

impl PublishedHosts {
    /// The nodes of a canonical host, sorted: those that are published for the very name, else those of the wildcard that
    /// covers it, as DNS would answer. Nothing is allocated.
    pub fn nodes(&self, host: &str) -> &[PublishedNode] {
        let of_wildcard = || self.wildcard.get(split_first_label(host).1?);
        self.exact.get(host).or_else(of_wildcard).map_or(&[], |nodes| nodes)
    }

    /// The same with the name under which the host is reached on each of them.
    pub fn aliases(&self, host: &str) -> Vec<PublishedAlias> {
        let nodes = self.nodes(host);
        if nodes.is_empty() {
            return Vec::new();
        }
        let Ok(host) = Hostname::parse(host) else { return Vec::new() };
        nodes.iter().filter_map(|published| published.alias(&host)).collect()
    }

    /// The nodes that are published for a host or a wildcard itself.
    pub fn of(&self, pattern: &HostPattern) -> &[PublishedNode] {
        let nodes = match pattern {
            HostPattern::Exact(host) => self.exact.get(host),
            HostPattern::Wildcard(domain) => self.wildcard.get(domain),
            HostPattern::Any => None,
        };
        nodes.map_or(&[], |nodes| nodes)
    }

    /// The nodes of every host.
    pub fn all(&self) -> impl Iterator<Item = &PublishedNode> {
        self.exact.values().chain(self.wildcard.values()).flat_map(|nodes| nodes.iter())
    }

    /// Every host with its nodes, in an order that means nothing.
    pub fn iter(&self) -> impl Iterator<Item = (HostPattern, &[PublishedNode])> {
        let exact = self.exact.iter().map(|(host, nodes)| (HostPattern::Exact(host.clone()), &**nodes));
        exact.chain(self.wildcard.iter().map(|(domain, nodes)| (HostPattern::Wildcard(domain.clone()), &**nodes)))
    }

    /// Whether the two are copies of one value that nothing was done to.
    pub fn is_same(&self, other: &Self) -> bool {
        self.exact.is_same(&other.exact) && self.wildcard.is_same(&other.wildcard)
    }

    /// Puts the nodes of a host in, or takes the host out where there are none.
    pub(crate) fn set(&mut self, pattern: &HostPattern, nodes: Vec<PublishedNode>) {
        let nodes = (!nodes.is_empty()).then(|| nodes.into());
        match pattern {
            HostPattern::Exact(host) => self.exact.set(host.clone(), nodes),
            HostPattern::Wildcard(domain) => self.wildcard.set(domain.clone(), nodes),
            HostPattern::Any => {}
        }
    }
}

impl PublishedNode {
    /// With the name under which a host is reached there; `None` where that would be too long.
    pub fn alias(&self, host: &Hostname) -> Option<PublishedAlias> {
        let alias = self.node.alias(host)?;
        let (node, addresses) = (self.node, Arc::clone(&self.addresses));
        Some(PublishedAlias { node, alias, addresses, is_observed: self.is_observed })
    }
}

/// The hosts and nodes of one DNSEndpoint, sorted. Only names that are an alias of a host of the same object count, so that no
/// object can send clients to a foreign name. A host that no pod can answer has none: its records name every router, and
/// to send a client from one to another would not help it.
pub fn published(endpoint: &DnsEndpoint) -> Vec<(HostPattern, PublishedNode)> {
    let metadata = &endpoint.metadata;
    let managed = metadata.labels.get(MANAGED_LABEL).is_some_and(|value| value == MANAGED_VALUE);
    let basis = metadata.annotation(BASIS_ANNOTATION);
    if !managed || basis == Some(Basis::NoReadyPods.as_str()) {
        return Vec::new();
    }
    let is_taken = metadata.generation > 0 && endpoint.status.observed_generation >= metadata.generation;
    let unseen = metadata.annotation(UNSEEN_ANNOTATION);
    let was_taken = |node: NodeId| unseen.is_some_and(|unseen| unseen.split(',').all(|id| id != node.as_str()));
    let sets = || endpoint.spec.endpoints.iter().filter(|set| matches!(set.record_type.as_str(), "A" | "AAAA"));
    let mut found: BTreeMap<(HostPattern, NodeId), Vec<IpAddr>> = BTreeMap::new();
    for set in sets() {
        let name = set.dns_name.to_ascii_lowercase();
        let Some((host, node)) = NodeId::split_alias(&name) else { continue };
        if sets().any(|other| other.dns_name.eq_ignore_ascii_case(&host))
            && let Ok(host @ (HostPattern::Exact(_) | HostPattern::Wildcard(_))) = HostPattern::parse(&host)
        {
            let addresses = set.targets.iter().filter_map(|target| target.parse::<IpAddr>().ok());
            found.entry((host, node)).or_default().extend(addresses);
        }
    }
    let nodes = found.into_iter().filter(|(_, addresses)| !addresses.is_empty());
    let nodes = nodes.map(|((host, node), mut addresses)| {
        addresses.sort_unstable();
        addresses.dedup();
        let is_observed = is_taken || was_taken(node);
        (host, PublishedNode { node, addresses: addresses.into(), is_observed })
    });
    nodes.collect()
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
    /// `status.conditions[]`.
    pub conditions: Vec<PublicationCondition>,
}

impl DnsRecords {
    /// Of this object.
    pub fn of(endpoint: &DnsEndpoint) -> Self {
        Self {
            spec: endpoint.spec.clone(),
            generation: endpoint.metadata.generation,
            observed: endpoint.status.observed_generation,
            conditions: endpoint.status.conditions.clone(),
        }
    }

    /// Whether a publisher has taken what stands there; of Nearside's own: whether every name server answers with it.
    pub fn is_observed(&self) -> bool {
        self.generation > 0 && self.observed >= self.generation
    }

    /// What keeps them from being found, where a publisher tells it: the first condition that does not hold for what stands
    /// there. Its reason is one word.
    pub fn trouble(&self) -> Option<&PublicationCondition> {
        if self.is_observed() {
            return None;
        }
        let of = |kind: &&str| self.conditions.iter().find(|condition| condition.kind == **kind);
        let is_current = |condition: &&PublicationCondition| {
            condition.status == "False"
                && condition.observed_generation >= self.generation
                && (1..=MAX_REASON).contains(&condition.reason.len())
                && condition.reason.bytes().all(|byte| byte.is_ascii_alphanumeric())
        };
        [DnsEndpointStatus::APPLIED, DnsEndpointStatus::VISIBLE].iter().filter_map(of).find(is_current)
    }
}

/// The annotation of a DNSEndpoint that names its host.
pub const HOST_ANNOTATION: &str = "nearside.dev/host";
/// The label that marks the DNSEndpoint objects of Nearside.
pub const MANAGED_LABEL: &str = "nearside.dev/dns";
/// The annotation that says why the nodes of a host were chosen ([`Basis::as_str`]).
pub const BASIS_ANNOTATION: &str = "nearside.dev/basis";
/// The annotation of a DNSEndpoint that says how often each address of its host should be answered: a JSON object from address
/// to weight ([`crate::placement::weights`]). Not part of `spec`, so that it moves no generation; absent where all are equal.
pub const WEIGHTS_ANNOTATION: &str = "nearside.dev/weights";
/// The annotation of a DNSEndpoint that names the nodes, by their ids with commas between, that were not yet in DNS when the records
/// were written, while others were; `none` where all were, absent where none was or nobody knows. Once a publisher has taken the records
/// it means nothing.
pub const UNSEEN_ANNOTATION: &str = "nearside.dev/unseen-nodes";
/// The value of [`MANAGED_LABEL`].
pub const MANAGED_VALUE: &str = "managed";
/// Bytes of a condition's reason that is repeated.
const MAX_REASON: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::{ObjectMeta, RecordSet};

    fn set(name: &str, record_type: &str, targets: &[&str]) -> RecordSet {
        RecordSet {
            dns_name: name.into(),
            record_type: record_type.into(),
            targets: targets.iter().map(|t| (*t).to_owned()).collect(),
            record_ttl: Some(30),
        }
    }

    fn managed(endpoints: Vec<RecordSet>) -> DnsEndpoint {
        DnsEndpoint {
            metadata: ObjectMeta {
                labels: [(MANAGED_LABEL.to_owned(), MANAGED_VALUE.to_owned())].into(),
                generation: 2,
                ..ObjectMeta::default()
            },
            spec: DnsEndpointSpec { endpoints },
            ..DnsEndpoint::default()
        }
    }

    fn hosts(endpoints: &[DnsEndpoint]) -> PublishedHosts {
        let mut hosts = PublishedHosts::default();
        for endpoint in endpoints {
            for (host, node) in published(endpoint) {
                let nodes = [hosts.of(&host), &[node]].concat();
                hosts.set(&host, nodes);
            }
        }
        hosts
    }

    #[test]
    fn only_aliases_of_hosts_of_the_same_object_count() {
        let id = NodeId::of("n1");
        let mut endpoint = managed(vec![
            set("video.example.com", "A", &["198.18.0.1"]),
            set(&format!("video--{id}.example.com"), "A", &["198.18.0.1"]),
            set(&format!("bank--{id}.example.com"), "A", &["198.18.0.1"]),
            set(&format!("empty--{id}.example.com"), "A", &[]),
        ]);
        let found = published(&endpoint);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].0.to_string(), found[0].1.node), ("video.example.com".into(), id));
        endpoint.metadata.annotations.insert(BASIS_ANNOTATION.to_owned(), "NoReadyPods".to_owned());
        assert!(published(&endpoint).is_empty(), "every router is published, and none of them has a pod");
        endpoint.metadata.annotations.clear();
        endpoint.metadata.labels.clear();
        assert!(published(&endpoint).is_empty(), "not an object of ours");
    }

    #[test]
    fn an_alias_has_the_addresses_of_both_families_and_tells_whether_it_is_taken() {
        let id = NodeId::of("n1");
        let alias = format!("video--{id}.example.com");
        let mut endpoint = managed(vec![
            set("video.example.com", "A", &["198.18.0.1"]),
            set("video.example.com", "HTTPS", &["1 . alpn=h2"]),
            set(&alias, "AAAA", &["fd00::1", "nonsense"]),
            set(&alias, "A", &["198.18.0.1"]),
        ]);
        let only =
            |endpoint: &DnsEndpoint| hosts(std::slice::from_ref(endpoint)).aliases("video.example.com").remove(0);
        let seen = only(&endpoint);
        assert_eq!(seen.alias.as_str(), alias);
        let addresses: Vec<IpAddr> = ["198.18.0.1", "fd00::1"].map(|text| text.parse().unwrap()).into();
        assert_eq!(*seen.addresses, *addresses);
        assert!(!seen.is_observed);
        endpoint.status.observed_generation = 1;
        assert!(!only(&endpoint).is_observed, "an older one was");
        endpoint.status.observed_generation = 2;
        assert!(only(&endpoint).is_observed);
    }

    #[test]
    fn of_records_that_are_not_taken_yet_the_nodes_that_were_taken_before_are_told_apart() {
        let [old, new] = ["n1", "n2"].map(NodeId::of);
        let alias = |id: NodeId| set(&format!("video--{id}.example.com"), "A", &["198.18.0.1"]);
        let mut endpoint = managed(vec![set("video.example.com", "A", &["198.18.0.1"]), alias(old), alias(new)]);
        let observed = |endpoint: &DnsEndpoint| -> Vec<NodeId> {
            let nodes = published(endpoint).into_iter().map(|(_, node)| node);
            nodes.filter(|node| node.is_observed).map(|node| node.node).collect()
        };
        assert_eq!(observed(&endpoint), []);
        endpoint.metadata.annotations.insert(UNSEEN_ANNOTATION.to_owned(), new.to_string());
        assert_eq!(observed(&endpoint), [old]);
        endpoint.status.observed_generation = 2;
        assert_eq!(observed(&endpoint).len(), 2);
    }

    #[test]
    fn trouble_is_what_a_publisher_says_of_the_records_that_stand_there() {
        let mut endpoint = managed(vec![set("video.example.com", "A", &["198.18.0.1"])]);
        let condition = |kind: &str, status: &str, generation, reason: &str| PublicationCondition {
            kind: kind.into(),
            status: status.into(),
            observed_generation: generation,
            reason: reason.into(),
            ..PublicationCondition::default()
        };
        let mut trouble = |conditions: &[PublicationCondition], observed| {
            endpoint.status.conditions = conditions.to_vec();
            endpoint.status.observed_generation = observed;
            DnsRecords::of(&endpoint).trouble().map(|condition| condition.reason.clone())
        };
        let visible = condition("Visible", "False", 2, "ServerDown");
        let applied = condition("Applied", "False", 2, "Conflict");
        assert_eq!(trouble(&[visible.clone(), applied.clone()], 1).as_deref(), Some("Conflict"), "the earlier step");
        assert_eq!(
            trouble(&[visible.clone(), condition("Applied", "True", 2, "Applied")], 1).as_deref(),
            Some("ServerDown")
        );
        assert_eq!(trouble(std::slice::from_ref(&visible), 2), None, "it is found all the same");
        assert_eq!(trouble(&[condition("Applied", "False", 1, "Conflict")], 1), None, "of what stood there before");
        assert_eq!(trouble(&[condition("Applied", "False", 2, "two words")], 1), None);
        assert_eq!(trouble(&[], 1), None);
    }

    #[test]
    fn a_wildcard_answers_for_hosts_without_records_of_their_own() {
        let [first, second] = ["n1", "n2"].map(NodeId::of);
        let hosts = hosts(&[
            managed(vec![
                set("*.example.com", "A", &["198.18.0.1"]),
                set(&format!("*--{first}.example.com"), "A", &["198.18.0.1"]),
            ]),
            managed(vec![
                set("video.example.com", "A", &["198.18.0.2"]),
                set(&format!("video--{second}.example.com"), "A", &["198.18.0.2"]),
            ]),
        ]);
        let names = |host: &str| -> Vec<String> {
            hosts.aliases(host).into_iter().map(|alias| alias.alias.to_string()).collect()
        };
        assert_eq!(names("shop.example.com"), [format!("shop--{first}.example.com")]);
        assert_eq!(names("video.example.com"), [format!("video--{second}.example.com")]);
        for other in ["example.com", "a.b.example.com", "com", ""] {
            assert!(hosts.nodes(other).is_empty(), "{other}");
        }
        let long = format!("{}.example.com", "a".repeat(60));
        assert_eq!((hosts.nodes(&long).len(), hosts.aliases(&long).len()), (1, 0), "an alias would be too long");
        assert_eq!((hosts.iter().count(), hosts.all().count()), (2, 2));
    }
}
