//! Ingress and IngressClass, as `pkg/apis/networking/validation` of Kubernetes refuses them.

use super::super::error::Cause;
use super::super::object::{at, items, text};
use super::has;
use super::names::{is_label, is_qualified, is_subdomain, is_wildcard};
use serde_json::{Value, json};
use std::net::IpAddr;

/// The faults of an Ingress; some rules hold on create only.
pub(super) fn ingress(object: &Value, is_create: bool) -> Vec<Cause> {
    let mut causes = Vec::new();
    let rules = items(object, "spec.rules");
    let default_backend = at(object, "spec.defaultBackend");
    if rules.is_empty() && default_backend.is_none() {
        causes.push(Cause::invalid("spec", &json!([]), "either `defaultBackend` or `rules` must be specified"));
    }
    if let Some(backend) = default_backend {
        self::backend(backend, "spec.defaultBackend", &mut causes);
    }
    for (index, rule) in rules.iter().enumerate() {
        let field = format!("spec.rules[{index}]");
        host(text(rule, "host"), &format!("{field}.host"), &mut causes);
        if at(rule, "http").is_some() {
            let paths = items(rule, "http.paths");
            if paths.is_empty() {
                causes.push(Cause::required(format!("{field}.http.paths"), ""));
            }
            for (index, path) in paths.iter().enumerate() {
                self::path(path, &format!("{field}.http.paths[{index}]"), &mut causes);
            }
        }
    }
    for (index, tls) in items(object, "spec.tls").iter().enumerate() {
        for (number, name) in items(tls, "hosts").iter().enumerate() {
            host(name.as_str().unwrap_or_default(), &format!("spec.tls[{index}].hosts[{number}]"), &mut causes);
        }
        let secret = text(tls, "secretName");
        if !secret.is_empty() && !is_subdomain(secret) {
            causes.push(Cause::invalid(
                format!("spec.tls[{index}].secretName"),
                &json!(secret),
                "a lowercase RFC 1123 subdomain",
            ));
        }
    }
    let class = text(object, "spec.ingressClassName");
    if at(object, "spec.ingressClassName").is_some() && !is_subdomain(class) {
        causes.push(Cause::invalid("spec.ingressClassName", &json!(class), "a lowercase RFC 1123 subdomain"));
    }
    let annotation = object.pointer("/metadata/annotations/kubernetes.io~1ingress.class").and_then(Value::as_str);
    if is_create && !class.is_empty() && annotation.is_some_and(|annotation| annotation != class) {
        causes.push(Cause::invalid(
            "metadata.annotations.kubernetes.io/ingress.class",
            &json!(annotation),
            "must match `ingressClassName` when both are specified",
        ));
    }
    causes
}

/// The faults of `status.loadBalancer`.
pub(super) fn status(object: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    for (index, entry) in items(object, "status.loadBalancer.ingress").iter().enumerate() {
        let field = format!("status.loadBalancer.ingress[{index}]");
        let (ip, hostname) = (text(entry, "ip"), text(entry, "hostname"));
        if !ip.is_empty() && ip.parse::<IpAddr>().is_err() {
            causes.push(Cause::invalid(format!("{field}.ip"), &json!(ip), "must be a valid IP address"));
        }
        if !hostname.is_empty() && (!is_subdomain(hostname) || hostname.parse::<IpAddr>().is_ok()) {
            causes.push(Cause::invalid(
                format!("{field}.hostname"),
                &json!(hostname),
                "must be a DNS name, not an IP address",
            ));
        }
    }
    causes
}

/// The faults of an IngressClass.
pub(super) fn class(object: &Value) -> Vec<Cause> {
    let controller = text(object, "spec.controller");
    if controller.is_empty() {
        return vec![Cause::required("spec.controller", "")];
    }
    let is_path = controller.split_once('/').is_some_and(|(domain, path)| is_subdomain(domain) && !path.is_empty());
    if !is_path || controller.len() > 250 {
        return vec![Cause::invalid(
            "spec.controller",
            &json!(controller),
            "must be a domain-prefixed path (such as \"acme.io/foo\")",
        )];
    }
    Vec::new()
}

