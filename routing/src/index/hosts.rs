//! The part of the index that knows hosts: the claims of Routes and Ingresses and Secrets flow in, the route table and
//! the verdicts flow out. The unit of work is a host.

use super::domains::Domains;
use crate::admission::Ownership;
use crate::claim::{Claim, ClaimedCertificate, Claims};
use crate::compile::{Findings, Speaker, compile_host, verdict};
use crate::hostname::HostPattern;
use crate::known_secret::KnownSecret;
use crate::object::{Kind, ObjectKey, Secret};
use crate::shared_map::SharedMap;
use crate::table::RouteTable;
use crate::verdict::{Reason, Verdict, Verdicts};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

#[derive(Debug)]
pub(super) struct HostIndex {
    ownership: Ownership,
    /// What each Route and Ingress of ours asks for.
    claims: BTreeMap<ObjectKey, Arc<Claims>>,
    secrets: BTreeMap<ObjectKey, Arc<KnownSecret>>,
    /// Which objects speak of a host, and where.
    speakers: BTreeMap<HostPattern, BTreeMap<ObjectKey, Places>>,
    domains: Domains,
    /// Which objects use a Secret, and for which host.
    users: BTreeMap<ObjectKey, BTreeSet<(HostPattern, ObjectKey)>>,
    /// What was wrong with rules and certificates, by object and then by host.
    findings: BTreeMap<ObjectKey, BTreeMap<HostPattern, Findings>>,
    /// Hosts that some object asks for and has not lost to another one, whether they are served or not.
    claimed: SharedMap<HostPattern, ()>,
    /// The Secrets that policies name, and how many objects name each.
    named: BTreeMap<ObjectKey, usize>,
    named_changed: bool,
    dirty_hosts: BTreeSet<HostPattern>,
    dirty_objects: BTreeSet<ObjectKey>,
}

/// Where in an object's claims a host is spoken of: an object may name thousands of hosts.
#[derive(Debug, Default)]
struct Places {
    rules: Vec<usize>,
    certificates: Vec<usize>,
}

impl HostIndex {
    pub(super) fn new(ownership: Ownership) -> Self {
        Self {
            ownership,
            claims: BTreeMap::new(),
            secrets: BTreeMap::new(),
            speakers: BTreeMap::new(),
            domains: Domains::new(ownership),
            users: BTreeMap::new(),
            findings: BTreeMap::new(),
            claimed: SharedMap::default(),
            named: BTreeMap::new(),
            named_changed: false,
            dirty_hosts: BTreeSet::new(),
            dirty_objects: BTreeSet::new(),
        }
    }

    pub(super) fn put(&mut self, claims: Arc<Claims>) {
        let key = claims.object.clone();
        // A status update, or any other change that asks for the same, costs nothing.
        if self.claims.get(&key).is_some_and(|known| **known == *claims) {
            return;
        }
        self.remove(&key);
        for (pattern, places) in places(&claims) {
            self.domains.add(&pattern);
            self.speakers.entry(pattern.clone()).or_default().insert(key.clone(), places);
            self.dirty_hosts.insert(pattern);
        }
        for (secret, pattern) in used_secrets(&claims) {
            self.users.entry(secret).or_default().insert((pattern, key.clone()));
        }
        for secret in claims.named_secrets() {
            let users = self.named.entry(secret).or_insert(0);
            self.named_changed |= *users == 0;
            *users += 1;
        }
        self.dirty_objects.insert(key.clone());
        self.claims.insert(key, claims);
    }

