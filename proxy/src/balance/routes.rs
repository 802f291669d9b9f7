//! How each route chooses: route tables flow in, the resolved settings and the turns of each rule flow out. The turns and the
//! repetitions of a rule are those of the rule with the same object, host and path in the table before. Built by `state`.

use super::choose::{Method, hash};
use super::cookie::AffinityCookie;
use super::rotation::Rotation;
use crate::health::CheckKind;
use crate::retry_budget::RetryBudget;
use crate::rules::rules;
use nearside_routing::policy::affinity::{CookieName, Sticky};
use nearside_routing::policy::balance::{Algorithm, HashKey};
use nearside_routing::table::{ChangedHost, CompiledRoute, HostRoutes, Termination};
use nearside_routing::{NodeId, RouteTable, SharedMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

/// What routes choose by that say nothing.
#[derive(Clone, Debug)]
pub(crate) struct BalanceDefaults {
    /// For HTTP.
    pub(crate) http: Algorithm,
    /// For TLS that ends at the pod.
    pub(crate) passthrough: Algorithm,
    /// The name of the affinity cookie; `None`: made from the route's name.
    pub(crate) cookie_name: Option<CookieName>,
    /// What clients get whose pod is elsewhere.
    pub(crate) sticky: Sticky,
    /// The node.
    pub(crate) node: NodeId,
}

impl Default for BalanceDefaults {
    fn default() -> Self {
        Self {
            http: Algorithm::Random,
            passthrough: Algorithm::Source,
            cookie_name: None,
            sticky: Sticky::Stay,
            node: NodeId::of(""),
        }
    }
}

/// How one rule chooses.
#[derive(Debug)]
pub(crate) struct RouteBalance {
    /// The algorithm.
    pub(crate) algorithm: Algorithm,
    /// Whose turn it is.
    pub(crate) rotation: Arc<Rotation>,
    /// Whose turn it is between the rule and the canary beside it.
    pub(crate) canary: Arc<Rotation>,
    /// By which clients keep their endpoint.
    pub(crate) cookie: Option<AffinityCookie>,
    /// How its endpoints are checked, if they are.
    pub(crate) check: CheckKind,
    /// How many of its requests may be sent again, where it wants any to be.
    pub(crate) retries: Option<Arc<RetryBudget>>,
}

impl RouteBalance {
    /// How to choose for one client. `value` gives the bytes of a hash key.
    pub(crate) fn method(&self, client: IpAddr, value: impl FnOnce(&HashKey) -> Vec<u8>) -> Method {
        match &self.algorithm {
            Algorithm::RoundRobin => Method::RoundRobin,
            Algorithm::LeastConnections => Method::LeastConnections,
            Algorithm::Random => Method::Random,
            Algorithm::Source => Method::Hash(match client.to_canonical() {
                IpAddr::V4(ip) => hash(&ip.octets()),
                IpAddr::V6(ip) => hash(&ip.octets()),
            }),
            Algorithm::Hash(key) => Method::Hash(hash(&value(key))),
        }
    }
}

/// How every rule of a table chooses.
#[derive(Clone, Debug)]
pub(crate) struct RouteBalances {
    defaults: Arc<BalanceDefaults>,
    _routes: Arc<RouteTable>,
    /// By the address of the rule, which `_routes` keeps alive: a new table shares the rules that did not change.
    by_rule: SharedMap<usize, RouteBalance>,
}

impl RouteBalances {
    /// Of no rule.
    pub(crate) fn new(defaults: BalanceDefaults) -> Self {
        Self { defaults: Arc::new(defaults), _routes: Arc::default(), by_rule: SharedMap::default() }
    }

    /// Those of a table, given how its hosts differ from the one before, with the turns of that one.
    #[must_use]
    pub(crate) fn follow(&self, routes: &Arc<RouteTable>, changes: &[ChangedHost<'_>]) -> Self {
        let mut by_rule = self.by_rule.clone();
        for rule in changes.iter().flat_map(|change| rules(change.before)) {
            by_rule.remove(&address(rule));
        }
        for change in changes {
            for main in change.after.into_iter().flat_map(|host| host.routes.iter()) {
                for route in main.with_canary() {
                    let known = self.by_rule.get(&address(route)).cloned();
                    let balance = known.unwrap_or_else(|| Arc::new(self.of_changed(route, main, change.before)));
                    by_rule.insert(address(route), balance);
                }
            }
        }
        Self { defaults: Arc::clone(&self.defaults), _routes: Arc::clone(routes), by_rule }
    }

    /// Of a rule of the table. For any other rule the turns begin anew.
    pub(crate) fn of(&self, route: &CompiledRoute) -> Arc<RouteBalance> {
        let known = self.by_rule.get(&address(route)).cloned();
        known.unwrap_or_else(|| Arc::new(self.of_changed(route, route, None)))
    }

    /// `main` is the rule itself, or that beside which it stands.
    fn of_changed(
        &self,
        route: &CompiledRoute,
        main: &CompiledRoute,
        before: Option<&Arc<HostRoutes>>,
    ) -> RouteBalance {
        let same = |known: &&CompiledRoute| known.source == route.source && known.path == route.path;
        let mut all = before.into_iter().flat_map(|host| host.routes.iter().flat_map(|route| route.with_canary()));
        let known = all.find(same).and_then(|known| self.by_rule.get(&address(known)));
        // One cookie for both sides, so that a client has one.
        let one_cookie = main.policy.affinity == route.policy.affinity;
        let named_after = if one_cookie { &main.source } else { &route.source };
        RouteBalance {
            algorithm: self.algorithm(route),
            rotation: known.map(|known| Arc::clone(&known.rotation)).unwrap_or_default(),
            canary: known.map(|known| Arc::clone(&known.canary)).unwrap_or_default(),
            cookie: AffinityCookie::of(route, named_after, self.defaults.cookie_name.as_ref(), self.home(route)),
            check: CheckKind::of(route),
            retries: route.policy.retry.on.map(|_| {
                let known = known.and_then(|known| known.retries.clone());
                known.unwrap_or_else(|| Arc::new(RetryBudget::new(Instant::now())))
            }),
        }
    }

    /// The node, where clients of the route are to come back to it.
    fn home(&self, route: &CompiledRoute) -> Option<NodeId> {
        let sticky = route.policy.affinity.sticky.unwrap_or(self.defaults.sticky);
        (sticky == Sticky::Return).then_some(self.defaults.node)
    }

    /// An object's word counts; without it several weighted Services take turns, so that their shares are exact.
    fn algorithm(&self, route: &CompiledRoute) -> Algorithm {
        if let Some(algorithm) = &route.policy.balance.algorithm {
            return match algorithm {
                // Nothing but the client's address is known of a connection that is passed through.
                Algorithm::Hash(_) if route.termination == Termination::Passthrough => Algorithm::Source,
                algorithm => algorithm.clone(),
            };
        }
        if route.backends.iter().filter(|backend| backend.weight > 0).count() > 1 {
            return Algorithm::RoundRobin;
        }
        match route.termination {
            Termination::Passthrough => self.defaults.passthrough.clone(),
            Termination::None | Termination::Edge | Termination::Reencrypt { .. } => self.defaults.http.clone(),
        }
    }
}

fn address(route: &CompiledRoute) -> usize {
    std::ptr::from_ref(route).addr()
}