fn host(host: &str, field: &str, causes: &mut Vec<Cause>) {
    if host.is_empty() {
        return;
    }
    if host.parse::<IpAddr>().is_ok() {
        causes.push(Cause::invalid(field, &json!(host), "must be a DNS name, not an IP address"));
    } else if !(is_subdomain(host) || is_wildcard(host)) {
        causes.push(Cause::invalid(
            field,
            &json!(host),
            "a lowercase RFC 1123 subdomain or a wildcard DNS-1123 subdomain",
        ));
    }
}

fn path(entry: &Value, field: &str, causes: &mut Vec<Cause>) {
    let path = text(entry, "path");
    let at_path = format!("{field}.path");
    match text(entry, "pathType") {
        "" => causes.push(Cause::required(format!("{field}.pathType"), "pathType must be specified")),
        "Exact" | "Prefix" => {
            if !path.starts_with('/') {
                causes.push(Cause::invalid(at_path, &json!(path), "must be an absolute path"));
            } else if let Some(part) = INVALID_PARTS.iter().find(|&&part| path.contains(part)) {
                causes.push(Cause::invalid(at_path, &json!(path), &format!("must not contain '{part}'")));
            } else if let Some(end) = INVALID_ENDS.iter().find(|&&end| path.ends_with(end)) {
                causes.push(Cause::invalid(at_path, &json!(path), &format!("cannot end with '{end}'")));
            }
        }
        "ImplementationSpecific" => {
            if !path.is_empty() && !path.starts_with('/') {
                causes.push(Cause::invalid(at_path, &json!(path), "must be an absolute path"));
            }
        }
        other => causes.push(Cause::unsupported(
            format!("{field}.pathType"),
            &json!(other),
            &["Exact", "ImplementationSpecific", "Prefix"],
        )),
    }
    match at(entry, "backend") {
        Some(backend) => self::backend(backend, &format!("{field}.backend"), causes),
        None => causes.push(Cause::required(format!("{field}.backend"), "")),
    }
}

fn backend(backend: &Value, field: &str, causes: &mut Vec<Cause>) {
    match (at(backend, "service"), at(backend, "resource")) {
        (Some(_), Some(_)) => {
            causes.push(Cause::invalid(field, &json!(""), "cannot set both resource and service backends"));
        }
        (None, Some(resource)) => {
            for required in ["kind", "name"] {
                if !has(resource, required) {
                    causes.push(Cause::required(format!("{field}.resource.{required}"), ""));
                }
            }
        }
        (Some(service), None) => {
            if !is_label(text(service, "name")) {
                causes.push(Cause::invalid(
                    format!("{field}.service.name"),
                    &json!(text(service, "name")),
                    "a DNS-1035 label",
                ));
            }
            let (name, number) =
                (text(service, "port.name"), at(service, "port.number").and_then(Value::as_i64).unwrap_or(0));
            match (name.is_empty(), number) {
                (true, 0) => causes.push(Cause::required(field, "port name or number is required")),
                (false, 1..) => {
                    causes.push(Cause::invalid(field, &json!(name), "cannot set both port name & port number"))
                }
                (false, _) if name.len() > 15 || !is_qualified(name) => {
                    causes.push(Cause::invalid(
                        format!("{field}.service.port.name"),
                        &json!(name),
                        "must be no more than 15 characters",
                    ));
                }
                (true, number) if !(1..=65_535).contains(&number) => causes.push(Cause::invalid(
                    format!("{field}.service.port.number"),
                    &json!(number),
                    "must be between 1 and 65535, inclusive",
                )),
                _ => {}
            }
        }
        (None, None) => causes.push(Cause::required(field, "service or resource backend is required")),
    }
}

/// Not allowed anywhere in a path of type Exact or Prefix.
const INVALID_PARTS: &[&str] = &["//", "/./", "/../", "%2f", "%2F"];

/// Not allowed at the end of such a path.
const INVALID_ENDS: &[&str] = &["/..", "/."];
