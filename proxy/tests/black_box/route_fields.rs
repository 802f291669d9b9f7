//! The fields of a Route as a table: what the API would refuse is refused without it, in words that name the field, and costs
//! no other object anything.

use super::support::client::get_tls;
use super::support::manifests::{annotated, pod, route, service};
use super::support::{Manifests, Proxy, echo_pod, get};
use nearside_loadtest::certificates::TestCa;
use serde_json::{Value, json};

const HOST: &str = "web.example.com";

/// The Route of a row, to the Service `web`.
fn named(row: usize, host: &str, more: Value) -> Value {
    let mut object = route("web", host, more);
    object["metadata"]["name"] = json!(format!("r{row}"));
    object["metadata"]["uid"] = json!(format!("r{row}"));
    object
}

async fn problems(proxy: &Proxy) -> Value {
    let (_, page) = proxy.page("/routes").await;
    serde_json::from_str::<Value>(&page).unwrap()["problems"].clone()
}

#[tokio::test]
async fn a_route_that_cannot_be_meant_is_refused_by_its_field_and_the_others_are_served() {
    let (_pod, address) = echo_pod("web-1");
    let ca = TestCa::new("test").unwrap();
    let pair = ca.identity(&[HOST]).unwrap();
    let (label, name) = ("a".repeat(64), format!("{}.example.com", vec!["a".repeat(60); 5].join(".")));
    let (label, own) = (format!("{label}.example.com"), |host: &str| json!({ "host": host }));
    let to = |to: Value| json!({ "to": to });
    let tls = |tls: Value| json!({ "tls": tls });
    let table: Vec<(Value, Option<(&str, &str)>)> = vec![
        (json!({}), None),
        (json!({ "path": "/a" }), None),
        (to(json!({ "kind": "", "name": "web" })), None),
        (to(json!({ "name": "web", "weight": 256 })), None),
        (json!({ "wildcardPolicy": "" }), None),
        (own(&label), Some(("InvalidHost", "spec.host"))),
        (own(&name), Some(("InvalidHost", "spec.host"))),
        (own("under_score.example.com"), Some(("InvalidHost", "spec.host"))),
        (own("-a.example.com"), Some(("InvalidHost", "spec.host"))),
        (own(""), Some(("NoHostValue", "spec.host"))),
        (json!({ "path": "no-slash" }), Some(("InvalidPath", "spec.path"))),
        (json!({ "path": "/%00" }), Some(("InvalidPath", "spec.path"))),
        (json!({ "path": "/%zz" }), Some(("InvalidPath", "spec.path"))),
        (to(json!({ "kind": "Pod", "name": "web" })), Some(("InvalidBackend", "spec.to"))),
        (to(json!({ "kind": "Service", "name": "" })), Some(("InvalidBackend", "spec.to"))),
        (json!({ "wildcardPolicy": "All" }), Some(("RouteNotAdmitted", "spec.wildcardPolicy"))),
        (json!({ "wildcardPolicy": "Subdomain" }), Some(("RouteNotAdmitted", "spec.wildcardPolicy"))),
        (tls(json!({ "termination": "sideways" })), Some(("ExtendedValidationFailed", "spec.tls.termination"))),
        (json!({ "path": "/a", "tls": { "termination": "passthrough" } }), Some(("RouteNotAdmitted", "spec.path"))),
        (
            tls(json!({ "termination": "passthrough", "insecureEdgeTerminationPolicy": "Allow" })),
            Some(("ExtendedValidationFailed", "spec.tls.insecureEdgeTerminationPolicy")),
        ),
        (
            tls(json!({ "termination": "passthrough", "certificate": pair.certificate, "key": pair.key })),
            Some(("ExtendedValidationFailed", "spec.tls.certificate")),
        ),
        (
            tls(json!({ "termination": "edge", "destinationCACertificate": ca.certificate() })),
            Some(("ExtendedValidationFailed", "spec.tls.destinationCACertificate")),
        ),
        (
            tls(json!({ "termination": "edge", "certificate": pair.certificate })),
            Some(("ExtendedValidationFailed", "spec.tls.key")),
        ),
        (
            tls(
                json!({ "termination": "edge", "certificate": pair.certificate, "key": pair.key, "externalCertificate": { "name": "s" } }),
            ),
            Some(("ExtendedValidationFailed", "spec.tls.externalCertificate")),
        ),
    ];
    let host = |row: usize| format!("r{row}.example.com");
    let rows = table.iter().enumerate().map(|(row, (more, _))| named(row, &host(row), more.clone()));
    let mut objects: Vec<Value> = rows.collect();
    // What only speaks to the API server changes nothing here.
    let speaks = [("route.openshift.io/allow-non-dns-compliant-host", "true"), ("openshift.io/host.generated", "true")];
    objects[7] = annotated(objects[7].clone(), &speaks);
    objects.extend([service("web"), pod("web", "web-1", address), route("web", "UPPER.example.com", json!({}))]);
    let proxy = Proxy::of(Manifests::with(&objects), &[]);
    assert_eq!(
        get(proxy.http, "upper.example.com", "/").await.pod(),
        Some("web-1"),
        "capitals are read as small letters"
    );
    let told = problems(&proxy).await;
    for (row, (more, refused)) in table.iter().enumerate() {
        let told = &told[format!("Route shop/r{row}")];
        let reply =
            get(proxy.http, &host(row), more["path"].as_str().filter(|path| path.starts_with('/')).unwrap_or("/"))
                .await;
        match refused {
            None => assert_eq!((told, reply.pod()), (&Value::Null, Some("web-1")), "{more}"),
            Some((reason, field)) => {
                let first = told[0].as_str().unwrap_or_default();
                assert!(first.starts_with(&format!("{reason}: {field}: ")), "{more}: {told}");
                assert!(first.len() < 600, "no value is repeated whole: {first}");
                assert_ne!(reply.status, 200, "{more}");
            }
        }
    }
}

