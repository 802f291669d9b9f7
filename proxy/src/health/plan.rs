//! Which endpoints are checked: the serving state flows in, one check for each endpoint and kind flows out. An endpoint is
//! checked where a route could ask another one instead. Pure; `main` makes the first plan, `planner` the
//! others.

use super::check::CheckKind;
use crate::backends::{LocalEndpoint, Tracked, is_h2c};
use crate::limits::{CHECK_INTERVAL_LEAST, CHECKS};
use crate::state::State;
use crate::upstream_tls::DestinationCa;
use nearside_routing::endpoints::{PortEndpoints, ServiceKey};
use nearside_routing::table::CompiledRoute;
use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Every check.
pub(crate) type Plan = HashMap<CheckKey, Arc<Planned>>;

/// One check.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct CheckKey {
    /// [`Tracked::id`].
    pub(super) endpoint: u64,
    pub(super) kind: CheckKind,
}

/// How it is done.
#[derive(Clone)]
pub(crate) struct Planned {
    pub(super) tracked: Arc<Tracked>,
    pub(super) address: SocketAddr,
    pub(super) service: ServiceKey,
    pub(super) pod: Arc<str>,
    /// Whether the pod speaks nothing but HTTP/2 without TLS: it is not asked for a path.
    pub(super) h2c: bool,
    /// Verifies the pod, where it is reached over TLS.
    pub(super) ca: Option<DestinationCa>,
    pub(super) interval: Duration,
}

/// The checks for a state. `interval` is that of routes that state none; zero means no checks for those.
pub(crate) fn plan(state: &State, interval: Duration) -> Plan {
    let mut plan = Plan::new();
    let mut seen = HashSet::new();
    // A rule without a choice is not looked at one by one: there may be hundreds of thousands of one Service.
    let with_choice = |service: &&ServiceKey| state.backends.has_choice(service) || state.rules.has_others(service);
    let services = state.backends.services().filter(with_choice);
    let rules = services.flat_map(|service| state.rules.of(service));
    for route in rules.filter(|rule| seen.insert(Arc::as_ptr(rule))) {
        let interval = route.policy.health.interval.unwrap_or(interval);
        if !interval.is_zero() {
            add(route, state, interval.max(CHECK_INTERVAL_LEAST), &mut plan);
        }
    }
    plan
}

fn add(route: &CompiledRoute, state: &State, interval: Duration, plan: &mut Plan) {
    let weighted = route.backends.iter().filter(|backend| backend.weight > 0);
    let local =
        || weighted.clone().flat_map(|backend| state.backends.local(backend).map(move |found| (backend, found)));
    let first = local().next().map(|(_, (_, one))| one.tracked().id());
    if local().all(|(_, (_, one))| Some(one.tracked().id()) == first) {
        return;
    }
    let kind = CheckKind::of(route);
    for (backend, (port, one)) in local() {
        let key = CheckKey { endpoint: one.tracked().id(), kind: kind.clone() };
        if plan.len() >= CHECKS && !plan.contains_key(&key) {
            continue;
        }
        let planned = || planned(route, &backend.service, (port, one), &kind, state, interval);
        let known = plan.entry(key).or_insert_with(|| Arc::new(planned()));
        if known.interval > interval {
            *known = Arc::new(planned());
        }
    }
}

fn planned(
    route: &CompiledRoute,
    service: &ServiceKey,
    (port, local): (&PortEndpoints, &LocalEndpoint),
    kind: &CheckKind,
    state: &State,
    interval: Duration,
) -> Planned {
    Planned {
        tracked: Arc::clone(local.tracked()),
        address: local.endpoint.address,
        service: service.clone(),
        pod: Arc::clone(&local.endpoint.pod),
        h2c: is_h2c(port),
        ca: kind.tls.as_ref().and_then(|tls| {
            let ca = state.destination_cas.verifying(route)?;
            let named = route.policy.backend.verify == Some(true) && tls.name.is_some();
            Some(DestinationCa { names: ca.names || named, ..ca.clone() })
        }),
        interval,
    }
}

impl Planned {
    /// Whether checks go on as before with this one.
    pub(super) fn is_as(&self, other: &Self) -> bool {
        let ca = |planned: &Self| planned.ca.as_ref().map(|ca| (ca.identity, ca.names));
        (self.interval, self.h2c, ca(self)) == (other.interval, other.h2c, ca(other))
    }
}
