//! What a client sees of TLS: the rule that answers, the objects and the time flow in; where the certificate stands, for
//! which names it is and how long it is valid flow out.

use super::explanation::{Certificate, Tls};
use super::rules::termination;
use nearside_routing::admission::AdmissionRules;
use nearside_routing::certificate::{CertificateNames, KeyPair, Validity};
use nearside_routing::claim::{ClaimedCertificate, Claims, ingress_claims, route_claims};
use nearside_routing::known_secret::KnownSecret;
use nearside_routing::table::{CompiledRoute, InsecurePolicy, Termination};
use nearside_routing::{HostPattern, Hostname, Kind, NodeId, Object, ObjectKey, Snapshot};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// What is known beside the snapshot.
pub(super) struct Material<'m> {
    pub(super) objects: &'m BTreeMap<ObjectKey, Object>,
    pub(super) rules: &'m AdmissionRules,
    /// The leaf of the default certificate of the proxies, where it is given.
    pub(super) default: Option<&'m KnownLeaf>,
    /// Seconds since 1970.
    pub(super) now: i64,
}

/// What is read of a certificate.
#[derive(Debug)]
pub(super) struct KnownLeaf {
    pub(super) names: CertificateNames,
    pub(super) validity: Option<Validity>,
}

impl KnownLeaf {
    /// The certificate in a PEM file.
    ///
    /// # Errors
    /// The file and what is wrong with it.
    pub(super) fn read(path: &Path) -> Result<Self, String> {
        let failed = |error: String| format!("--default-cert: {}: {error}", path.display());
        let pem = std::fs::read(path).map_err(|error| failed(error.to_string()))?;
        let chain = nearside_routing::certificate::read_leaf(&pem).map_err(|error| failed(error.to_string()))?;
        Ok(Self { names: CertificateNames::of(&chain), validity: Validity::of(&chain) })
    }

    fn of(pair: &KeyPair) -> Self {
        let leaf = pair.chain().first();
        Self { names: leaf.map(CertificateNames::of).unwrap_or_default(), validity: leaf.and_then(Validity::of) }
    }
}

/// Of a host, and of the rule that answers there if one does.
pub(super) fn tls(snapshot: &Snapshot, host: &str, rule: Option<&CompiledRoute>, material: &Material<'_>) -> Tls {
    let plain_http = match rule {
        None => "not answered".to_owned(),
        Some(rule) if rule.termination == Termination::None => "answered".to_owned(),
        Some(rule) => match rule.insecure {
            InsecurePolicy::None => "not answered".to_owned(),
            InsecurePolicy::Allow => "answered as over TLS".to_owned(),
            InsecurePolicy::Redirect => format!("redirected to https with {}", rule.https_redirect_status()),
        },
    };
    let passes = rule.is_some_and(|rule| rule.termination == Termination::Passthrough);
    Tls {
        termination: rule.map_or("none", termination),
        plain_http,
        certificate: (!passes).then(|| certificate(snapshot, host, material)),
    }
}

fn certificate(snapshot: &Snapshot, host: &str, material: &Material<'_>) -> Certificate {
    let own = snapshot.routes.certificate(host).map(|pair| (source(snapshot, pair, material), KnownLeaf::of(pair)));
    let (source, leaf) = match &own {
        Some((source, leaf)) => (source.clone(), Some(leaf)),
        None => ("the default certificate of the proxies".to_owned(), material.default),
    };
    let alias = Hostname::parse(host).ok().and_then(|host| NodeId::of("any node").alias(&host));
    let validity = leaf.and_then(|leaf| leaf.validity);
    let covers_host = leaf.map(|leaf| leaf.names.cover(host));
    let mut complaints = Vec::new();
    if covers_host == Some(false) {
        complaints.push(format!("it is not for {host}: clients that look will refuse it"));
    }
    if let Some(validity) = validity {
        complaints.extend(complaint(validity, material.now));
    }
    Certificate {
        source,
        names: leaf.map(|leaf| leaf.names.iter().map(ToOwned::to_owned).collect()),
        not_before: validity.map(|validity| time(validity.not_before)),
        not_after: validity.map(|validity| time(validity.not_after)),
        covers_host,
        covers_aliases: leaf.zip(alias).map(|(leaf, alias)| leaf.names.cover(alias.as_str())),
        complaints,
    }
}

