//! Route, as the API server of OpenShift refuses it (`library-go` route validation and the CRD's rules).

use super::super::error::Cause;
use super::super::object::{at, items, text};
use super::has;
use super::names::{is_label, is_subdomain};
use serde_json::{Value, json};

/// The faults of a Route.
pub(super) fn route(object: &Value, before: Option<&Value>) -> Vec<Cause> {
    let mut causes = Vec::new();
    let host = text(object, "spec.host");
    let lenient = object
        .pointer("/metadata/annotations/route.openshift.io~1allow-non-dns-compliant-host")
        .and_then(Value::as_str)
        == Some("true");
    if !host.is_empty() && (!is_subdomain(host) || (!lenient && !host.split('.').all(is_label))) {
        causes.push(Cause::invalid("spec.host", &json!(host), "host must conform to DNS naming conventions"));
    }
    let subdomain = text(object, "spec.subdomain");
    if !subdomain.is_empty() && (!is_subdomain(subdomain) || !subdomain.split('.').all(is_label)) {
        causes.push(Cause::invalid(
            "spec.subdomain",
            &json!(subdomain),
            "subdomain must conform to DNS naming conventions",
        ));
    }
    match text(object, "spec.wildcardPolicy") {
        "" | "None" => {}
        "Subdomain" if host.is_empty() => {
            causes.push(Cause::required("spec.host", "host name not specified for wildcard policy"));
        }
        "Subdomain" => {}
        other => causes.push(Cause::unsupported("spec.wildcardPolicy", &json!(other), &["None", "Subdomain"])),
    }
    match at(object, "spec.to") {
        Some(to) => backend(to, "spec.to", &mut causes),
        None => causes.push(Cause::required("spec.to", "")),
    }
    let alternates = items(object, "spec.alternateBackends");
    if alternates.len() > 3 {
        causes.push(Cause::forbidden("spec.alternateBackends", "cannot specify more than 3 alternate backends"));
    }
    for (index, alternate) in alternates.iter().enumerate() {
        backend(alternate, &format!("spec.alternateBackends[{index}]"), &mut causes);
    }
    if let Some(port) = at(object, "spec.port") {
        let target = at(port, "targetPort");
        if target.is_none_or(|target| target.as_i64() == Some(0) || target.as_str() == Some("")) {
            causes.push(Cause::required("spec.port.targetPort", ""));
        }
    }
    path(object, before, &mut causes);
    tls(object, &mut causes);
    let passthrough = text(object, "spec.tls.termination") == "passthrough";
    if passthrough && at(object, "spec.httpHeaders").is_some() {
        causes.push(Cause::forbidden(
            "spec.httpHeaders",
            "header actions are not permitted when tls termination is passthrough",
        ));
    }
    causes
}

fn backend(backend: &Value, field: &str, causes: &mut Vec<Cause>) {
    if text(backend, "kind") != "Service" {
        causes.push(Cause::unsupported(format!("{field}.kind"), &json!(text(backend, "kind")), &["Service"]));
    }
    if !has(backend, "name") {
        causes.push(Cause::required(format!("{field}.name"), ""));
    }
    if let Some(weight) = at(backend, "weight")
        && !weight.as_i64().is_some_and(|weight| (0..=256).contains(&weight))
    {
        causes.push(Cause::invalid(format!("{field}.weight"), weight, "weight must be an integer between 0 and 256"));
    }
}

fn path(object: &Value, before: Option<&Value>, causes: &mut Vec<Cause>) {
    let path = text(object, "spec.path");
    if path.is_empty() {
        return;
    }
    if text(object, "spec.tls.termination") == "passthrough" {
        causes.push(Cause::invalid("spec.path", &json!(path), "passthrough termination does not support paths"));
    }
    if !path.starts_with('/') {
        causes.push(Cause::invalid("spec.path", &json!(path), "path must begin with /"));
    }
    let unchanged = before.is_some_and(|before| text(before, "spec.path") == path);
    if !unchanged && path.contains([' ', '#']) {
        causes.push(Cause::invalid("spec.path", &json!(path), "path cannot contain a blank or #"));
    }
}

fn tls(object: &Value, causes: &mut Vec<Cause>) {
    let Some(tls) = at(object, "spec.tls") else { return };
    let termination = text(tls, "termination");
    let forbid = |fields: &[&str], causes: &mut Vec<Cause>| {
        for &field in fields {
            if has(tls, field) || (field == "externalCertificate" && at(tls, field).is_some()) {
                causes.push(Cause::invalid(
                    format!("spec.tls.{field}"),
                    &json!("redacted"),
                    &format!("{termination} termination does not support it"),
                ));
            }
        }
    };
    match termination {
        "edge" => forbid(&["destinationCACertificate"], causes),
        "reencrypt" => {}
        "passthrough" => {
            forbid(&["certificate", "key", "caCertificate", "destinationCACertificate", "externalCertificate"], causes);
        }
        other => causes.push(Cause::unsupported(
            "spec.tls.termination",
            &json!(other),
            &["edge", "passthrough", "reencrypt"],
        )),
    }
    if has(tls, "certificate") && at(tls, "externalCertificate").is_some() {
        causes.push(Cause::invalid(
            "spec.tls.externalCertificate",
            &json!("redacted"),
            "cannot specify both certificate and externalCertificate",
        ));
    }
    match text(tls, "insecureEdgeTerminationPolicy") {
        "" | "None" | "Redirect" => {}
        "Allow" if termination != "passthrough" => {}
        other => causes.push(Cause::invalid(
            "spec.tls.insecureEdgeTerminationPolicy",
            &json!(other),
            "invalid value for InsecureEdgeTerminationPolicy option",
        )),
    }
}
