//! The Route kind for clusters without OpenShift: its definition fills in and refuses what the API server of OpenShift does, and
//! shows what that shows.

#![allow(clippy::unwrap_used)]

use nearside_loadtest::api::{ApiServer, Options, structural};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::cell::Cell;
use std::sync::LazyLock;

/// The version of the definition.
static VERSION: LazyLock<Value> = LazyLock::new(|| {
    let definition: Value = serde_saphyr::from_str(include_str!("../../../deploy/manifests/crd-route.yaml")).unwrap();
    definition["spec"]["versions"][0].clone()
});

/// The schema of a Route's specification.
fn specification() -> &'static Value {
    &VERSION["schema"]["openAPIV3Schema"]["properties"]["spec"]
}

/// The first fault of the specification of a Route, or the specification with its defaults.
fn judged(spec: &Value) -> Result<Value, String> {
    let mut spec = spec.clone();
    structural::fill(specification(), &mut spec);
    match structural::fault(specification(), &spec, None, "spec") {
        Some(fault) => Err(fault.to_string()),
        None => Ok(spec),
    }
}

/// A Route to `web` with more fields in its specification.
fn spec(more: Value) -> Value {
    let mut spec = json!({ "host": "a.example.com", "to": { "kind": "Service", "name": "web" } });
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    spec
}

#[test]
fn every_rule_is_understood_here() {
    assert_eq!(structural::rules_not_understood(specification()), Vec::<String>::new());
}

#[test]
fn what_is_left_out_is_filled_in() {
    let filled = judged(&json!({ "to": { "name": "web" }, "alternateBackends": [{ "name": "b" }] })).unwrap();
    assert_eq!(filled["to"], json!({ "kind": "Service", "name": "web", "weight": 100 }));
    assert_eq!(filled["alternateBackends"][0], json!({ "kind": "Service", "name": "b", "weight": 100 }));
    assert_eq!(filled["wildcardPolicy"], "None");
}

#[test]
fn what_cannot_be_meant_is_refused_by_its_field() {
    let tls = |more: Value| spec(json!({ "tls": more }));
    let action = |action: Value| spec(json!({ "httpHeaders": { "actions": { "request": [action] } } }));
    let set = |name: &str| action(json!({ "name": name, "action": { "type": "Set", "set": { "value": "v" } } }));
    let many = |count: usize| -> Vec<Value> {
        (0..count).map(|number| json!({ "name": format!("x-{number}"), "action": { "type": "Delete" } })).collect()
    };
    for (spec, expected) in [
        (spec(json!({})), None),
        (spec(json!({ "host": "" })), None),
        (spec(json!({ "host": "A.example.com" })), Some("spec.host")),
        (spec(json!({ "host": format!("{}.example.com", "a".repeat(64)) })), Some("spec.host")),
        (spec(json!({ "subdomain": "a_b" })), Some("spec.subdomain")),
        (spec(json!({ "path": "a" })), Some("spec.path")),
        (spec(json!({ "path": "/a b" })), Some("spec.path")),
        (spec(json!({ "path": "/a#b" })), Some("spec.path")),
        (spec(json!({ "to": { "kind": "Pod", "name": "web" } })), Some("spec.to.kind")),
        (spec(json!({ "to": { "name": "" } })), Some("spec.to.name")),
        (spec(json!({ "to": { "name": "web", "weight": 257 } })), Some("spec.to.weight")),
        (
            spec(json!({ "alternateBackends": [{"name": "a"}, {"name": "b"}, {"name": "c"}, {"name": "d"}] })),
            Some("spec.alternateBackends"),
        ),
        (spec(json!({ "alternateBackends": [{"name": "a"}, {"name": "a"}] })), Some("spec.alternateBackends")),
        (spec(json!({ "port": { "targetPort": "http" } })), None),
        (spec(json!({ "port": { "targetPort": 0 } })), Some("spec.port.targetPort")),
        (spec(json!({ "port": { "targetPort": "" } })), Some("spec.port.targetPort")),
        (spec(json!({ "wildcardPolicy": "Subdomain" })), None),
        (spec(json!({ "host": "", "wildcardPolicy": "Subdomain" })), Some("spec: wildcardPolicy")),
        (spec(json!({ "wildcardPolicy": "All" })), Some("spec.wildcardPolicy")),
        (tls(json!({})), Some("spec.tls.termination")),
        (tls(json!({ "termination": "edge", "insecureEdgeTerminationPolicy": "Allow" })), None),
        (tls(json!({ "termination": "edge", "destinationCACertificate": "x" })), Some("spec.tls: edge")),
        (
            tls(json!({ "termination": "edge", "certificate": "x", "externalCertificate": { "name": "s" } })),
            Some("spec.tls: certificate"),
        ),
        (
            tls(json!({ "termination": "passthrough", "insecureEdgeTerminationPolicy": "Allow" })),
            Some("spec.tls: insecure"),
        ),
        (
            tls(json!({ "termination": "passthrough", "externalCertificate": { "name": "s" } })),
            Some("spec.tls: passthrough"),
        ),
        (spec(json!({ "path": "/a", "tls": { "termination": "passthrough" } })), Some("spec: passthrough")),
        (spec(json!({ "httpHeaders": {}, "tls": { "termination": "passthrough" } })), Some("spec: header actions")),
        (set("x-a"), None),
        (set("Set-Cookie"), Some("spec.httpHeaders.actions.request[0].name")),
        (set("a b"), Some("spec.httpHeaders.actions.request[0].name")),
        (
            action(json!({ "name": "x-a", "action": { "type": "Set" } })),
            Some("spec.httpHeaders.actions.request[0].action"),
        ),
        (
            action(json!({ "name": "x-a", "action": { "type": "Add" } })),
            Some("spec.httpHeaders.actions.request[0].action.type"),
        ),
        (spec(json!({ "httpHeaders": { "actions": { "response": many(20) } } })), None),
        (
            spec(json!({ "httpHeaders": { "actions": { "response": many(21) } } })),
            Some("spec.httpHeaders.actions.response"),
        ),
    ] {
        let found = judged(&spec).err();
        match expected {
            Some(expected) => {
                assert!(found.as_ref().is_some_and(|found| found.starts_with(expected)), "{spec}: {found:?}")
            }
            None => assert_eq!(found, None, "{spec}"),
        }
    }
}