#[tokio::test]
async fn certificates_are_served_in_every_form_that_can_be_right() {
    let (_pod, address) = echo_pod("web-1");
    let (ca, other) = (TestCa::new("test").unwrap(), TestCa::new("other").unwrap());
    let pair = ca.identity(&["*.example.com"]).unwrap();
    let foreign = other.identity(&["*.example.com"]).unwrap();
    let parameters = "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n";
    let edge = |more: Value| {
        let mut tls = json!({ "termination": "Edge", "certificate": pair.certificate, "key": pair.key });
        more.as_object().unwrap().iter().for_each(|(name, value)| tls[name] = value.clone());
        json!({ "tls": tls })
    };
    let table = [
        (edge(json!({})), true),
        (edge(json!({ "certificate": format!("subject=web\n{}\n# end\n", pair.certificate) })), true),
        (edge(json!({ "key": format!("{parameters}{}", pair.key) })), true),
        (edge(json!({ "certificate": format!("{}{}", pair.certificate, pair.key), "key": "" })), true),
        (edge(json!({ "caCertificate": ca.certificate() })), true),
        (edge(json!({ "caCertificate": other.certificate() })), false),
        (edge(json!({ "caCertificate": "garbage" })), false),
        (edge(json!({ "key": foreign.key })), false),
        (edge(json!({ "certificate": "garbage" })), false),
        (edge(json!({ "certificate": format!("{}{}", ca.certificate(), pair.certificate) })), false),
        (edge(json!({ "certificate": pair.certificate.replace("CERTIFICATE", "THING") })), false),
    ];
    let host = |row: usize| format!("c{row}.example.com");
    let rows = table.iter().enumerate().map(|(row, (more, _))| named(row, &host(row), more.clone()));
    let mut objects: Vec<Value> = rows.collect();
    objects.extend([service("web"), pod("web", "web-1", address)]);
    let proxy = Proxy::of(Manifests::with(&objects), &[]);
    let told = problems(&proxy).await;
    for (row, (_, served)) in table.iter().enumerate() {
        let told = told[format!("Route shop/r{row}")].to_string();
        let reply = get_tls(proxy.https, &ca, &host(row), "/").await;
        assert_eq!(reply.is_ok_and(|reply| reply.pod() == Some("web-1")), *served, "row {row}: {told}");
        assert_eq!(told.contains("ExtendedValidationFailed"), !served, "row {row}: {told}");
    }
}

#[tokio::test]
async fn of_several_certificates_on_one_host_that_of_the_oldest_route_is_shown() {
    let (_pod, address) = echo_pod("web-1");
    let cas = ["z", "a", "m"].map(|name| (name, TestCa::new(name).unwrap()));
    let edge = |name: &str, second: u8, ca: Option<&TestCa>| {
        let mut tls = json!({ "termination": "edge" });
        if let Some(ca) = ca {
            let pair = ca.identity(&[HOST]).unwrap();
            (tls["certificate"], tls["key"]) = (json!(pair.certificate), json!(pair.key));
        }
        let mut object = named(0, HOST, json!({ "path": format!("/{name}"), "tls": tls }));
        object["metadata"]["name"] = json!(name);
        object["metadata"]["uid"] = json!(name);
        object["metadata"]["creationTimestamp"] = json!(format!("2026-01-01T00:00:{second:02}Z"));
        object
    };
    // The oldest brings none, and names say nothing.
    let oldest = edge("none", 1, None);
    let mut objects = vec![oldest, service("web"), pod("web", "web-1", address)];
    objects.extend(cas.iter().zip(2..).map(|((name, ca), second)| edge(name, second, Some(ca))));
    let proxy = Proxy::of(Manifests::with(&objects), &[]);
    for path in ["/none", "/z", "/a", "/m"] {
        assert_eq!(get_tls(proxy.https, &cas[0].1, HOST, path).await.unwrap().pod(), Some("web-1"), "{path}");
        assert!(get_tls(proxy.https, &cas[1].1, HOST, path).await.is_err(), "{path}");
    }
}
