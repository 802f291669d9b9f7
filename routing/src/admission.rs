//! Admission: every claim on the hosts of one group flows in, for each claim whether it is granted flows out. Older
//! claims win; the loser learns why, but not which namespace holds the host.

use crate::claim::Claim;
use crate::hostname::{HostPattern, Hostname};
use crate::node_id::NodeId;
use crate::object::{Kind, ObjectKey};
use crate::path::PathRule;
use crate::table::Termination;
use crate::verdict::{Problem, Reason};
use std::collections::{HashMap, HashSet};

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

/// Decides on the claims of one group: hosts that can conflict with each other, which all have the same parent domain.
/// The order of the claims does not matter; the answers are in the same order.
pub fn admit(claims: &[&Claim], ownership: Ownership) -> Vec<Result<(), Problem>> {
    let mut order: Vec<usize> = (0..claims.len()).collect();
    order.sort_by(|a, b| {
        let key = |place: &usize| (&claims[*place].age, &claims[*place].route.source);
        // Rules of one object are ranked as they are written.
        key(a).cmp(&key(b)).then(a.cmp(b))
    });
    let mut granted = Granted { ownership, ..Granted::default() };
    let mut answers: Vec<Result<(), Problem>> = vec![Ok(()); claims.len()];
    for place in order {
        answers[place] = granted.decide(claims[place]);
    }
    answers
}

/// Whether a pattern can conflict with other hosts of its parent domain: wildcards do, and hosts that have the form of
/// a per-node alias.
pub(crate) fn concerns_siblings(pattern: &HostPattern) -> bool {
    match pattern {
        HostPattern::Any => false,
        HostPattern::Wildcard(_) => true,
        HostPattern::Exact(name) => NodeId::split_alias(name.as_str()).is_some(),
    }
}

/// What has been granted so far, oldest claims first.
#[derive(Default)]
struct Granted<'c> {
    ownership: Ownership,
    hosts: HashMap<&'c HostPattern, GrantedHost<'c>>,
    /// The namespaces that hold exact hosts below each domain.
    below: HashMap<&'c str, HashSet<&'c str>>,
}

struct GrantedHost<'c> {
    namespace: &'c str,
    kind: Kind,
    paths: HashMap<&'c PathRule, &'c ObjectKey>,
    tls: bool,
    passthrough: bool,
}

impl<'c> Granted<'c> {
    fn decide(&mut self, claim: &'c Claim) -> Result<(), Problem> {
        let pattern = &claim.route.pattern;
        self.ask_siblings(claim)?;
        if let Some(host) = self.hosts.get(pattern) {
            self.ask_owner(host, claim)?;
        }
        let host = self.hosts.entry(pattern).or_insert_with(|| GrantedHost {
            namespace: claim.namespace(),
            kind: claim.route.source.kind,
            paths: HashMap::new(),
            tls: false,
            passthrough: false,
        });
        host.paths.insert(&claim.route.path, &claim.route.source);
        host.tls |= claim.route.termination != Termination::None;
        host.passthrough |= claim.route.termination == Termination::Passthrough;
        if let (HostPattern::Exact(_), Some(parent)) = (pattern, pattern.parent()) {
            self.below.entry(parent).or_default().insert(claim.namespace());
        }
        Ok(())
    }

    /// A wildcard and the hosts below it, an alias and its host: both must be of one namespace.
    fn ask_siblings(&self, claim: &Claim) -> Result<(), Problem> {
        if self.ownership == Ownership::InterNamespace {
            return Ok(());
        }
        let foreign =
            |pattern: &HostPattern| self.hosts.get(pattern).is_some_and(|host| host.namespace != claim.namespace());
        match &claim.route.pattern {
            HostPattern::Any => Ok(()),
            HostPattern::Wildcard(domain) => {
                let holders = self.below.get(domain.as_str());
                if holders.is_some_and(|namespaces| namespaces.iter().any(|n| *n != claim.namespace())) {
                    return Err(claimed(claim, "a claim in another namespace holds a host below it and is older"));
                }
                Ok(())
            }
            HostPattern::Exact(name) => {
                let wildcard = name.split_first_label().1.and_then(|domain| Hostname::parse(domain).ok());
                if wildcard.is_some_and(|domain| foreign(&HostPattern::Wildcard(domain))) {
                    return Err(claimed(
                        claim,
                        "a claim in another namespace holds the wildcard above it and is older",
                    ));
                }
                let original = NodeId::split_alias(name.as_str()).and_then(|(host, _)| Hostname::parse(&host).ok());
                if original.is_some_and(|host| foreign(&HostPattern::Exact(host))) {
                    return Err(claimed(
                        claim,
                        "it is the per-node alias of a host that a claim in another namespace holds and is older",
                    ));
                }
                Ok(())
            }
        }
    }

    fn ask_owner(&self, host: &GrantedHost<'_>, claim: &Claim) -> Result<(), Problem> {
        let route = &claim.route;
        let shared = route.pattern == HostPattern::Any || self.ownership == Ownership::InterNamespace;
        if !shared && host.namespace != claim.namespace() {
            return Err(claimed(claim, "a claim in another namespace holds the host and is older"));
        }
        if host.kind != route.source.kind {
            return Err(claimed(claim, &format!("an older {} holds the host", host.kind)));
        }
        if let Some(holder) = host.paths.get(&route.path) {
            let message = if *holder.namespace == *claim.namespace() {
                format!("{holder} already exposes the path and is older")
            } else {
                "a claim in another namespace holds the path and is older".to_owned()
            };
            return Err(claimed(claim, &message));
        }
        let passthrough = route.termination == Termination::Passthrough;
        if (passthrough && host.tls) || (host.passthrough && route.termination != Termination::None) {
            return Err(claimed(claim, "passthrough and any other TLS on one host exclude each other"));
        }
        Ok(())
    }
}

fn claimed(claim: &Claim, message: &str) -> Problem {
    let message = format!("{}{}: {message}", claim.route.pattern, shown_path(&claim.route.path));
    Problem::new(claim.field.clone(), Reason::HostAlreadyClaimed, message)
}

fn shown_path(path: &PathRule) -> String {
    match path {
        PathRule::Any | PathRule::Default => String::new(),
        path => format!(" {path}"),
    }
}
