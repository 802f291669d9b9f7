//! Which series there are: what changed from one state to the next flows in, the rows that a scrape shows and a request finds
//! flow out. The cost follows what changed: the rules of hosts that are served otherwise, and those of Services whose pods on
//! this node came, went or changed.

use super::{PodKey, PodRow, RouteRow, Rows, address};
use crate::backends::Backends;
use crate::balance::RouteBalances;
use crate::counted::Counted;
use crate::rules::{Rules, rules};
use nearside_routing::table::{ChangedHost, CompiledRoute};
use nearside_routing::{ObjectKey, RouteTable};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// What the last rows were made from, and who asked for which.
#[derive(Default)]
pub(super) struct Following {
    routes: Arc<RouteTable>,
    backends: Arc<Backends>,
    rules_of: Counted<ObjectKey>,
    /// Pods behind routes, with those that have no series of their own.
    wanted: HashMap<PodKey, Wanted>,
    /// What each rule asks for.
    keys_of: HashMap<usize, Vec<PodKey>>,
    /// Those of `wanted` without a series.
    left_out: BTreeSet<PodKey>,
}

struct Wanted {
    row: PodRow,
    rules: BTreeSet<usize>,
}

impl Following {
    /// Whether the last rows were for these.
    pub(super) fn is_of(&self, routes: &Arc<RouteTable>, backends: &Arc<Backends>) -> bool {
        Arc::ptr_eq(&self.routes, routes) && Arc::ptr_eq(&self.backends, backends)
    }

    /// The rows of a state: those of the state before, changed where it differs. Gives the routes that are gone besides.
    /// `rules` are those of `routes`; at most `limit` pods have series.
    pub(super) fn follow(
        &mut self,
        rows: &mut Rows,
        (routes, backends): (&Arc<RouteTable>, &Arc<Backends>),
        all_rules: &Rules,
        balances: &RouteBalances,
        limit: usize,
    ) -> Vec<Arc<RouteRow>> {
        let last_routes = std::mem::replace(&mut self.routes, Arc::clone(routes));
        let last_backends = std::mem::replace(&mut self.backends, Arc::clone(backends));
        let changes = routes.changes_since(&last_routes);
        let again: BTreeMap<usize, &Arc<CompiledRoute>> = backends
            .changes_since(&last_backends)
            .into_iter()
            .flat_map(|service| all_rules.of(service))
            .chain(changes.iter().flat_map(|change| rules(change.after)))
            .map(|rule| (address(rule), rule))
            .collect();
        let mut left = BTreeSet::new();
        let removed = changes.iter().flat_map(|change| rules(change.before)).map(|rule| address(rule));
        for rule in removed.chain(again.keys().copied()) {
            self.forget(rule, rows, &mut left);
        }
        let gone = self.follow_objects(rows, &changes);
        for (place, rule) in again {
            if let Some(row) = rows.routes.get(&rule.source) {
                rows.series.by_rule.insert(place, Arc::clone(&row.counts));
            }
            self.want(place, rule, rows, balances);
        }
        for key in left {
            if self.wanted.get(&key).is_some_and(|wanted| wanted.rules.is_empty()) {
                self.wanted.remove(&key);
                self.left_out.remove(&key);
                rows.pods.remove(&key);
            }
        }
        // Those that have a series keep it; the others get one while there is room.
        while rows.pods.len() < limit
            && let Some(key) = self.left_out.pop_first()
        {
            if let Some(wanted) = self.wanted.get(&key) {
                for rule in &wanted.rules {
                    rows.series.by_pod.insert((*rule, key.endpoint), Arc::clone(&wanted.row.counts));
                }
                rows.pods.insert(key, Arc::new(wanted.row.clone()));
            }
        }
        rows.left_out = self.left_out.len();
        gone
    }

    fn forget(&mut self, rule: usize, rows: &mut Rows, left: &mut BTreeSet<PodKey>) {
        rows.series.by_rule.remove(&rule);
        for key in self.keys_of.remove(&rule).unwrap_or_default() {
            rows.series.by_pod.remove(&(rule, key.endpoint));
            if let Some(wanted) = self.wanted.get_mut(&key) {
                wanted.rules.remove(&rule);
            }
            left.insert(key);
        }
    }

    fn follow_objects(&mut self, rows: &mut Rows, changes: &[ChangedHost<'_>]) -> Vec<Arc<RouteRow>> {
        for rule in changes.iter().flat_map(|change| rules(change.after)) {
            self.rules_of.add(rule.source.clone());
            let known = rows.routes.get(&rule.source);
            if known.is_none_or(|row| row.termination != rule.termination) {
                let counts = known.map(|row| Arc::clone(&row.counts)).unwrap_or_default();
                let row = RouteRow { termination: rule.termination.clone(), counts };
                rows.routes.insert(rule.source.clone(), Arc::new(row));
            }
        }
        let before = changes.iter().flat_map(|change| rules(change.before));
        before
            .filter(|rule| self.rules_of.remove(&rule.source))
            .filter_map(|rule| rows.routes.remove(&rule.source))
            .collect()
    }

    fn want(&mut self, place: usize, rule: &CompiledRoute, rows: &mut Rows, balances: &RouteBalances) {
        let check = &balances.of(rule).check;
        let backends = Arc::clone(&self.backends);
        for (service, local) in rule.backends.iter().flat_map(|backend| backends.endpoints(backend)) {
            let tracked = local.tracked();
            let key = PodKey { route: rule.source.clone(), service: (**service).clone(), endpoint: tracked.id() };
            let known = self.wanted.remove(&key);
            let (counts, mut rules) = known.map(|known| (known.row.counts, known.rules)).unwrap_or_default();
            if rules.insert(place) {
                self.keys_of.entry(place).or_default().push(key.clone());
            }
            let row = PodRow {
                pod: Arc::clone(&local.endpoint.pod),
                address: local.endpoint.address,
                tracked: Arc::clone(tracked),
                check: check.clone(),
                counts,
            };
            if rows.pods.contains_key(&key) {
                rows.series.by_pod.insert((place, key.endpoint), Arc::clone(&row.counts));
                rows.pods.insert(key.clone(), Arc::new(row.clone()));
            } else {
                self.left_out.insert(key.clone());
            }
            self.wanted.insert(key, Wanted { row, rules });
        }
    }
}
