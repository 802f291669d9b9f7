//! Whatever stands in a field of a Route or an Ingress: claims are made without a panic, what is wrong is told in few words,
//! and no other object notices.

use crate::admission::{AdmissionRules, HostRules};
use crate::claim::{Claims, ingress_claims, known_annotations, route_claims};
use crate::index::{Change, Index, IndexConfig};
use crate::object::{Kind, Object};
use crate::testing::{CLASS, objects, route};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::sync::LazyLock;

/// A Route that says something in every field that is read.
fn full_route() -> Value {
    let backend = json!({ "kind": "Service", "name": "web", "weight": 10 });
    let action = |name: &str| json!([{ "name": name, "action": { "type": "Set", "set": { "value": "%[req.hdr(host),lower]" } } }]);
    json!({
        "apiVersion": "route.openshift.io/v1", "kind": "Route",
        "metadata": {
            "namespace": "ns", "name": "any", "uid": "1", "creationTimestamp": "2026-01-01T00:00:00Z",
            "deletionTimestamp": null, "generation": 1, "labels": { "app": "web" }, "annotations": { "nearside.dev/on-miss": "reject" }
        },
        "spec": {
            "host": "any.test", "subdomain": "any", "path": "/path", "wildcardPolicy": "None", "to": backend,
            "alternateBackends": [backend, backend], "port": { "targetPort": 8080 },
            "tls": {
                "termination": "edge", "insecureEdgeTerminationPolicy": "Redirect", "certificate": "", "key": "",
                "caCertificate": "", "destinationCACertificate": "", "externalCertificate": { "name": "secret" }
            },
            "httpHeaders": { "actions": { "request": action("x-a"), "response": action("x-b") } }
        },
        "status": { "ingress": [{ "host": "any.test", "routerName": "default", "conditions": [{ "type": "Admitted", "status": "True" }] }] }
    })
}

/// An Ingress that does the same.
fn full_ingress() -> Value {
    let backend = json!({ "service": { "name": "web", "port": { "name": "http", "number": 80 } }, "resource": null });
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
        "metadata": {
            "namespace": "ns", "name": "any", "uid": "1", "creationTimestamp": "2026-01-01T00:00:00Z",
            "annotations": { "kubernetes.io/ingress.class": "nearside", "nearside.dev/on-miss": "reject" }
        },
        "spec": {
            "ingressClassName": "nearside", "defaultBackend": backend,
            "tls": [{ "hosts": ["any.test"], "secretName": "secret" }],
            "rules": [{ "host": "any.test", "http": { "paths": [{ "path": "/path", "pathType": "Prefix", "backend": backend }] } }]
        },
        "status": { "loadBalancer": { "ingress": [{ "ip": "192.0.2.1", "hostname": "a.test" }] } }
    })
}

/// JSON pointers of everything that is no object or list.
fn leaves(value: &Value, at: &str, found: &mut Vec<String>) {
    let below = |name: &str| format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"));
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, value)| leaves(value, &below(name), found)),
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(n, value)| leaves(value, &below(&n.to_string()), found))
        }
        _ => found.push(at.to_owned()),
    }
}

static ROUTE: LazyLock<(Value, Vec<String>)> = LazyLock::new(|| with_leaves(full_route()));
static INGRESS: LazyLock<(Value, Vec<String>)> = LazyLock::new(|| with_leaves(full_ingress()));

fn with_leaves(value: Value) -> (Value, Vec<String>) {
    let mut found = Vec::new();
    leaves(&value, "", &mut found);
    (value, found)
}

/// The claims of an object, where it is one.
fn claims(kind: Kind, value: Value) -> Option<Claims> {
    match Object::decode(kind, value).ok()? {
        Object::Route(route) => Some(route_claims(&route, &AdmissionRules::default())),
        Object::Ingress(ingress) => Some(ingress_claims(&ingress, &HostRules::default())),
        other => panic!("{other:?}"),
    }
}

fn check(claims: &Claims) {
    for problem in &claims.problems {
        let length = problem.field.len() + problem.message.len();
        assert!(length <= 8 * 1024, "{length} bytes: {problem}");
    }
    assert!(claims.problems.len() <= 1000, "{} problems", claims.problems.len());
}

/// Another object is served, whatever these are, together with them and after them.
fn neighbours_are_served(objects_of_others: &[Object]) {
    let mut index = Index::new(IndexConfig::default());
    for object in objects(&[CLASS.to_owned(), route("good", "web", 0, "host: good.test")].concat()) {
        index.apply(Change::Apply(object));
    }
    for object in objects_of_others {
        index.apply(Change::Apply(object.clone()));
    }
    let served = |snapshot: &crate::index::Snapshot| {
        let verdict = &snapshot.verdicts[&crate::object::ObjectKey::new(Kind::Route, "good", "web")];
        assert!(verdict.problems.is_empty(), "{verdict:?}");
    };
    served(&index.publish());
    for object in objects_of_others {
        index.apply(Change::Delete(object.key()));
    }
    served(&index.publish());
}

#[test]
fn every_field_bears_every_hostile_value() {
    for (kind, (template, fields)) in [(Kind::Route, &*ROUTE), (Kind::Ingress, &*INGRESS)] {
        assert!(fields.len() > 15, "{fields:?}");
        for field in fields {
            let mut bad = Vec::new();
            for value in hostile() {
                let mut object = template.clone();
                *object.pointer_mut(field).unwrap() = value;
                bad.extend(Object::decode(kind, object.clone()));
                if let Some(claims) = claims(kind, object) {
                    check(&claims);
                }
            }
            // One after the other, as changes of one object.
            neighbours_are_served(&bad);
        }
    }
}

