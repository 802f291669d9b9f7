//! Hosts that an object asks for besides its own: the claims on its hosts flow in, those on hosts that lead to them or stand
//! for them flow out. Each is asked for as every host is, so that nobody's is taken.

use super::Claim;
use crate::admission::HostRules;
use crate::hostname::{HostPattern, Hostname};
use crate::path::PathRule;
use crate::policy::{Policy, Redirects, aliases, redirect};
use crate::table::{CompiledRoute, Termination};
use crate::verdict::{Problem, Reason};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The claims on hosts with `www.` in front or without it, where the object asks that they lead to the hosts that it names
/// itself. Each is served only where no rule of the host matches, and by whom the host belongs to.
pub(super) fn www_claims(rules: &[Claim], hosts: &mut BTreeSet<HostPattern>, host_rules: &HostRules) -> Vec<Claim> {
    let mut claims = Vec::new();
    for rule in rules.iter().filter(|rule| rule.route.policy.redirects.www && rule.primary && rule.canary.is_none()) {
        let HostPattern::Exact(host) = &rule.route.pattern else { continue };
        let other = host.as_str().strip_prefix("www.").map_or_else(|| format!("www.{host}"), ToOwned::to_owned);
        if host_rules.check(&other).is_err() {
            continue;
        }
        let Ok(pattern) = Hostname::parse(&other).map(HostPattern::Exact) else { continue };
        if rule.route.termination == Termination::Passthrough || !hosts.insert(pattern.clone()) {
            continue;
        }
        let redirects = Redirects { to_host: Some(host.clone()), ..Redirects::default() };
        let policy = Arc::new(Policy { redirects, ..Policy::clone(&rule.route.policy) });
        let route = CompiledRoute { pattern, path: PathRule::Default, policy, ..CompiledRoute::clone(&rule.route) };
        claims.push(Claim { route: Arc::new(route), field: field(redirect::WWW), primary: false, ..rule.clone() });
    }
    claims
}

/// The claims on the hosts that an object lists as aliases: the rules of its first host, for each of them. `check` says
/// whether the operator admits a host. A canary asks for no host; it is one for these as well.
pub(super) fn alias_claims(
    rules: &[Claim],
    hosts: &mut BTreeSet<HostPattern>,
    check: &dyn Fn(&HostPattern) -> Result<(), &'static str>,
    problems: &mut Vec<Problem>,
) -> Vec<Claim> {
    let Some(first) = rules.iter().find(|rule| rule.route.pattern != HostPattern::Any) else { return Vec::new() };
    let own: Vec<&Claim> = rules.iter().filter(|rule| rule.route.pattern == first.route.pattern).collect();
    let mut told = |reason, message: String| problems.push(Problem::new(field(aliases::NAME), reason, message));
    let mut claims = Vec::new();
    for alias in first.route.policy.aliases.hosts() {
        if rules.iter().any(|rule| rule.route.pattern == *alias) {
            continue;
        }
        if let Err(message) = check(alias) {
            told(Reason::RouteNotAdmitted, format!("{alias} is not claimed: {message}"));
            continue;
        }
        if claims.len() + own.len() > CLAIMS {
            told(
                Reason::RouteNotAdmitted,
                format!("{alias} and what follows it are left out: there are too many rules"),
            );
            break;
        }
        if first.canary.is_none() {
            hosts.insert(alias.clone());
        }
        claims.extend(own.iter().map(|rule| {
            let route = CompiledRoute { pattern: alias.clone(), ..CompiledRoute::clone(&rule.route) };
            Claim { route: Arc::new(route), field: field(aliases::NAME), primary: false, ..(*rule).clone() }
        }));
    }
    claims
}

fn field(annotation: &str) -> String {
    format!("metadata.annotations[\"{annotation}\"]")
}

/// Rules of one object for its aliases; an object may have thousands of paths.
const CLAIMS: usize = 4096;