/// What is wrong with the time of a certificate.
pub(crate) fn complaint(validity: Validity, now: i64) -> Option<String> {
    match validity {
        Validity { not_after, .. } if not_after < now => Some(format!("it has expired on {}", time(not_after))),
        Validity { not_before, .. } if not_before > now => Some(format!("it is valid only from {}", time(not_before))),
        Validity { not_after, .. } if not_after - now < SOON => {
            Some(format!("it expires in {} days", (not_after - now) / DAY))
        }
        _ => None,
    }
}

/// Seconds until a certificate expires; below 0 where it is not valid.
pub(crate) fn time_left(validity: Validity, now: i64) -> i64 {
    if validity.not_before > now { -1 } else { validity.not_after - now }
}

/// RFC 3339.
fn time(seconds: i64) -> String {
    let time = k8s_openapi::jiff::Timestamp::from_second(seconds);
    time.map(|time| time.to_string()).unwrap_or_else(|_| seconds.to_string())
}

/// Where a certificate stands: the first object of its hosts that brings this one.
fn source(snapshot: &Snapshot, pair: &Arc<KeyPair>, material: &Material<'_>) -> String {
    let hosts = snapshot.routes.hosts().filter(|host| host.certificates().any(|known| Arc::ptr_eq(known, pair)));
    let sources = hosts.flat_map(|host| host.routes.iter().map(|route| (&host.pattern, &route.source)));
    for (pattern, object) in sources {
        let claims = match material.objects.get(object) {
            Some(Object::Route(route)) => route_claims(route, material.rules),
            Some(Object::Ingress(ingress)) => ingress_claims(ingress, &material.rules.hosts),
            _ => continue,
        };
        if let Some(found) = brought(&claims, pattern, pair, material.objects) {
            return found;
        }
    }
    "an object of the host".to_owned()
}

fn brought(
    claims: &Claims,
    pattern: &HostPattern,
    pair: &KeyPair,
    objects: &BTreeMap<ObjectKey, Object>,
) -> Option<String> {
    let object = &claims.object;
    let is_of = |secret: &str| {
        let key = ObjectKey::new(Kind::Secret, &object.namespace, secret);
        let known = match objects.get(&key) {
            Some(Object::Secret(secret)) => KnownSecret::of(secret),
            _ => None,
        };
        known.is_some_and(|known| known.pair.is_ok_and(|known| known.fingerprint() == pair.fingerprint()))
    };
    let by_rule =
        claims.rules.iter().filter(|rule| rule.route.pattern == *pattern).find_map(|rule| match &rule.certificate {
            ClaimedCertificate::Inline(own) if own.fingerprint() == pair.fingerprint() => {
                Some(format!("spec.tls.certificate of {object}"))
            }
            ClaimedCertificate::External { secret } if is_of(secret) => {
                Some(format!("Secret {}/{secret}, named by {object}", object.namespace))
            }
            _ => None,
        });
    by_rule.or_else(|| {
        let named =
            claims.certificates.iter().filter(|claim| claim.pattern == *pattern).find(|claim| is_of(&claim.secret));
        named.map(|claim| format!("Secret {}/{}, named by {object} ({})", object.namespace, claim.secret, claim.field))
    })
}

const DAY: i64 = 86_400;
/// Before a certificate expires, it is told.
const SOON: i64 = 14 * DAY;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_told_before_it_expires_and_after() {
        let validity = Validity { not_before: 1000 * DAY, not_after: 1100 * DAY };
        let told = |day: i64| complaint(validity, day * DAY);
        assert_eq!(told(1050), None);
        assert_eq!(told(1090), Some("it expires in 10 days".into()));
        assert!(told(1101).unwrap().contains("expired on 1973-01-05"), "{:?}", told(1101));
        assert!(told(999).unwrap().contains("only from"));
    }
}
