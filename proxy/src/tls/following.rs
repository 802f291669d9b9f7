//! The certificates of a route table from one table to the next: how its hosts differ flows in, the certificates that are
//! served then flow out. The cost follows what changed, and the hosts that ask clients for certificates. Built by `state`.

use super::{AuthorityKey, Certificates, HostAuthority, Served, authority_key, guarded};
use crate::counted::Counted;
use nearside_routing::certificate::KeyPair;
use nearside_routing::table::{ChangedHost, HostRoutes, RouteTable};
use nearside_routing::{HostPattern, Hostname};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// What each host uses.
#[derive(Debug, Default)]
pub(crate) struct Following {
    hosts: HashMap<HostPattern, Uses>,
    /// The hosts that ask clients for certificates, or stand below one that does. What they use depends on their neighbours.
    guarded: BTreeSet<HostPattern>,
    served: Counted<Served>,
    authorities: Counted<AuthorityKey>,
}

#[derive(Debug, Default)]
struct Uses {
    served: Vec<Served>,
    authority: Option<AuthorityKey>,
}

impl Following {
    /// The certificates of a later table, of which these are the differences; those that were there already are kept.
    pub(crate) fn follow(
        &mut self,
        certificates: &Certificates,
        routes: &RouteTable,
        changes: &[ChangedHost<'_>],
    ) -> Certificates {
        let mut touched: BTreeSet<HostPattern> =
            changes.iter().filter_map(ChangedHost::pattern).cloned().chain(self.guarded.iter().cloned()).collect();
        let asks = |host: Option<&Arc<HostRoutes>>| host.is_some_and(|host| host.clients.is_some());
        let wildcards = changes.iter().filter(|change| asks(change.before) || asks(change.after));
        let domains: BTreeSet<&Hostname> = wildcards
            .filter_map(|change| match change.pattern()? {
                HostPattern::Wildcard(domain) => Some(domain),
                _ => None,
            })
            .collect();
        if !domains.is_empty() {
            // Seldom enough to look at every host.
            let below =
                |host: &&Arc<HostRoutes>| domains.iter().any(|domain| host.pattern.parent() == Some(domain.as_str()));
            touched.extend(routes.hosts().filter(below).map(|host| host.pattern.clone()));
        }
        let mut next = certificates.clone();
        let before: Vec<Uses> = touched.iter().filter_map(|pattern| self.hosts.remove(pattern)).collect();
        self.guarded.retain(|pattern| !touched.contains(pattern));
        let hosts = || touched.iter().filter_map(|pattern| routes.host(pattern));
        // First, for a certificate may go with the CAs of the wildcard above its host.
        for host in hosts() {
            let authority = self.authority(host, &mut next);
            self.hosts.insert(host.pattern.clone(), Uses { authority, served: Vec::new() });
        }
        for host in hosts() {
            let served = self.served(host, routes, &mut next);
            if let Some(uses) = self.hosts.get_mut(&host.pattern) {
                uses.served = served;
            }
        }
        for uses in before {
            for served in uses.served.iter().filter(|served| self.served.remove(served)) {
                next.served.remove(served);
            }
            if let Some(authority) = uses.authority.filter(|authority| self.authorities.remove(authority)) {
                next.authorities.remove(&authority);
            }
        }
        next
    }

    fn authority(&mut self, host: &HostRoutes, next: &mut Certificates) -> Option<AuthorityKey> {
        let clients = host.clients.as_ref()?;
        let (key, authority) = (authority_key(clients)?, clients.authority.as_ref()?);
        self.authorities.add(key);
        if !next.authorities.contains_key(&key) {
            match HostAuthority::new(authority, key.1) {
                Ok(made) => drop(next.authorities.insert(key, Arc::new(made))),
                // What was read was tried; should it fail all the same, nobody is let in.
                Err(error) => tracing::error!(error, "the CAs of a host's clients cannot be used"),
            }
        }
        Some(key)
    }

    fn served(&mut self, host: &HostRoutes, routes: &RouteTable, next: &mut Certificates) -> Vec<Served> {
        let asking = guarded(routes, &host.pattern);
        if !asking.is_empty() {
            self.guarded.insert(host.pattern.clone());
        }
        let mut all = Vec::new();
        let pairs = host.certificates().map(|pair| (Some(pair), None));
        for (pair, clients) in pairs.chain(asking) {
            let served = (pair.map(|pair| pair.fingerprint()), clients.and_then(|clients| authority_key(clients)));
            if served == (None, None) {
                continue;
            }
            all.push(served);
            self.served.add(served);
            if !next.served.contains_key(&served) {
                next.served.insert(served, Arc::new(make(host, pair, served, next)));
            }
        }
        all
    }
}

fn make(
    host: &HostRoutes,
    pair: Option<&Arc<KeyPair>>,
    served: Served,
    certificates: &Certificates,
) -> Option<Arc<super::Certificate>> {
    match certificates.make(pair, served.1.as_ref()) {
        Ok(certificate) => Some(Arc::new(certificate)),
        Err(error) => {
            let object = host.routes.first().map(|route| route.source.to_string()).unwrap_or_default();
            tracing::error!(host = %host.pattern, object, %error, "TLS for this host is refused");
            None
        }
    }
}
