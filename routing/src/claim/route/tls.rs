//! The TLS part of a Route: `spec.tls` flows in, where TLS ends and with which certificate flows out. What is wrong with it
//! keeps the Route from being served, and not from holding its host: whoever made the mistake keeps the name.

use crate::admission::CertificateRules;
use crate::certificate::{CertificateError, KeyPair, read_bundle};
use crate::claim::ClaimedCertificate;
use crate::object::RouteTls;
use crate::table::{InsecurePolicy, Termination};
use crate::verdict::{Problem, Reason, shown};
use std::sync::Arc;

/// What `spec.tls` asks for.
#[derive(Debug)]
pub(super) struct Tls {
    pub(super) termination: Termination,
    pub(super) insecure: InsecurePolicy,
    pub(super) certificate: ClaimedCertificate,
}

impl Tls {
    /// Reads `spec.tls`; absent means plain HTTP.
    pub(super) fn read(tls: Option<&RouteTls>, rules: CertificateRules) -> Self {
        let Some(tls) = tls else {
            return Self {
                termination: Termination::None,
                insecure: InsecurePolicy::Allow,
                certificate: ClaimedCertificate::Default,
            };
        };
        let mut problem = None;
        let termination = termination(tls).unwrap_or_else(|error| {
            problem = Some(error);
            Termination::Edge
        });
        let insecure = insecure(tls, &termination).unwrap_or_else(|error| {
            problem.get_or_insert(error);
            InsecurePolicy::None
        });
        let material = || match termination {
            Termination::Passthrough => without_material(tls),
            Termination::None | Termination::Edge | Termination::Reencrypt { .. } => certificate(tls, rules),
        };
        let certificate = problem.map_or_else(material, Err).unwrap_or_else(ClaimedCertificate::Unusable);
        Self { termination, insecure, certificate }
    }
}

fn termination(tls: &RouteTls) -> Result<Termination, Problem> {
    let has_ca = !tls.destination_ca_certificate.is_empty();
    match tls.termination.to_ascii_lowercase().as_str() {
        "edge" if has_ca => Err(refuse(DESTINATION_CA, "is possible with reencrypt only".into())),
        // The API's default: edge without a destination CA, reencrypt with one.
        "edge" => Ok(Termination::Edge),
        "" if !has_ca => Ok(Termination::Edge),
        "reencrypt" | "" => Ok(Termination::Reencrypt { destination_ca: destination_ca(tls)? }),
        "passthrough" => Ok(Termination::Passthrough),
        _ => {
            let message = format!("{:?} is not one of edge, reencrypt, passthrough", shown(&tls.termination));
            Err(refuse("spec.tls.termination", message))
        }
    }
}

fn insecure(tls: &RouteTls, termination: &Termination) -> Result<InsecurePolicy, Problem> {
    let refuse = |message: String| Err(refuse("spec.tls.insecureEdgeTerminationPolicy", message));
    match tls.insecure_edge_termination_policy.as_str() {
        "" | "None" => Ok(InsecurePolicy::None),
        "Allow" if *termination == Termination::Passthrough => {
            refuse("Allow is not possible with passthrough: the proxy holds no key".into())
        }
        "Allow" => Ok(InsecurePolicy::Allow),
        "Redirect" => Ok(InsecurePolicy::Redirect),
        other => refuse(format!("{:?} is not one of None, Allow, Redirect", shown(other))),
    }
}

fn destination_ca(tls: &RouteTls) -> Result<Option<Arc<str>>, Problem> {
    let pem = &tls.destination_ca_certificate;
    if pem.is_empty() {
        return Ok(None);
    }
    match read_bundle(pem.as_bytes()) {
        Ok(_) => Ok(Some(pem.as_str().into())),
        Err(error) => Err(refuse(DESTINATION_CA, error.to_string())),
    }
}

/// With passthrough the pod has the certificate; one in the Route would never be shown to anybody.
fn without_material(tls: &RouteTls) -> Result<ClaimedCertificate, Problem> {
    let fields = [
        ("spec.tls.certificate", &tls.certificate),
        ("spec.tls.key", &tls.key),
        ("spec.tls.caCertificate", &tls.ca_certificate),
        (DESTINATION_CA, &tls.destination_ca_certificate),
    ];
    let given = fields.iter().find(|(_, value)| !value.is_empty()).map(|(field, _)| *field);
    match given.or_else(|| tls.external_certificate.as_ref().map(|_| EXTERNAL)) {
        Some(field) => Err(refuse(field, "is not possible with passthrough".into())),
        None => Ok(ClaimedCertificate::Default),
    }
}

fn certificate(tls: &RouteTls, rules: CertificateRules) -> Result<ClaimedCertificate, Problem> {
    if let Some(secret) = &tls.external_certificate {
        if !tls.certificate.is_empty() {
            return Err(refuse(EXTERNAL, "excludes spec.tls.certificate".into()));
        }
        if !rules.external {
            return Err(refuse(EXTERNAL, "is not allowed by this router".into()));
        }
        return Ok(ClaimedCertificate::External { secret: secret.name.as_str().into() });
    }
    if tls.certificate.is_empty() && tls.key.is_empty() {
        return Ok(ClaimedCertificate::Default);
    }
    let (certificate, key) = (tls.certificate.as_bytes(), tls.key.as_bytes());
    let authority = tls.ca_certificate.as_bytes();
    let pair = match rules.extended_validation {
        true => KeyPair::with_authority(certificate, key, authority),
        false => KeyPair::without_validation(certificate, key, authority),
    };
    match pair {
        Ok(pair) => Ok(ClaimedCertificate::Inline(Arc::new(pair))),
        Err(error) => {
            let field = match error {
                CertificateError::Certificate(_) => "spec.tls.certificate",
                CertificateError::Authority(_) => "spec.tls.caCertificate",
                CertificateError::Key(_) => "spec.tls.key",
            };
            Err(refuse(field, error.to_string()))
        }
    }
}

