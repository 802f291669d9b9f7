//! Makes zones: what all objects desire and what the command line says about the zones flow in, drafts without a serial
//! and the reasons for what was left out flow out. Called by `zone_store` after every change; pure, and independent of
//! the order in which objects arrived.

use super::alias::WildcardAlias;
use super::shares::Shares;
use super::{Node, Zone};
use crate::desired::{Desired, ObjectKey, Problem, Rejection};
use crate::limits::{MAX_ALIASES, MAX_HTTPS_OCTETS, MAX_NAMES, MAX_TARGETS, MAX_TXT_OCTETS};
use crate::name::Name;
use crate::record::{Rrset, RrsetData, Soa, Ttl};
use crate::serial::Digest;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::IpAddr;

/// A name server that every zone lists at its apex.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameServer {
    /// Its name.
    pub name: Name,
    /// Its addresses, served where the name is within a served zone.
    pub addresses: Vec<IpAddr>,
}

/// What the operator says about a zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZoneSettings {
    /// The name of the apex.
    pub origin: Name,
    /// The NS records of the apex; the first is the SOA's MNAME. Never empty.
    pub name_servers: Vec<NameServer>,
}

/// A zone that lacks only its SOA.
#[derive(Debug)]
pub struct Draft {
    settings: ZoneSettings,
    nodes: HashMap<Name, Node>,
    generation: u64,
    /// Pods behind the addresses of a name, where objects tell them.
    weights: HashMap<Name, BTreeMap<IpAddr, u32>>,
}

/// Distributes the records over the zones. `desired` must be sorted by object key, so that every replica settles a
/// conflict alike.
pub fn assemble<'d>(
    settings: &[ZoneSettings],
    desired: impl Iterator<Item = &'d Desired> + Clone,
) -> (Vec<Draft>, Vec<Rejection>) {
    let mut zones = Assembly::new(settings);
    let mut rejections = Vec::new();
    // A CNAME yields to any other data of its name, so it must be placed when all other data is.
    for aliases in [false, true] {
        for object in desired.clone() {
            for (index, name, rrset) in &object.records {
                if matches!(rrset.data, RrsetData::Cname(_)) != aliases {
                    continue;
                }
                match zones.place(object.generation, name, rrset) {
                    Ok(()) => zones.weigh(&object.weights, name, rrset),
                    Err(rejected) => rejections.push(rejection(object, *index, rejected)),
                }
            }
            for (index, alias, rrset) in &object.wildcard_aliases {
                if matches!(rrset.data, RrsetData::Cname(_)) == aliases
                    && let Err(rejected) = zones.place_alias(object.generation, alias, rrset)
                {
                    rejections.push(rejection(object, *index, rejected));
                }
            }
        }
    }
    (zones.finish(), rejections)
}

/// What objects ask for together at one name, by the rules of [`assemble`]: each RRset with its object and its index in
/// `spec.endpoints[]`, sorted by object key.
pub(crate) fn unite<'d>(
    name: &Name,
    records: impl Iterator<Item = (&'d ObjectKey, usize, &'d Rrset)> + Clone,
) -> (Vec<Rrset>, Vec<Rejection>) {
    let mut node = Node::default();
    let mut rejections = Vec::new();
    for aliases in [false, true] {
        for (object, index, rrset) in records.clone() {
            let result = match &rrset.data {
                RrsetData::Cname(target) if aliases => node.add_cname(name, target, rrset),
                data if aliases || matches!(data, RrsetData::Cname(_)) => Ok(()),
                _ => node.merge(rrset),
            };
            if let Err((field, problem)) = result {
                let field = format!("spec.endpoints[{index}].{field}");
                rejections.push(Rejection { object: object.clone(), field, problem });
            }
        }
    }
    (node.rrsets, rejections)
}

