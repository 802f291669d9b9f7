//! What the status page shows: the snapshot, what should stand in the API and a filter flow in; rows flow out, never more
//! than a page of them, however large the cluster is. Pure; `layout` makes HTML of it.

use super::filter::{Filter, Show};
use crate::desired::{Desired, Intent, Records, Target};
use crate::explain::why_not;
use nearside_routing::placement::{Basis, dns_endpoint_name};
use nearside_routing::{HostPattern, Outcome, Snapshot};
use std::collections::BTreeMap;

/// Everything that is shown.
#[derive(Debug, Default)]
pub(super) struct View {
    pub(super) generation: u64,
    pub(super) hosts: Paged<HostRow>,
    /// By name; all of them where they fit beside each other, else those that are wanting come first.
    pub(super) nodes: Paged<NodeRow>,
    /// Whether hosts and nodes are shown as a table of both.
    pub(super) matrix: bool,
    pub(super) problems: Paged<ProblemRow>,
    /// Of all hosts.
    pub(super) held: usize,
    pub(super) wanting: usize,
}

/// One page of rows.
#[derive(Debug)]
pub(super) struct Paged<T> {
    pub(super) rows: Vec<T>,
    /// Rows on all pages.
    pub(super) of: usize,
    /// From 1.
    pub(super) page: usize,
    pub(super) pages: usize,
}

impl<T> Default for Paged<T> {
    fn default() -> Self {
        Self { rows: Vec::new(), of: 0, page: 1, pages: 1 }
    }
}

impl<T> Paged<T> {
    /// The rows of one page; of all others only the number counts. `make` is called for the rows of the page alone.
    fn of<I>(all: Vec<I>, page: usize, size: usize, make: impl FnMut(I) -> T) -> Self {
        let of = all.len();
        let pages = of.div_ceil(size).max(1);
        let page = page.clamp(1, pages);
        Self { rows: all.into_iter().skip((page - 1) * size).take(size).map(make).collect(), of, page, pages }
    }
}

/// A host.
#[derive(Debug)]
pub(super) struct HostRow {
    pub(super) host: String,
    /// Kind and namespace of its owner; empty where nothing is served for it.
    pub(super) owner: String,
    pub(super) basis: &'static str,
    pub(super) fine: bool,
    /// The nodes that it is placed on.
    pub(super) nodes: Vec<String>,
    /// Such as `A 198.18.0.1 198.18.0.2`.
    pub(super) records: Vec<String>,
    pub(super) dns: DnsState,
}

/// What became of the records of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DnsState {
    /// A publisher has taken them.
    Published,
    /// The API holds them, and no publisher tells what it takes.
    Unconfirmed,
    /// The API holds them, and the publisher has not taken them yet.
    Untaken,
    /// They should be in the API, and what is there is not seen or not the same.
    Wanted,
    /// What is there is kept, for this reason.
    Held(&'static str),
    /// There is nothing to publish.
    Nothing,
}

/// A node.
#[derive(Debug)]
pub(super) struct NodeRow {
    pub(super) name: String,
    pub(super) id: String,
    /// `None` for a node to which clients may be sent.
    pub(super) why_not: Option<String>,
    pub(super) addresses: Vec<String>,
    /// Hosts that are placed there.
    pub(super) hosts: usize,
}

/// Something that is wrong with an object.
#[derive(Debug)]
pub(super) struct ProblemRow {
    pub(super) object: String,
    pub(super) host: String,
    pub(super) rejected: bool,
    pub(super) reason: &'static str,
    pub(super) field: String,
    pub(super) message: String,
}

/// Makes the rows.
pub(super) fn view(snapshot: &Snapshot, desired: &Desired, filter: &Filter) -> View {
    let owner = |pattern: &HostPattern| snapshot.routes.host(pattern);
    let fine = |pattern: &HostPattern| {
        let placed = desired.placement.hosts.get(pattern);
        placed.is_some_and(|host| host.basis == Basis::AllServices) && !desired.held.contains_key(pattern)
    };
    // Hosts that somebody claims and that are not served are not placed, but may be held.
    let placed = desired.placement.hosts.keys();
    let mut all: Vec<&HostPattern> = placed.chain(desired.held.keys()).collect();
    all.sort_unstable();
    all.dedup();
    let wanting = all.iter().filter(|pattern| !fine(pattern)).count();
    let chosen = all.into_iter().filter(|pattern| {
        (filter.namespace.is_empty() || owner(pattern).is_some_and(|host| *host.namespace == *filter.namespace))
            && (filter.show == Show::All || !fine(pattern))
            && (filter.host.is_empty() || pattern.to_string().contains(&filter.host))
    });
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for name in desired.placement.hosts.values().flat_map(|host| host.nodes.iter()) {
        *counts.entry(name).or_default() += 1;
    }
    let mut nodes: Vec<_> = snapshot.nodes.iter().collect();
    let matrix = nodes.len() <= BESIDE_EACH_OTHER;
    if !matrix {
        nodes.sort_by_key(|(_, state)| state.is_eligible());
    }
    View {
        generation: desired.generation,
        hosts: Paged::of(chosen.collect(), filter.page, HOSTS, |pattern| {
            host_row(snapshot, desired, pattern, fine(pattern))
        }),
        nodes: Paged::of(nodes, 1, NODES, |(name, state)| NodeRow {
            name: name.to_string(),
            id: state.id.to_string(),
            why_not: why_not(state),
            addresses: state.addresses.iter().map(|entry| format!("{} {}", entry.kind, entry.address)).collect(),
            hosts: counts.get(&**name).copied().unwrap_or_default(),
        }),
        matrix,
        problems: problems(snapshot, filter),
        held: desired.held.len(),
        wanting,
    }
}

