//! Which rules name a Service: changes of the route table flow in, for a Service its rules flow out. So whoever follows the
//! pods of this node looks at the rules that can reach them and at no others. Built by `state`.

use nearside_routing::SharedMap;
use nearside_routing::endpoints::ServiceKey;
use nearside_routing::table::{ChangedHost, CompiledRoute, HostRoutes};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The rules of one table, by Service.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rules {
    of: SharedMap<ServiceKey, [Arc<CompiledRoute>]>,
}

impl Rules {
    /// The rules that name a Service, canaries among them.
    pub(crate) fn of(&self, service: &ServiceKey) -> &[Arc<CompiledRoute>] {
        self.of.get(service).map(AsRef::as_ref).unwrap_or_default()
    }

    /// Those of a later table, given how its hosts differ.
    #[must_use]
    pub(crate) fn follow(&self, changes: &[ChangedHost<'_>]) -> Self {
        let mut changed: BTreeMap<&ServiceKey, Vec<Arc<CompiledRoute>>> = BTreeMap::new();
        for rule in changes.iter().flat_map(|change| rules(change.before)) {
            for backend in &rule.backends {
                let all = changed.entry(&backend.service).or_insert_with(|| self.of(&backend.service).to_vec());
                all.retain(|known| !Arc::ptr_eq(known, rule));
            }
        }
        for rule in changes.iter().flat_map(|change| rules(change.after)) {
            for backend in &rule.backends {
                let all = changed.entry(&backend.service).or_insert_with(|| self.of(&backend.service).to_vec());
                if !all.iter().any(|known| Arc::ptr_eq(known, rule)) {
                    all.push(Arc::clone(rule));
                }
            }
        }
        let mut of = self.of.clone();
        for (service, rules) in changed {
            of.set(service.clone(), (!rules.is_empty()).then(|| rules.into()));
        }
        Self { of }
    }
}

/// The rules of a host and what stands beside them.
pub(crate) fn rules(host: Option<&Arc<HostRoutes>>) -> impl Iterator<Item = &Arc<CompiledRoute>> {
    let main = host.into_iter().flat_map(|host| host.routes.iter());
    main.flat_map(|main| std::iter::once(main).chain(main.canary.as_ref().map(|canary| &canary.route)))
}
