//! The part of the index that knows hosts: Routes, Ingresses and TLS Secrets flow in, the route table and the verdicts
//! flow out. The unit of work is a host, or a group of hosts where they can conflict with each other.

use crate::admission::{Ownership, concerns_siblings};
use crate::claim::{ClaimedCertificate, Claims, ingress_claims, route_claims};
use crate::compile::{TlsSecret, compile_group, verdict};
use crate::hostname::HostPattern;
use crate::object::{Ingress, Kind, ObjectKey, Route, Secret};
use crate::table::RouteTable;
use crate::verdict::{Problem, Reason, Verdict};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

type Verdicts = BTreeMap<ObjectKey, Arc<Verdict>>;

#[derive(Debug)]
pub(super) struct HostIndex {
    ownership: Ownership,
    /// What each Route, and each Ingress of our class, asks for.
    claims: BTreeMap<ObjectKey, Arc<Claims>>,
    /// Every Ingress, of whatever class: its class may become ours.
    ingresses: BTreeMap<ObjectKey, Ingress>,
    secrets: BTreeMap<ObjectKey, Arc<TlsSecret>>,
    /// Which objects speak of a host.
    speakers: BTreeMap<HostPattern, BTreeSet<ObjectKey>>,
    /// The hosts directly below a domain, its wildcard among them.
    siblings: BTreeMap<Box<str>, BTreeSet<HostPattern>>,
    /// Which hosts use a Secret.
    users: BTreeMap<ObjectKey, BTreeSet<HostPattern>>,
    /// What was wrong with rules and certificates, by object and then by host.
    findings: BTreeMap<ObjectKey, BTreeMap<HostPattern, Findings>>,
    /// Hosts that some object asks for and has not lost to another one, whether they are served or not.
    claimed: BTreeSet<HostPattern>,
    claimed_changed: bool,
    dirty_hosts: BTreeSet<HostPattern>,
    dirty_objects: BTreeSet<ObjectKey>,
}

#[derive(Debug, Default, PartialEq)]
struct Findings {
    rejected: Vec<(usize, Problem)>,
    certificates: Vec<Problem>,
}

impl HostIndex {
    pub(super) fn new(ownership: Ownership) -> Self {
        Self {
            ownership,
            claims: BTreeMap::new(),
            ingresses: BTreeMap::new(),
            secrets: BTreeMap::new(),
            speakers: BTreeMap::new(),
            siblings: BTreeMap::new(),
            users: BTreeMap::new(),
            findings: BTreeMap::new(),
            claimed: BTreeSet::new(),
            claimed_changed: false,
            dirty_hosts: BTreeSet::new(),
            dirty_objects: BTreeSet::new(),
        }
    }

    pub(super) fn put_route(&mut self, route: &Route) {
        self.set_claims(route_claims(route));
    }

    pub(super) fn put_ingress(&mut self, ingress: Ingress, served: bool) {
        let key = ingress.metadata.key(Kind::Ingress);
        if served {
            self.set_claims(ingress_claims(&ingress));
        } else {
            self.remove_object(&key);
        }
        self.ingresses.insert(key, ingress);
    }

    pub(super) fn remove_ingress(&mut self, key: &ObjectKey) {
        self.ingresses.remove(key);
        self.remove_object(key);
    }

    pub(super) fn remove_object(&mut self, key: &ObjectKey) {
        let Some(claims) = self.claims.remove(key) else {
            return;
        };
        for pattern in patterns(&claims) {
            if let Some(speakers) = self.speakers.get_mut(&pattern) {
                speakers.remove(key);
                if speakers.is_empty() {
                    self.speakers.remove(&pattern);
                    if let Some(parent) = pattern.parent()
                        && let Some(siblings) = self.siblings.get_mut(parent)
                    {
                        siblings.remove(&pattern);
                        if siblings.is_empty() {
                            self.siblings.remove(parent);
                        }
                    }
                }
            }
            self.touch(&pattern);
        }
        for (secret, pattern) in used_secrets(&claims) {
            // Another object of the namespace may use the same Secret for the same host; looking it up twice is harmless,
            // so the entry stays until no host of it is left.
            if let Some(users) = self.users.get_mut(&secret)
                && !self.speakers.contains_key(&pattern)
            {
                users.remove(&pattern);
                if users.is_empty() {
                    self.users.remove(&secret);
                }
            }
        }
        self.findings.remove(key);
        self.dirty_objects.insert(key.clone());
    }