fn host_row(snapshot: &Snapshot, desired: &Desired, pattern: &HostPattern, fine: bool) -> HostRow {
    let served = snapshot.routes.host(pattern);
    let placed = desired.placement.hosts.get(pattern);
    let name = pattern.to_string();
    let intent = desired.intents.get(&Target::DnsEndpoint(dns_endpoint_name(pattern)));
    let spec = match intent.map(AsRef::as_ref) {
        Some(Intent::DnsEndpoint(intent)) => match &intent.records {
            Records::Publish { spec, .. } => Some(spec),
            Records::Hold(_) => None,
        },
        _ => None,
    };
    let sets = spec.map(|spec| spec.endpoints.as_slice()).unwrap_or_default().iter();
    let records =
        sets.filter(|set| set.dns_name == name).map(|set| format!("{} {}", set.record_type, set.targets.join(" ")));
    let dns = match (desired.held.get(pattern), placed) {
        (Some(reason), _) => DnsState::Held(reason.as_str()),
        (None, Some(_)) => match snapshot.dns.hosts.get(pattern).filter(|stands| Some(&stands.spec) == spec) {
            Some(stands) if stands.is_observed() => DnsState::Published,
            Some(_) if snapshot.dns.reports => DnsState::Untaken,
            Some(_) => DnsState::Unconfirmed,
            None => DnsState::Wanted,
        },
        (None, None) => DnsState::Nothing,
    };
    HostRow {
        owner: served.map(|host| format!("{} {}", host.kind.name(), host.namespace)).unwrap_or_default(),
        basis: placed.map_or("NotServed", |host| host.basis.as_str()),
        fine,
        nodes: placed.map(|host| host.nodes.iter().map(ToString::to_string).collect()).unwrap_or_default(),
        records: records.collect(),
        dns,
        host: name,
    }
}

fn problems(snapshot: &Snapshot, filter: &Filter) -> Paged<ProblemRow> {
    let verdicts = snapshot.verdicts.iter().filter(|(key, verdict)| {
        (filter.namespace.is_empty() || *key.namespace == *filter.namespace)
            && (filter.host.is_empty() || verdict.host.contains(&filter.host))
    });
    let all = verdicts.flat_map(|(key, verdict)| verdict.all_problems().map(move |problem| (key, verdict, problem)));
    let mut all: Vec<_> = all.collect();
    let rejects = |outcome: &Outcome, problem| matches!(outcome, Outcome::Rejected(decisive) if decisive == problem);
    // What is not served at all comes first.
    all.sort_by_key(|(key, verdict, problem)| (!rejects(&verdict.outcome, *problem), *key));
    Paged::of(all, filter.problems, PROBLEMS, |(key, verdict, problem)| ProblemRow {
        object: key.to_string(),
        host: verdict.host.clone(),
        rejected: rejects(&verdict.outcome, problem),
        reason: problem.reason.as_str(),
        field: problem.field.clone(),
        message: problem.message.clone(),
    })
}

/// Nodes that fit beside each other.
const BESIDE_EACH_OTHER: usize = 16;
/// Rows of a page.
const HOSTS: usize = 50;
const PROBLEMS: usize = 50;
/// Nodes that are listed; those that are wanting come first where there are more.
const NODES: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::desired::Planner;
    use nearside_routing::placement::RecordPolicy;
    use nearside_routing::{Change, Index, IndexConfig, Kind, Object};
    use serde_json::{Value, json};

    fn snapshot(hosts: usize) -> std::sync::Arc<Snapshot> {
        let mut index = Index::new(IndexConfig::default());
        let mut put = |kind: Kind, value: Value| index.apply(Change::Apply(Object::decode(kind, value).unwrap()));
        for number in 0..hosts {
            put(
                Kind::Route,
                json!({
                    "metadata": {"namespace": format!("ns{}", number % 2), "name": format!("r{number}")},
                    "spec": {"host": format!("h{number:05}.example.com"), "to": {"kind": "Service", "name": "web"}},
                }),
            );
        }
        put(
            Kind::Route,
            json!({
                "metadata": {"namespace": "ns0", "name": "bad"},
                "spec": {"host": "_", "to": {"kind": "Service", "name": "web"}},
            }),
        );
        index.publish()
    }

    #[test]
    fn a_page_holds_no_more_than_its_rows_and_the_filter_decides_which() {
        let snapshot = snapshot(120);
        let desired = Planner::new(RecordPolicy::default()).plan(&snapshot, std::time::Duration::ZERO);
        let shown = |query: &str| view(&snapshot, &desired, &Filter::parse(query));
        let first = shown("");
        assert_eq!((first.hosts.rows.len(), first.hosts.of, first.hosts.pages), (HOSTS, 120, 3));
        assert_eq!((first.wanting, first.held), (120, 120), "there is no router");
        assert_eq!(shown("page=3").hosts.rows.len(), 20);
        assert_eq!(shown("page=99").hosts.page, 3, "beyond the last page is the last page");
        assert_eq!(shown("namespace=ns1").hosts.of, 60);
        assert_eq!(shown("host=h0001").hosts.of, 10);
        let problems = shown("namespace=ns0").problems;
        assert_eq!((problems.of, problems.rows[0].rejected), (1, true));
        assert_eq!(shown("namespace=ns1").problems.of, 0);
    }
}