    pub(super) fn remove(&mut self, key: &ObjectKey) {
        let Some(claims) = self.claims.remove(key) else {
            return;
        };
        for pattern in places(&claims).into_keys() {
            if let Some(speakers) = self.speakers.get_mut(&pattern) {
                speakers.remove(key);
                if speakers.is_empty() {
                    self.speakers.remove(&pattern);
                    self.domains.remove(&pattern);
                }
            }
            self.dirty_hosts.insert(pattern);
        }
        for (secret, pattern) in used_secrets(&claims) {
            if let Some(users) = self.users.get_mut(&secret) {
                users.remove(&(pattern, key.clone()));
                if users.is_empty() {
                    self.users.remove(&secret);
                }
            }
        }
        for secret in claims.named_secrets() {
            if let Some(users) = self.named.get_mut(&secret) {
                *users -= 1;
                if *users == 0 {
                    self.named.remove(&secret);
                    self.named_changed = true;
                }
            }
        }
        self.findings.remove(key);
        self.dirty_objects.insert(key.clone());
    }

    pub(super) fn put_secret(&mut self, secret: &Secret) {
        let key = secret.metadata.key(Kind::Secret);
        let Some(material) = KnownSecret::of(secret) else {
            self.remove_secret(&key);
            return;
        };
        if self.secrets.get(&key).is_none_or(|known| **known != material) {
            self.secrets.insert(key.clone(), Arc::new(material));
            self.touch_users(&key);
        }
    }

    pub(super) fn remove_secret(&mut self, key: &ObjectKey) {
        if self.secrets.remove(key).is_some() {
            self.touch_users(key);
        }
    }

    pub(super) fn secrets(&self) -> Vec<ObjectKey> {
        self.secrets.keys().cloned().collect()
    }

    /// The Secrets that policies name, if that changed since the last call.
    pub(super) fn take_named_secrets(&mut self) -> Option<BTreeSet<ObjectKey>> {
        std::mem::take(&mut self.named_changed).then(|| self.named.keys().cloned().collect())
    }

    /// The hosts of [`super::Snapshot::claimed`]; to be asked after [`Self::publish`].
    pub(super) fn claimed(&self) -> &SharedMap<HostPattern, ()> {
        &self.claimed
    }

    /// The new table and verdicts, if any host or object changed.
    pub(super) fn publish(&mut self, table: &RouteTable, verdicts: &Verdicts) -> Option<(Arc<RouteTable>, Verdicts)> {
        if self.dirty_hosts.is_empty() && self.dirty_objects.is_empty() {
            return None;
        }
        let mut table = table.clone();
        let changed = std::mem::take(&mut self.dirty_hosts);
        let claims = |pattern: &HostPattern| claims_on(&self.speakers, &self.claims, pattern);
        for pattern in self.domains.settle(changed, &claims) {
            self.compile(&pattern, &mut table);
        }
        let mut verdicts = verdicts.clone();
        for key in std::mem::take(&mut self.dirty_objects) {
            let verdict = self.claims.get(&key).map(|claims| self.verdict(claims));
            if verdicts.get(&key).map(AsRef::as_ref) != verdict.as_ref() {
                verdicts.set(key, verdict.map(Arc::new));
            }
        }
        Some((Arc::new(table), verdicts))
    }

    fn touch_users(&mut self, secret: &ObjectKey) {
        let users = self.users.get(secret).into_iter().flatten();
        self.dirty_hosts.extend(users.map(|(pattern, _)| pattern.clone()));
    }

    fn compile(&mut self, pattern: &HostPattern, table: &mut RouteTable) {
        let speakers: Vec<Speaker<'_>> = self
            .speakers
            .get(pattern)
            .into_iter()
            .flatten()
            .filter_map(|(key, places)| {
                let claims = self.claims.get(key)?;
                Some(Speaker { claims, rules: &places.rules, certificates: &places.certificates })
            })
            .collect();
        let secrets = |namespace: &str, name: &str| {
            self.secrets.get(&ObjectKey::new(Kind::Secret, namespace, name)).map(Arc::clone)
        };
        let neighbours = self.domains.neighbours(pattern);
        let mut compiled = compile_host(pattern, &speakers, neighbours, self.ownership, &secrets);
        let known = table.host(pattern);
        let routes = match (known, compiled.routes) {
            (Some(known), Some(routes)) if **known == routes => Some(Arc::clone(known)),
            (_, routes) => routes.map(Arc::new),
        };
        let claimed = speakers.iter().any(|speaker| claims_host(speaker, pattern, &compiled.findings));
        table.set(pattern, routes, claimed);
        if claimed != self.claimed.contains_key(pattern) {
            self.claimed.set(pattern.clone(), claimed.then(Arc::default));
        }
        for speaker in speakers {
            let key = &speaker.claims.object;
            let findings = compiled.findings.remove(key);
            let known = self.findings.entry(key.clone()).or_default();
            if known.get(pattern) != findings.as_ref() {
                match findings {
                    Some(findings) => drop(known.insert(pattern.clone(), findings)),
                    None => drop(known.remove(pattern)),
                }
                self.dirty_objects.insert(key.clone());
            }
        }
    }