fn refuse(field: &str, message: String) -> Problem {
    Problem::new(field, Reason::ExtendedValidationFailed, message)
}

const DESTINATION_CA: &str = "spec.tls.destinationCACertificate";
const EXTERNAL: &str = "spec.tls.externalCertificate";

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// The field at fault; `None` where the Route can be served as far as its TLS goes.
    fn fault(tls: Value) -> Option<String> {
        let tls: RouteTls = serde_json::from_value(tls).unwrap();
        match Tls::read(Some(&tls), CertificateRules::default()).certificate {
            ClaimedCertificate::Unusable(problem) => {
                assert_eq!(problem.reason, Reason::ExtendedValidationFailed);
                Some(problem.field.trim_start_matches("spec.tls.").to_owned())
            }
            _ => None,
        }
    }

    #[test]
    fn what_is_looked_at_depends_on_the_rules_of_the_router() {
        let make = || {
            let key = rcgen::KeyPair::generate().unwrap();
            let signed = rcgen::CertificateParams::new(vec!["a.example.com".to_owned()]).unwrap().self_signed(&key);
            (signed.unwrap().pem(), key.serialize_pem())
        };
        let ((pem, key), (other, _)) = (make(), make());
        let foreign = json!({ "termination": "edge", "certificate": pem, "key": key, "caCertificate": other });
        let no_key = json!({ "termination": "edge", "certificate": pem });
        let external = json!({ "termination": "edge", "externalCertificate": { "name": "s" } });
        for (rules, expected) in [
            (CertificateRules::default(), [true, true, false]),
            (CertificateRules { extended_validation: false, external: true }, [false, true, false]),
            (CertificateRules { extended_validation: true, external: false }, [true, true, true]),
        ] {
            let refused = [&foreign, &no_key, &external].map(|tls| {
                let tls: RouteTls = serde_json::from_value(tls.clone()).unwrap();
                matches!(Tls::read(Some(&tls), rules).certificate, ClaimedCertificate::Unusable(_))
            });
            assert_eq!(refused, expected, "{rules:?}");
        }
    }

    #[test]
    fn each_mistake_is_told_by_its_field() {
        let key = rcgen::KeyPair::generate().unwrap();
        let signed = rcgen::CertificateParams::new(vec!["a.example.com".to_owned()]).unwrap().self_signed(&key);
        let (pem, key) = (signed.unwrap().pem(), key.serialize_pem());
        let (pem, key) = (pem.as_str(), key.as_str());
        let cases = [
            (json!({ "termination": "Edge" }), None),
            (json!({ "termination": "edge", "certificate": pem, "key": key }), None),
            (json!({ "termination": "edge", "certificate": pem, "key": key, "caCertificate": pem }), None),
            (json!({ "destinationCACertificate": pem }), None),
            (json!({ "termination": "passthrough", "insecureEdgeTerminationPolicy": "Redirect" }), None),
            (json!({ "termination": "edge", "certificate": pem }), Some("key")),
            (json!({ "termination": "edge", "key": key }), Some("certificate")),
            (json!({ "termination": "edge", "certificate": pem, "key": pem }), Some("key")),
            (
                json!({ "termination": "edge", "certificate": pem, "key": key, "caCertificate": "x" }),
                Some("caCertificate"),
            ),
            (json!({ "termination": "edge", "destinationCACertificate": pem }), Some("destinationCACertificate")),
            (json!({ "termination": "reencrypt", "destinationCACertificate": "x" }), Some("destinationCACertificate")),
            (json!({ "termination": "both" }), Some("termination")),
            (
                json!({ "termination": "edge", "insecureEdgeTerminationPolicy": "allow" }),
                Some("insecureEdgeTerminationPolicy"),
            ),
            (
                json!({ "termination": "passthrough", "insecureEdgeTerminationPolicy": "Allow" }),
                Some("insecureEdgeTerminationPolicy"),
            ),
            (json!({ "termination": "passthrough", "certificate": pem }), Some("certificate")),
            (json!({ "termination": "passthrough", "key": key }), Some("key")),
            (
                json!({ "termination": "passthrough", "destinationCACertificate": pem }),
                Some("destinationCACertificate"),
            ),
            (
                json!({ "termination": "passthrough", "externalCertificate": { "name": "s" } }),
                Some("externalCertificate"),
            ),
            (
                json!({ "termination": "edge", "certificate": pem, "key": key, "externalCertificate": { "name": "s" } }),
                Some("externalCertificate"),
            ),
        ];
        for (tls, expected) in cases {
            assert_eq!(fault(tls.clone()).as_deref(), expected, "{tls}");
        }
    }
}
