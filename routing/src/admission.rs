//! Admission: every claim on a host flows in, with who holds the neighbours that it can conflict with; for each claim
//! whether it is granted flows out. Older claims win; the loser learns why, but not which namespace holds the host.

mod host_rules;
mod rules;

pub use host_rules::{Domains, HostRules, HostnameTemplate};
pub use rules::{AdmissionRules, CertificateRules, ClassRules};

use crate::claim::Claim;
use crate::hostname::HostPattern;
use crate::object::{Age, Kind, ObjectKey};
use crate::path::PathRule;
use crate::table::Termination;
use crate::verdict::{Problem, Reason};
use std::collections::HashMap;

/// How far the oldest claim on a host reaches (`--namespace-ownership`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ownership {
    /// The namespace of the oldest claim owns the host with all its paths; a wildcard and the hosts directly below it
    /// belong to one namespace.
    #[default]
    Strict,
    /// Namespaces may share a host; the oldest claim owns a host and path.
    InterNamespace,
}

/// Who holds a host, and since which claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The claim's place in the order of claims.
    pub since: Rank,
    /// The namespace.
    pub namespace: Box<str>,
}

/// The place of an object in the order of claims. Two kinds may have objects of one name and, in manifests, of one age.
pub type Rank = (Age, ObjectKey);

/// What other hosts of its domain mean for a host. A wildcard and the hosts directly below it belong to one namespace, and
/// so do a host and its per-node aliases.
#[derive(Clone, Copy, Debug, Default)]
pub struct Neighbours<'n> {
    /// Who holds the wildcard of the domain.
    pub wildcard: Option<&'n Holder>,
    /// Who holds the host that a host of the form of a per-node alias stands for.
    pub original: Option<&'n Holder>,
}

impl Holder {
    /// The holder that a claim would make.
    pub fn by(claim: &Claim) -> Self {
        Self { since: (claim.age.clone(), claim.route.source.clone()), namespace: claim.namespace().into() }
    }

    /// Whether the holder keeps a claim of a neighbour out: it is of another namespace and older.
    pub fn keeps_out(&self, claim: &Claim) -> bool {
        *self.namespace != *claim.namespace() && self.is_older_than(claim)
    }

    fn is_older_than(&self, claim: &Claim) -> bool {
        (&self.since.0, &self.since.1) < (&claim.age, &claim.route.source)
    }

    fn is_younger_than(&self, claim: &Claim) -> bool {
        (&self.since.0, &self.since.1) > (&claim.age, &claim.route.source)
    }
}

/// Decides on the claims on one host. The order of the claims of different objects does not matter; the answers are in
/// the order of the claims.
pub fn admit(claims: &[&Claim], neighbours: Neighbours<'_>, ownership: Ownership) -> Vec<Result<(), Problem>> {
    let mut order: Vec<usize> = (0..claims.len()).collect();
    order.sort_by(|a, b| {
        let key = |place: &usize| (&claims[*place].age, &claims[*place].route.source);
        // Rules of one object are ranked as they are written.
        key(a).cmp(&key(b)).then(a.cmp(b))
    });
    let mut host = Granted { ownership, neighbours, host: None };
    let mut answers: Vec<Result<(), Problem>> = vec![Ok(()); claims.len()];
    for place in order {
        answers[place] = host.decide(claims[place]);
    }
    answers
}

/// What has been granted so far, oldest claims first.
struct Granted<'c> {
    ownership: Ownership,
    neighbours: Neighbours<'c>,
    host: Option<GrantedHost<'c>>,
}

struct GrantedHost<'c> {
    /// The object with the oldest claim.
    owner: &'c ObjectKey,
    paths: HashMap<&'c PathRule, &'c ObjectKey>,
    tls: bool,
    passthrough: bool,
}

impl<'c> Granted<'c> {
    fn decide(&mut self, claim: &'c Claim) -> Result<(), Problem> {
        self.ask_neighbours(claim)?;
        if let Some(host) = &self.host {
            self.ask_owner(host, claim)?;
        }
        let host = self.host.get_or_insert_with(|| GrantedHost {
            owner: &claim.route.source,
            paths: HashMap::new(),
            tls: false,
            passthrough: false,
        });
        host.paths.insert(&claim.route.path, &claim.route.source);
        host.tls |= claim.route.termination != Termination::None;
        host.passthrough |= claim.route.termination == Termination::Passthrough;
        Ok(())
    }

    /// A wildcard and the hosts below it, an alias and its host: both must be of one namespace. Namespaces that share
    /// hosts share wildcards as well, but an alias is a name that Nearside sends clients of its host to, in every mode.
    fn ask_neighbours(&self, claim: &Claim) -> Result<(), Problem> {
        let strict = self.ownership == Ownership::Strict;
        let wildcard = self.neighbours.wildcard.filter(|_| strict);
        let pattern = &claim.route.pattern;
        match pattern {
            HostPattern::Wildcard(_) if strict && wildcard.is_none_or(|holder| holder.is_younger_than(claim)) => Err(
                claimed(claim, format!("a route in another namespace holds host {pattern}: a host below it is older")),
            ),
            HostPattern::Any | HostPattern::Wildcard(_) => Ok(()),
            HostPattern::Exact(_) if wildcard.is_some_and(|holder| holder.keeps_out(claim)) => {
                let message = "a route in another namespace holds host";
                Err(claimed(claim, format!("{message} {pattern}: the wildcard above it is older")))
            }
            // Where one namespace holds the wildcard, no other holds any host below it.
            HostPattern::Exact(_) if wildcard.is_some_and(|holder| *holder.namespace == *claim.namespace()) => Ok(()),
            HostPattern::Exact(_) if self.neighbours.original.is_some_and(|holder| holder.keeps_out(claim)) => {
                let message = "a route in another namespace holds host";
                Err(claimed(claim, format!("{message} {pattern}: it is the per-node alias of an older host")))
            }
            HostPattern::Exact(_) => Ok(()),
        }
    }

    fn ask_owner(&self, host: &GrantedHost<'_>, claim: &Claim) -> Result<(), Problem> {
        let route = &claim.route;
        let shared = route.pattern == HostPattern::Any || self.ownership == Ownership::InterNamespace;
        if !shared && *host.owner.namespace != *claim.namespace() {
            return Err(claimed(claim, holds(host.owner, claim)));
        }
        if host.owner.kind != route.source.kind {
            let message = holds(host.owner, claim);
            return Err(claimed(claim, format!("{message}; a host is of one kind")));
        }
        if let Some(holder) = host.paths.get(&route.path) {
            return Err(claimed(claim, holds(holder, claim)));
        }
        let passthrough = route.termination == Termination::Passthrough;
        if (passthrough && host.tls) || (host.passthrough && route.termination != Termination::None) {
            let message = holds(host.owner, claim);
            return Err(claimed(
                claim,
                format!("{message}; passthrough and any other TLS on one host exclude each other"),
            ));
        }
        Ok(())
    }
}

fn claimed(claim: &Claim, message: String) -> Problem {
    Problem::new(claim.field.clone(), Reason::HostAlreadyClaimed, message)
}

/// The words of the OpenShift router, which never name the other namespace.
fn holds(holder: &ObjectKey, claim: &Claim) -> String {
    let (kind, article) = if holder.kind == Kind::Ingress { ("ingress", "an") } else { ("route", "a") };
    let host = &claim.route.pattern;
    if *holder.namespace == *claim.namespace() {
        format!("{kind} {} already exposes {host} and is older", holder.name)
    } else {
        let name = &claim.route.source.name;
        format!("{article} {kind} in another namespace holds {host} and is older than {name}")
    }
}