#[test]
fn every_annotation_bears_every_hostile_value() {
    let names = known_annotations();
    assert!(names.len() > 30, "{names:?}");
    for value in hostile() {
        let Some(text) = value.as_str() else { continue };
        let annotations: serde_json::Map<_, _> = names.iter().map(|name| ((*name).to_owned(), json!(text))).collect();
        for (kind, (template, _)) in [(Kind::Route, &*ROUTE), (Kind::Ingress, &*INGRESS)] {
            let mut object = template.clone();
            object["metadata"]["annotations"] = json!(annotations);
            check(&claims(kind, object.clone()).unwrap());
            neighbours_are_served(&[Object::decode(kind, object).unwrap()]);
        }
    }
}

fn any_text() -> impl Strategy<Value = String> {
    let values: Vec<String> = hostile().iter().filter_map(|value| value.as_str().map(ToOwned::to_owned)).collect();
    prop_oneof![
        any::<String>(),
        "[-+]?[0-9]{0,25}[.]?[a-zA-Z%]{0,3}",
        "%?\\{?[+]?[QXE]?\\}?%\\[(req|res)[.]hdr\\([a-z]{0,3}\\)(,[a-z0-9]{0,6}){0,2}\\]?",
        "(/[a-z.%$*^()\\\\]{0,4}){0,4}",
        "([0-9a-f.:]{0,6}/?[0-9]{0,3}[ ,]?){0,5}",
        "([a-z*-]{0,4}[.]){0,4}[a-z]{0,3}",
        "([a-zA-Z-]{0,5}[=;, \"]){0,5}",
        proptest::sample::select(values),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]
    #[test]
    fn no_text_in_any_field_is_a_panic(
        fields in proptest::collection::vec((any::<proptest::sample::Index>(), any_text()), 1..6),
        annotations in proptest::collection::vec((proptest::sample::select(known_annotations()), any_text()), 0..12),
    ) {
        for (kind, (template, leaves)) in [(Kind::Route, &*ROUTE), (Kind::Ingress, &*INGRESS)] {
            let mut object = template.clone();
            for (name, text) in &annotations {
                object["metadata"]["annotations"][*name] = json!(text);
            }
            for (place, text) in &fields {
                *object.pointer_mut(&leaves[place.index(leaves.len())]).unwrap() = json!(text);
            }
            if let Some(claims) = claims(kind, object) {
                check(&claims);
            }
        }
    }
}

/// Values that have hurt routers, and values of the wrong type.
fn hostile() -> Vec<Value> {
    let long = "a".repeat(64 * 1024);
    let mut values: Vec<Value> = TEXTS.iter().map(|text| json!(text)).collect();
    values.extend([
        json!(long),
        json!(format!("{long}b")),
        json!("(".repeat(5_000)),
        json!(format!("^{}$", "(a|a)*".repeat(2_000))),
        json!("a.".repeat(20_000)),
        json!("/..".repeat(10_000)),
        json!("%[req.hdr(a)]".repeat(2_000)),
        json!("10.0.0.0/8 ".repeat(5_000)),
        json!(null),
        json!(-1),
        json!(u64::MAX),
        json!(i64::MIN),
        json!(1e308),
        json!(0.5),
        json!(true),
        json!([]),
        json!({}),
        json!([[[[["a"]]]]]),
    ]);
    values
}

const TEXTS: &[&str] = &[
    "",
    " ",
    "\t",
    "\"",
    "'",
    "\\",
    "\\\\\"\\",
    ";",
    "}",
    "{{.}}",
    "${HOME}",
    "`id`",
    "%",
    "%%%",
    "%[",
    "%[req.hdr(",
    "%{+Q}[ssl_c_der,base64]",
    "$1$&$$",
    "a\r\nX-Injected: 1",
    "a\r\n\r\nGET / HTTP/1.1\r\n\r\n",
    "\n",
    "\0",
    "a\0b",
    "\u{2028}",
    "\u{202e}moc.elpmaxe",
    "\u{feff}a",
    "😀",
    "gооd.test",
    "good.test",
    "GOOD.test.",
    "*",
    "*.test",
    "*.",
    "..",
    "-",
    "any--k3x7a.test",
    "/%00",
    "/%",
    "/../../etc/passwd",
    "//evil.example.com/",
    "/a/%2e%2e/b",
    "(a+)+$",
    "(?<x>(?<x>a))",
    "[",
    "[z-a]",
    "a{99999999}",
    "\\1",
    "0",
    "-0",
    "+1",
    "1.5",
    "-1",
    "99999999999999999999999999999",
    "-9223372036854775809",
    "NaN",
    "Infinity",
    "1e999",
    "0x7fffffff",
    "1s1s",
    "999999999999999d",
    "١٢٣",
    "true",
    "TRUE ",
    "null",
    "0.0.0.0/0",
    "::/0 ::ffff:0:0/96",
    "10.0.0.0/33,300.0.0.1",
    "javascript:alert(1)",
    "http://[::1",
    "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    "-----BEGIN CERTIFICATE-----",
    "-----BEGIN PRIVATE KEY-----\n!!\n-----END PRIVATE KEY-----",
];