    pub(super) fn put_secret(&mut self, secret: &Secret) {
        let key = secret.metadata.key(Kind::Secret);
        if secret.kind != TLS_SECRET {
            self.remove_secret(&key);
            return;
        }
        let material = TlsSecret::new(secret);
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

    pub(super) fn keys(&self, kind: Kind) -> Vec<ObjectKey> {
        match kind {
            Kind::Secret => self.secrets.keys().cloned().collect(),
            Kind::Ingress => self.ingresses.keys().cloned().collect(),
            _ => self.claims.keys().filter(|key| key.kind == kind).cloned().collect(),
        }
    }

    pub(super) fn ingresses(&self) -> Vec<Ingress> {
        self.ingresses.values().cloned().collect()
    }

    /// The hosts of [`super::Snapshot::claimed`], if they changed since the last call; to be asked after [`Self::publish`].
    pub(super) fn publish_claimed(&mut self) -> Option<Arc<BTreeSet<HostPattern>>> {
        std::mem::take(&mut self.claimed_changed).then(|| Arc::new(self.claimed.clone()))
    }

    /// The new table and verdicts, if any host or object changed.
    pub(super) fn publish(
        &mut self,
        table: &RouteTable,
        verdicts: &Verdicts,
    ) -> Option<(Arc<RouteTable>, Arc<Verdicts>)> {
        if self.dirty_hosts.is_empty() && self.dirty_objects.is_empty() {
            return None;
        }
        let mut table = table.clone();
        let dirty = std::mem::take(&mut self.dirty_hosts);
        let mut done: BTreeSet<HostPattern> = BTreeSet::new();
        for pattern in dirty {
            if done.contains(&pattern) {
                continue;
            }
            let group = self.group(&pattern);
            self.compile(&group, &mut table);
            done.extend(group);
        }
        let mut verdicts = verdicts.clone();
        for key in std::mem::take(&mut self.dirty_objects) {
            match self.claims.get(&key) {
                Some(claims) => drop(verdicts.insert(key.clone(), Arc::new(self.verdict(claims)))),
                None => drop(verdicts.remove(&key)),
            }
        }
        Some((Arc::new(table), Arc::new(verdicts)))
    }

    fn set_claims(&mut self, claims: Claims) {
        let key = claims.object.clone();
        // A status update, or any other change that asks for the same, costs nothing.
        if self.claims.get(&key).is_some_and(|known| **known == claims) {
            return;
        }
        self.remove_object(&key);
        for pattern in patterns(&claims) {
            self.speakers.entry(pattern.clone()).or_default().insert(key.clone());
            if let Some(parent) = pattern.parent() {
                self.siblings.entry(parent.into()).or_default().insert(pattern.clone());
            }
            self.touch(&pattern);
        }
        for (secret, pattern) in used_secrets(&claims) {
            self.users.entry(secret).or_default().insert(pattern);
        }
        self.dirty_objects.insert(key.clone());
        self.claims.insert(key, Arc::new(claims));
    }

    fn touch(&mut self, pattern: &HostPattern) {
        if concerns_siblings(pattern)
            && let Some(siblings) = pattern.parent().and_then(|parent| self.siblings.get(parent))
        {
            self.dirty_hosts.extend(siblings.iter().cloned());
        }
        self.dirty_hosts.insert(pattern.clone());
    }

    fn touch_users(&mut self, secret: &ObjectKey) {
        for pattern in self.users.get(secret).cloned().unwrap_or_default() {
            self.touch(&pattern);
        }
    }

    /// The hosts that must be decided together with this one.
    fn group(&self, pattern: &HostPattern) -> BTreeSet<HostPattern> {
        let siblings = pattern.parent().and_then(|parent| self.siblings.get(parent));
        match siblings {
            Some(siblings) if siblings.iter().any(concerns_siblings) => {
                siblings.iter().cloned().chain([pattern.clone()]).collect()
            }
            _ => [pattern.clone()].into(),
        }
    }

    fn compile(&mut self, group: &BTreeSet<HostPattern>, table: &mut RouteTable) {
        let speakers: BTreeSet<&ObjectKey> = group.iter().filter_map(|p| self.speakers.get(p)).flatten().collect();
        let claims: Vec<Arc<Claims>> =
            speakers.iter().filter_map(|key| self.claims.get(*key)).map(Arc::clone).collect();
        let secrets = |namespace: &str, name: &str| {
            self.secrets.get(&ObjectKey::new(Kind::Secret, namespace, name)).map(Arc::clone)
        };
        let mut compiled = compile_group(&|pattern| group.contains(pattern), &claims, self.ownership, &secrets);
        for pattern in group {
            let next = compiled.hosts.remove(pattern);
            if table.host(pattern).map(|host| &**host) != next.as_ref() {
                table.set(pattern, next.map(Arc::new));
            }
        }
        for pattern in group {
            let claimed = claims.iter().any(|object| claims_host(object, pattern, &compiled.rejected));
            self.claimed_changed |=
                if claimed { self.claimed.insert(pattern.clone()) } else { self.claimed.remove(pattern) };
        }
        for object in &claims {
            self.record(object, group, &mut compiled.rejected, &mut compiled.problems);
        }
    }

    /// Keeps what was wrong with an object's parts for the hosts of a group, in place of what was known of them.
    fn record(
        &mut self,
        claims: &Claims,
        group: &BTreeSet<HostPattern>,
        rejected: &mut BTreeMap<ObjectKey, Vec<(usize, Problem)>>,
        problems: &mut BTreeMap<ObjectKey, Vec<Problem>>,
    ) {
        let mut next: BTreeMap<HostPattern, Findings> = BTreeMap::new();
        for (place, problem) in rejected.remove(&claims.object).unwrap_or_default() {
            let pattern = claims.rules[place].route.pattern.clone();
            next.entry(pattern).or_default().rejected.push((place, problem));
        }
        for problem in problems.remove(&claims.object).unwrap_or_default() {
            let of = claims.certificates.iter().find(|c| c.field == problem.field && group.contains(&c.pattern));
            if let Some(certificate) = of {
                next.entry(certificate.pattern.clone()).or_default().certificates.push(problem);
            }
        }
        let known = self.findings.entry(claims.object.clone()).or_default();
        let before: Vec<_> = known.extract_if(.., |pattern, _| group.contains(pattern)).collect();
        let changed = before.len() != next.len() || before.iter().any(|(pattern, old)| next.get(pattern) != Some(old));
        known.extend(next);
        if changed {
            self.dirty_objects.insert(claims.object.clone());
        }
    }

    fn verdict(&self, claims: &Claims) -> Verdict {
        let (mut rejected, mut certificates) = (Vec::new(), Vec::new());
        for findings in self.findings.get(&claims.object).into_iter().flat_map(BTreeMap::values) {
            rejected.extend(findings.rejected.iter().cloned());
            certificates.extend(findings.certificates.iter().cloned());
        }
        rejected.sort();
        verdict(claims, &rejected, &certificates)
    }
}

/// Whether an object asks for a host and has not lost every rule for it to an older claim.
fn claims_host(claims: &Claims, pattern: &HostPattern, rejected: &BTreeMap<ObjectKey, Vec<(usize, Problem)>>) -> bool {
    let lost = |place: usize| {
        let problems = rejected.get(&claims.object).into_iter().flatten();
        problems.clone().any(|(at, problem)| *at == place && problem.reason == Reason::HostAlreadyClaimed)
    };
    let mut rules = claims.rules.iter().enumerate().filter(|(_, rule)| rule.route.pattern == *pattern).peekable();
    claims.hosts.contains(pattern) && (rules.peek().is_none() || rules.any(|(place, _)| !lost(place)))
}

fn patterns(claims: &Claims) -> BTreeSet<HostPattern> {
    claims
        .hosts
        .iter()
        .cloned()
        .chain(claims.certificates.iter().map(|certificate| certificate.pattern.clone()))
        .collect()
}

fn used_secrets(claims: &Claims) -> Vec<(ObjectKey, HostPattern)> {
    let secret = |name: &str| ObjectKey::new(Kind::Secret, &claims.object.namespace, name);
    let external = claims.rules.iter().filter_map(|rule| match &rule.certificate {
        ClaimedCertificate::External { secret: name } => Some((secret(name), rule.route.pattern.clone())),
        _ => None,
    });
    external.chain(claims.certificates.iter().map(|c| (secret(&c.secret), c.pattern.clone()))).collect()
}

/// The type of Secret that holds a certificate and a key.
const TLS_SECRET: &str = "kubernetes.io/tls";