fn rejection(object: &Desired, index: usize, (field, problem): (&'static str, Problem)) -> Rejection {
    Rejection { object: object.key.clone(), field: format!("spec.endpoints[{index}].{field}"), problem }
}

struct Assembly {
    drafts: HashMap<Name, Draft>,
    name_servers: HashSet<Name>,
}

impl Assembly {
    fn new(settings: &[ZoneSettings]) -> Self {
        let mut all = Self { drafts: HashMap::new(), name_servers: HashSet::new() };
        for zone in settings {
            let servers = zone.name_servers.iter().map(|server| server.name.clone());
            let servers = servers.collect::<BTreeSet<_>>().into_iter().collect();
            let rrsets = vec![Rrset { ttl: NS_TTL, data: RrsetData::Ns(servers) }];
            let apex = Node { rrsets, ..Node::default() };
            let nodes = HashMap::from([(zone.origin.clone(), apex)]);
            all.drafts.insert(
                zone.origin.clone(),
                Draft { settings: zone.clone(), nodes, generation: 0, weights: HashMap::new() },
            );
        }
        for server in settings.iter().flat_map(|zone| &zone.name_servers) {
            all.place_name_server(server);
        }
        // The apex of an inner zone exists in the outer one too: denying a name on the way to it would let resolvers
        // conclude that nothing is below (RFC 8020).
        for inner in settings {
            let outer = inner.origin.suffixes().skip(1).find(|suffix| all.drafts.contains_key(*suffix));
            if let Some(draft) = outer.and_then(|outer| all.drafts.get_mut(outer)) {
                draft.nodes.entry(inner.origin.clone()).or_default();
            }
        }
        all
    }

    fn draft(&mut self, name: &Name) -> Option<&mut Draft> {
        let origin = name.suffixes().find(|suffix| self.drafts.contains_key(*suffix))?;
        self.drafts.get_mut(origin)
    }

    fn place_name_server(&mut self, server: &NameServer) {
        let v4 = server.addresses.iter().filter_map(|address| match address {
            IpAddr::V4(v4) => Some(*v4),
            IpAddr::V6(_) => None,
        });
        let v6 = server.addresses.iter().filter_map(|address| match address {
            IpAddr::V4(_) => None,
            IpAddr::V6(v6) => Some(*v6),
        });
        let sets = [
            RrsetData::A(v4.collect::<BTreeSet<_>>().into_iter().collect()),
            RrsetData::Aaaa(v6.collect::<BTreeSet<_>>().into_iter().collect()),
        ];
        let Some(draft) = self.draft(&server.name) else { return };
        let mut placed = false;
        for data in sets.into_iter().filter(|data| data.count() > 0) {
            let node = draft.nodes.entry(server.name.clone()).or_default();
            if node.rrset(data.record_type()).is_none() {
                node.rrsets.push(Rrset { ttl: NS_TTL, data });
            }
            placed = true;
        }
        if placed {
            self.name_servers.insert(server.name.clone());
        }
    }

    fn place(&mut self, generation: u64, name: &Name, rrset: &Rrset) -> Result<(), (&'static str, Problem)> {
        if self.name_servers.contains(name) && !matches!(rrset.data, RrsetData::Txt(_)) {
            return Err(("dnsName", Problem::NameServer(name.clone())));
        }
        let Some(draft) = self.draft(name) else {
            return Err(("dnsName", Problem::OutsideZones(name.clone())));
        };
        let names = draft.nodes.len();
        if names >= MAX_NAMES && !draft.nodes.contains_key(name) {
            return Err(("dnsName", Problem::TooMany { limit: MAX_NAMES, what: "names in a zone" }));
        }
        let node = draft.nodes.entry(name.clone()).or_default();
        let result = node.add(name, rrset);
        draft.generation = draft.generation.max(generation);
        result
    }

    fn place_alias(
        &mut self,
        generation: u64,
        alias: &WildcardAlias,
        rrset: &Rrset,
    ) -> Result<(), (&'static str, Problem)> {
        let Some(draft) = self.draft(alias.domain()) else {
            return Err(("dnsName", Problem::OutsideZones(alias.domain().clone())));
        };
        let aliases: usize = draft.nodes.get(alias.domain()).map_or(0, |node| node.aliases.len());
        if aliases >= MAX_ALIASES || draft.nodes.len() >= MAX_NAMES {
            return Err((
                "dnsName",
                Problem::TooMany { limit: MAX_ALIASES, what: "aliases of wildcard hosts in a domain" },
            ));
        }
        let domain = draft.nodes.entry(alias.domain().clone()).or_default();
        let result = domain.aliases.entry(alias.id().into()).or_default().add(alias.domain(), rrset);
        draft.generation = draft.generation.max(generation);
        result
    }

    /// Notes how many pods stand behind the addresses; several objects of one name add up.
    fn weigh(&mut self, weights: &BTreeMap<IpAddr, u32>, name: &Name, rrset: &Rrset) {
        let Some(draft) = self.draft(name).filter(|_| !weights.is_empty()) else { return };
        for address in addresses(rrset) {
            let Some(pods) = weights.get(&address) else { continue };
            let known = draft.weights.entry(name.clone()).or_default().entry(address).or_default();
            *known = known.saturating_add(*pods);
        }
    }

    fn finish(self) -> Vec<Draft> {
        let mut drafts: Vec<Draft> = self.drafts.into_values().collect();
        drafts.sort_by(|a, b| a.settings.origin.cmp(&b.settings.origin));
        for draft in &mut drafts {
            draft.grow_tree();
            draft.share();
        }
        drafts
    }
}

impl Draft {
    /// The name of the apex.
    pub fn origin(&self) -> &Name {
        &self.settings.origin
    }

    /// The highest generation among the objects that gave the zone a record.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// A digest of every name and record, the same in whatever order they are held.
    pub fn digest(&self) -> u64 {
        let rrsets = self.nodes.iter().flat_map(|(name, node)| node.rrsets.iter().map(move |rrset| (name, rrset)));
        let aliases = self.nodes.iter().flat_map(|(domain, node)| {
            let rrsets = |node: &Node, id: &[u8]| {
                node.rrsets.iter().map(|rrset| digest_of(id, domain, rrset)).fold(0, u64::wrapping_add)
            };
            node.aliases.iter().map(move |(id, alias)| rrsets(alias, id))
        });
        rrsets.map(|(name, rrset)| digest_of(&[], name, rrset)).chain(aliases).fold(0, u64::wrapping_add)
    }

    /// The zone with its SOA.
    pub fn finish(mut self, serial: u32) -> Zone {
        let origin = self.settings.origin;
        let mname = self.settings.name_servers.first().map_or_else(|| origin.clone(), |server| server.name.clone());
        let rname = origin.child("hostmaster").unwrap_or_else(|| origin.clone());
        let (refresh, retry, expire) = SOA_TIMES;
        let soa = Soa { mname, rname, serial, refresh, retry, expire, minimum: NEGATIVE_TTL.seconds() };
        let apex = self.nodes.entry(origin.clone()).or_default();
        apex.rrsets.push(Rrset { ttl: SOA_TTL, data: RrsetData::Soa(soa) });
        Zone { origin_labels: origin.label_count(), origin, serial, nodes: self.nodes }
    }

    /// Gives each set of addresses its shares.
    fn share(&mut self) {
        for (name, weights) in &self.weights {
            let Some(node) = self.nodes.get_mut(name) else { continue };
            for rrset in &node.rrsets {
                let known: Vec<Option<u32>> = addresses(rrset).map(|address| weights.get(&address).copied()).collect();
                match rrset.data {
                    RrsetData::A(_) => node.shares[0] = Shares::of(&known),
                    RrsetData::Aaaa(_) => node.shares[1] = Shares::of(&known),
                    _ => {}
                }
            }
        }
    }

    /// Adds the empty non-terminals and marks the parents of wildcards.
    fn grow_tree(&mut self) {
        let depth = self.settings.origin.label_count();
        let names: Vec<Name> = self.nodes.keys().cloned().collect();
        for name in names {
            let labels: Vec<&[u8]> = name.labels().collect();
            for first in 1..=labels.len().saturating_sub(depth) {
                let Some(ancestor) = Name::from_labels(labels[first..].iter().copied()) else { continue };
                let known = self.nodes.contains_key(&ancestor);
                let node = self.nodes.entry(ancestor).or_default();
                node.wildcard |= first == 1 && name.is_wildcard();
                if known {
                    // Its own ancestors follow from its own turn, or were added when it was.
                    break;
                }
            }
        }
    }
}

impl Node {
    fn add(&mut self, name: &Name, rrset: &Rrset) -> Result<(), (&'static str, Problem)> {
        match &rrset.data {
            RrsetData::Cname(target) => self.add_cname(name, target, rrset),
            _ => self.merge(rrset),
        }
    }

    fn add_cname(&mut self, name: &Name, target: &Name, rrset: &Rrset) -> Result<(), (&'static str, Problem)> {
        match self.rrsets.as_mut_slice() {
            [] => self.rrsets.push(rrset.clone()),
            [Rrset { ttl, data: RrsetData::Cname(other) }] if other == target => *ttl = (*ttl).min(rrset.ttl),
            [Rrset { data: RrsetData::Cname(other), .. }] => {
                return Err(("targets", Problem::CnameConflict { name: name.clone(), other: other.clone() }));
            }
            _ => return Err(("recordType", Problem::CnameBesideData(name.clone()))),
        }
        Ok(())
    }

    fn merge(&mut self, rrset: &Rrset) -> Result<(), (&'static str, Problem)> {
        let Some(known) = self.rrsets.iter_mut().find(|known| known.data.record_type() == rrset.data.record_type())
        else {
            self.rrsets.push(rrset.clone());
            return Ok(());
        };
        known.ttl = known.ttl.min(rrset.ttl);
        let complete = match (&mut known.data, &rrset.data) {
            (RrsetData::A(known), RrsetData::A(more)) => union(known, more, |_| 1, MAX_TARGETS),
            (RrsetData::Aaaa(known), RrsetData::Aaaa(more)) => union(known, more, |_| 1, MAX_TARGETS),
            (RrsetData::Txt(known), RrsetData::Txt(more)) => {
                union(known, more, |text| text.iter().map(|string| string.len() + 1).sum(), MAX_TXT_OCTETS)
            }
            (RrsetData::Https(known), RrsetData::Https(more)) => {
                union(known, more, |record| record.to_wire().len(), MAX_HTTPS_OCTETS)
            }
            _ => true,
        };
        if complete {
            Ok(())
        } else {
            Err(("targets", Problem::TooMany { limit: MAX_TARGETS, what: "targets for one name and type" }))
        }
    }
}

/// Adds what is missing while the sum of costs stays within the limit; returns whether all of it fit.
fn union<T: Ord + Clone>(known: &mut Vec<T>, more: &[T], cost: impl Fn(&T) -> usize, limit: usize) -> bool {
    let mut total: usize = known.iter().map(&cost).sum();
    let mut complete = true;
    for item in more {
        if let Err(place) = known.binary_search(item) {
            if total + cost(item) > limit {
                complete = false;
                continue;
            }
            total += cost(item);
            known.insert(place, item.clone());
        }
    }
    complete
}

/// The addresses of a set, in its order; of other types none.
fn addresses(rrset: &Rrset) -> Box<dyn Iterator<Item = IpAddr> + '_> {
    match &rrset.data {
        RrsetData::A(all) => Box::new(all.iter().copied().map(IpAddr::from)),
        RrsetData::Aaaa(all) => Box::new(all.iter().copied().map(IpAddr::from)),
        _ => Box::new(std::iter::empty()),
    }
}

