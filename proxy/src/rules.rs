//! Which rules name a Service: changes of the route table flow in, for a Service its rules flow out. So whoever follows the
//! pods of this node looks at the rules that can reach them and at no others. Built by `state`.

use nearside_routing::SharedMap;
use nearside_routing::endpoints::ServiceKey;
use nearside_routing::table::{ChangedHost, CompiledRoute, HostRoutes};
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

/// The rules of one table, by Service.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rules {
    of: SharedMap<ServiceKey, OfService>,
}

#[derive(Debug)]
struct OfService {
    rules: Vec<Arc<CompiledRoute>>,
    /// Whether one of them has other backends, too.
    has_others: bool,
}

impl Rules {
    /// The rules that name a Service, canaries among them.
    pub(crate) fn of(&self, service: &ServiceKey) -> &[Arc<CompiledRoute>] {
        self.of.get(service).map(|of| &*of.rules).unwrap_or_default()
    }

    /// Whether a rule that names a Service has other backends, too.
    pub(crate) fn has_others(&self, service: &ServiceKey) -> bool {
        self.of.get(service).is_some_and(|of| of.has_others)
    }

    /// Those of a later table, given how its hosts differ.
    #[must_use]
    pub(crate) fn follow(&self, changes: &[ChangedHost<'_>]) -> Self {
        let mut changed: BTreeMap<&ServiceKey, Vec<&Arc<CompiledRoute>>> = BTreeMap::new();
        let gone: HashSet<usize> = changes.iter().flat_map(|change| rules(change.before)).map(place).collect();
        for rule in changes.iter().flat_map(|change| rules(change.before)) {
            for backend in &rule.backends {
                changed.entry(&backend.service).or_default();
            }
        }
        for rule in changes.iter().flat_map(|change| rules(change.after)) {
            for backend in &rule.backends {
                changed.entry(&backend.service).or_default().push(rule);
            }
        }
        let mut of = self.of.clone();
        for (service, new) in changed {
            let kept = self.of(service).iter().filter(|rule| !gone.contains(&place(rule)));
            let mut seen = HashSet::new();
            let rules: Vec<_> = kept.chain(new).filter(|rule| seen.insert(place(rule))).map(Arc::clone).collect();
            let has_others = rules.iter().any(|rule| rule.backends.len() > 1);
            of.set(service.clone(), (!rules.is_empty()).then(|| Arc::new(OfService { rules, has_others })));
        }
        Self { of }
    }
}

fn place(rule: &Arc<CompiledRoute>) -> usize {
    Arc::as_ptr(rule).addr()
}

/// The rules of a host and what stands beside them.
pub(crate) fn rules(host: Option<&Arc<HostRoutes>>) -> impl Iterator<Item = &Arc<CompiledRoute>> {
    let main = host.into_iter().flat_map(|host| host.routes.iter());
    main.flat_map(|main| std::iter::once(main).chain(main.canary.as_ref().map(|canary| &canary.route)))
}