    fn verdict(&self, claims: &Claims) -> Verdict {
        let (mut rejected, mut secrets) = (Vec::new(), Vec::new());
        for findings in self.findings.get(&claims.object).into_iter().flat_map(BTreeMap::values) {
            rejected.extend(findings.rejected.iter().cloned());
            secrets.extend(findings.secrets.iter().cloned());
        }
        rejected.sort();
        verdict(claims, &rejected, &secrets)
    }
}

/// Whether an object asks for a host and has not lost every rule for it to an older claim.
fn claims_host(speaker: &Speaker<'_>, pattern: &HostPattern, findings: &BTreeMap<ObjectKey, Findings>) -> bool {
    let rejected = findings.get(&speaker.claims.object).map_or(&[][..], |findings| &findings.rejected);
    let lost: BTreeSet<usize> = rejected
        .iter()
        .filter(|(_, problem)| problem.reason == Reason::HostAlreadyClaimed)
        .map(|(place, _)| *place)
        .collect();
    let mut rules = speaker.rules.iter();
    speaker.claims.hosts.contains(pattern) && (rules.len() == 0 || rules.any(|place| !lost.contains(place)))
}

fn claims_on<'c>(
    speakers: &BTreeMap<HostPattern, BTreeMap<ObjectKey, Places>>,
    claims: &'c BTreeMap<ObjectKey, Arc<Claims>>,
    pattern: &HostPattern,
) -> Vec<&'c Claim> {
    let speakers = speakers.get(pattern).into_iter().flatten();
    let of = |(key, places): (&ObjectKey, &Places)| {
        // Rules of one object are of one age; the first stands for all. A canary holds no host.
        let first = *places.rules.first()?;
        claims.get(key)?.rules.get(first).filter(|claim| claim.canary.is_none())
    };
    speakers.filter_map(of).collect()
}

fn places(claims: &Claims) -> BTreeMap<HostPattern, Places> {
    let mut places: BTreeMap<HostPattern, Places> = BTreeMap::new();
    for (place, rule) in claims.rules.iter().enumerate() {
        places.entry(rule.route.pattern.clone()).or_default().rules.push(place);
    }
    for pattern in &claims.hosts {
        places.entry(pattern.clone()).or_default();
    }
    for (place, certificate) in claims.certificates.iter().enumerate() {
        places.entry(certificate.pattern.clone()).or_default().certificates.push(place);
    }
    places
}

fn used_secrets(claims: &Claims) -> Vec<(ObjectKey, HostPattern)> {
    let secret = |name: &str| claims.secret(name);
    let external = claims.rules.iter().filter_map(|rule| match &rule.certificate {
        ClaimedCertificate::External { secret: name } => Some((secret(name), rule.route.pattern.clone())),
        _ => None,
    });
    let by_policy = claims
        .rules
        .iter()
        .flat_map(|rule| rule.route.policy.secrets().map(|name| (secret(name), rule.route.pattern.clone())));
    let certificates = claims.certificates.iter().map(|c| (secret(&c.secret), c.pattern.clone()));
    external.chain(by_policy).chain(certificates).collect()
}