#[test]
fn a_policy_for_wildcards_cannot_change() {
    let rules = specification()["x-kubernetes-validations"].as_array().unwrap();
    let rule = rules.iter().find(|rule| rule["message"] == "wildcardPolicy is immutable").unwrap();
    assert!(rule["rule"].as_str().unwrap().contains("self.wildcardPolicy == oldSelf.wildcardPolicy"));
}

/// Columns and selectable fields of `oc get routes`.
#[test]
fn columns_and_field_selectors_are_those_of_openshift() {
    let version = &*VERSION;
    let columns: Vec<(&str, &str)> = version["additionalPrinterColumns"]
        .as_array()
        .unwrap()
        .iter()
        .map(|column| (column["name"].as_str().unwrap(), column["jsonPath"].as_str().unwrap()))
        .collect();
    assert_eq!(
        columns[..4],
        [
            ("Host", ".status.ingress[0].host"),
            ("Admitted", r#".status.ingress[0].conditions[?(@.type=="Admitted")].status"#),
            ("Service", ".spec.to.name"),
            ("TLS", ".spec.tls.termination"),
        ]
    );
    let fields: Vec<&str> = version["selectableFields"]
        .as_array()
        .unwrap()
        .iter()
        .map(|field| field["jsonPath"].as_str().unwrap())
        .collect();
    assert_eq!(fields, [".spec.host", ".spec.path", ".spec.to.name"]);
    // With it, the server counts changes of the specification in metadata.generation, and not those of the status.
    assert!(version["subresources"]["status"].is_object());
}

fn any_of(values: &[Value]) -> impl Strategy<Value = Option<Value>> + use<> {
    prop::option::of(prop::sample::select(values.to_vec()))
}

fn any_spec() -> impl Strategy<Value = Value> {
    let tls = (
        prop::sample::select(vec!["edge", "reencrypt", "passthrough", "other"]),
        any_of(&[json!(""), json!("None"), json!("Allow"), json!("Redirect"), json!("allow")]),
        any_of(&[json!(""), json!("pem")]),
        any_of(&[json!("pem")]),
        any_of(&[json!({ "name": "secret" })]),
    )
        .prop_map(|(termination, insecure, certificate, destination, external)| {
            let mut tls = json!({ "termination": termination });
            let parts = [
                ("insecureEdgeTerminationPolicy", insecure),
                ("certificate", certificate),
                ("destinationCACertificate", destination),
                ("externalCertificate", external),
            ];
            for (name, value) in parts.into_iter().filter_map(|(name, value)| Some((name, value?))) {
                tls[name] = value;
            }
            tls
        });
    (
        any_of(&[json!("a.example.com"), json!("A.b"), json!("-a.b"), json!("a_b.c"), json!("a..b")]),
        any_of(&[json!("/"), json!("/a"), json!("a"), json!("/a b"), json!("/a#"), json!("")]),
        any_of(&[json!("None"), json!("Subdomain"), json!(""), json!("Any")]),
        prop::sample::select(vec![0, 256, 257, -1]),
        any_of(&[json!(80), json!("http"), json!(0), json!("")]),
        prop::option::of(tls),
    )
        .prop_map(|(host, path, policy, weight, port, tls)| {
            let mut spec = json!({ "to": { "kind": "Service", "name": "web", "weight": weight } });
            let port = port.map(|port| json!({ "targetPort": port }));
            let parts = [("host", host), ("path", path), ("wildcardPolicy", policy), ("port", port), ("tls", tls)];
            for (name, value) in parts.into_iter().filter_map(|(name, value)| Some((name, value?))) {
                spec[name] = value;
            }
            spec
        })
}

/// The lab's API server refuses as OpenShift's does; the definition must, too.
#[test]
fn the_definition_refuses_what_openshift_refuses() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let api = runtime.block_on(ApiServer::start(Options::default())).unwrap();
    let number = Cell::new(0);
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(500));
    let compared = runner.run(&any_spec(), |spec| {
        number.set(number.get() + 1);
        let metadata = json!({ "namespace": "default", "name": format!("route-{}", number.get()) });
        let route = json!({
            "apiVersion": "route.openshift.io/v1", "kind": "Route", "metadata": metadata, "spec": spec,
        });
        let (ours, theirs) = (judged(&spec), api.seed(route));
        prop_assert_eq!(ours.is_ok(), theirs.is_ok(), "{}: {:?} {:?}", spec, ours, theirs.err());
        Ok(())
    });
    compared.unwrap();
}