/// `alias` is the id of an alias of a wildcard host, and empty for a name.
fn digest_of(alias: &[u8], name: &Name, rrset: &Rrset) -> u64 {
    let mut digest = Digest::new();
    digest.field(name.as_wire());
    if !alias.is_empty() {
        digest.field(alias);
    }
    digest.field(rrset.data.record_type().to_string().as_bytes());
    digest.field(&rrset.ttl.seconds().to_be_bytes());
    rrset.data.sorted_texts().iter().for_each(|record| digest.field(record));
    digest.value()
}

/// TTL of NS records and glue; they change when the operator restarts the server with other flags.
const NS_TTL: Ttl = Ttl::constant(3600);

/// TTL of the SOA when it is asked for.
const SOA_TTL: Ttl = Ttl::constant(30);

/// How long "no such name" may be cached: a query that comes before the first publication must not pin it.
const NEGATIVE_TTL: Ttl = Ttl::constant(5);

/// Refresh, retry, expire in seconds. There are no secondaries that would read them.
const SOA_TIMES: (u32, u32, u32) = (3600, 600, 604_800);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::desired::{DesiredEndpoint, DesiredObject, parse};
    use crate::record::RecordType;

    fn settings(origin: &str) -> ZoneSettings {
        let server = NameServer {
            name: format!("ns1.{origin}").parse().unwrap(),
            addresses: vec!["192.0.2.53".parse().unwrap()],
        };
        ZoneSettings { origin: origin.parse().unwrap(), name_servers: vec![server] }
    }

    fn object(name: &str, ttl: i64, records: &[(&str, &str, &[&str])]) -> Desired {
        let endpoints = records.iter().map(|(dns_name, record_type, targets)| DesiredEndpoint {
            dns_name: (*dns_name).into(),
            record_type: (*record_type).into(),
            targets: targets.iter().map(|&t| t.into()).collect(),
            record_ttl: Some(ttl),
        });
        let key = ObjectKey { namespace: "router".into(), name: name.into() };
        let endpoints = endpoints.collect();
        parse(&DesiredObject { key, generation: 1, endpoints, ..DesiredObject::default() })
    }

    fn reports(rejections: &[Rejection]) -> Vec<String> {
        rejections.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn objects_with_the_same_name_and_type_merge_with_the_lowest_ttl() {
        let objects = [
            object("a", 30, &[("video.example.com", "A", &["192.0.2.2", "192.0.2.1"])]),
            object("b", 20, &[("VIDEO.example.com.", "A", &["192.0.2.3", "192.0.2.1"])]),
        ];
        let (mut drafts, rejections) = assemble(&[settings("example.com")], objects.iter());
        assert_eq!(rejections, []);
        let zone = drafts.remove(0).finish(1);
        let rrset = zone.exact(&"video.example.com".parse().unwrap()).unwrap().rrset(RecordType::A).unwrap();
        assert_eq!(rrset.ttl.seconds(), 20);
        assert_eq!(rrset.data.count(), 3);
    }

    #[test]
    fn the_longest_zone_takes_a_name_and_the_outer_zone_does_not_deny_the_inner() {
        let objects = [object(
            "a",
            30,
            &[
                ("x.a.b.example.com", "A", &["192.0.2.1"]),
                ("x.example.com", "A", &["192.0.2.1"]),
                ("x.example.net", "A", &["192.0.2.1"]),
            ],
        )];
        let zones = [settings("example.com"), settings("a.b.example.com")];
        let (drafts, rejections) = assemble(&zones, objects.iter());
        assert_eq!(
            reports(&rejections),
            [
                "DNSEndpoint router/a: spec.endpoints[2].dnsName: \"x.example.net\" is in none of the served zones (--zone)"
            ]
        );
        let zones = super::super::Zones::new(drafts.into_iter().map(|draft| draft.finish(1)));
        let inner = zones.find(&"x.a.b.example.com".parse().unwrap()).unwrap();
        assert_eq!(inner.origin().to_string(), "a.b.example.com");
        assert!(inner.exact(&"x.a.b.example.com".parse().unwrap()).is_some());
        let outer = zones.find(&"b.example.com".parse().unwrap()).unwrap();
        assert!(outer.exact(&"b.example.com".parse().unwrap()).unwrap().is_empty());
        assert!(outer.exact(&"x.a.b.example.com".parse().unwrap()).is_none());
    }

    #[test]
    fn a_cname_yields_to_other_data_and_to_an_earlier_alias() {
        let objects = [
            object(
                "a",
                30,
                &[("x.example.com", "CNAME", &["pool.example.com"]), ("example.com", "CNAME", &["b.example"])],
            ),
            object("b", 30, &[("x.example.com", "A", &["192.0.2.1"]), ("y.example.com", "CNAME", &["one.example"])]),
            object("c", 30, &[("y.example.com", "CNAME", &["two.example"]), ("ns1.example.com", "A", &["192.0.2.1"])]),
        ];
        let (mut drafts, rejections) = assemble(&[settings("example.com")], objects.iter());
        let reports = reports(&rejections);
        assert_eq!(reports.len(), 4, "{reports:#?}");
        for (object, text) in [
            ("router/a", "\"x.example.com\" cannot"),
            ("router/a", "\"example.com\" cannot"),
            ("router/c", "\"one.example\""),
            ("router/c", "--name-server"),
        ] {
            assert!(reports.iter().any(|r| r.contains(object) && r.contains(text)), "{object} {text}: {reports:#?}");
        }
        let zone = drafts.remove(0).finish(1);
        let canonical = zone.exact(&"y.example.com".parse().unwrap()).unwrap().rrset(RecordType::Cname).unwrap();
        assert_eq!(canonical.data, RrsetData::Cname("one.example".parse().unwrap()));
    }

    #[test]
    fn a_digest_follows_content_alone() {
        let one = object("a", 30, &[("x.example.com", "A", &["192.0.2.1", "192.0.2.2"])]);
        let halves = [
            object("p", 30, &[("x.example.com", "A", &["192.0.2.2"])]),
            object("q", 30, &[("x.example.com", "A", &["192.0.2.1"])]),
        ];
        let other = object("a", 31, &[("x.example.com", "A", &["192.0.2.1", "192.0.2.2"])]);
        let digest = |objects: &[Desired]| assemble(&[settings("example.com")], objects.iter()).0[0].digest();
        assert_eq!(digest(std::slice::from_ref(&one)), digest(&halves));
        assert_ne!(digest(&[one]), digest(&[other]));
    }
}
