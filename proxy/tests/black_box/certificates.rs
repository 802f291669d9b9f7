//! Certificates that Routes bring: what is wrong with one costs its own Route and no other, and never shows another
//! certificate in its place.

use super::support::client::get_tls;
use super::support::manifests::{pod, route, service};
use super::support::{Manifests, Proxy, echo_pod, eventually};
use nearside_loadtest::certificates::{Identity, TestCa};
use serde_json::{Value, json};
use std::path::PathBuf;

const HOST: &str = "web.example.com";

/// A Route to the Service `web` under any name.
fn to_web(name: &str, host: &str, tls: Value) -> Value {
    route(name, host, json!({ "to": { "kind": "Service", "name": "web" }, "tls": tls }))
}

fn secret(identity: &Identity) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "namespace": "shop", "name": "web-tls" },
        "type": "kubernetes.io/tls", "stringData": { "tls.crt": identity.certificate, "tls.key": identity.key }
    })
}

/// A default certificate in files, and the flags that name them.
fn default_certificate(identity: &Identity) -> (tempfile::TempDir, [String; 2]) {
    let files = tempfile::tempdir().unwrap();
    let (certificate, key): (PathBuf, PathBuf) = (files.path().join("tls.crt"), files.path().join("tls.key"));
    std::fs::write(&certificate, &identity.certificate).unwrap();
    std::fs::write(&key, &identity.key).unwrap();
    let flags = [format!("--default-cert={}", certificate.display()), format!("--default-key={}", key.display())];
    (files, flags)
}

#[tokio::test]
async fn a_route_whose_certificate_cannot_be_used_is_not_served_and_keeps_its_host() {
    let (_pod, address) = echo_pod("web-1");
    let (ca, stranger, operator) =
        (TestCa::new("tenant").unwrap(), TestCa::new("stranger").unwrap(), TestCa::new("operator").unwrap());
    let (_files, flags) = default_certificate(&operator.identity(&["*.example.com"]).unwrap());
    let (own, other) = (ca.identity(&["*.example.com"]).unwrap(), ca.identity(&["*.example.com"]).unwrap());
    let edge = |certificate: &str, key: &str| json!({ "termination": "edge", "certificate": certificate, "key": key });
    let with_ca = |authority: &str| {
        let mut tls = edge(&own.certificate, &own.key);
        tls["caCertificate"] = json!(authority);
        tls
    };
    let cases = [
        ("no-key", edge(&own.certificate, "")),
        ("wrong-key", edge(&own.certificate, &other.key)),
        ("leaf-second", edge(&format!("{}{}", other.certificate, own.certificate), &own.key)),
        ("unknown-block", edge(&format!("{}{}", own.certificate, block("X509 CRL")), &own.key)),
        ("no-x509", edge(&block("CERTIFICATE"), &own.key)),
        ("wrong-ca", with_ca(stranger.certificate())),
        ("edge-destination-ca", json!({ "termination": "edge", "destinationCACertificate": ca.certificate() })),
        ("bad-destination-ca", json!({ "termination": "reencrypt", "destinationCACertificate": "text" })),
        ("passthrough-key", json!({ "termination": "passthrough", "key": own.key })),
    ];
    let mut objects = vec![
        service("web"),
        pod("web", "web-1", address),
        to_web("good", HOST, with_ca(ca.certificate())),
        to_web("one-field", "one.example.com", edge(&format!("{}{}", own.key, own.certificate), "")),
    ];
    for (name, tls) in &cases {
        let host = format!("{name}.example.com");
        objects.push(to_web(name, &host, tls.clone()));
        let mut younger = to_web(&format!("younger-{name}"), &host, json!({ "termination": "edge" }));
        younger["metadata"]["creationTimestamp"] = json!("2026-02-02T00:00:00Z");
        younger["metadata"]["namespace"] = json!("thief");
        objects.push(younger);
    }
    let manifests = Manifests::with(&objects);
    let proxy = Proxy::start(&manifests, &flags.each_ref().map(String::as_str));
    for host in [HOST, "one.example.com"] {
        assert_eq!(get_tls(proxy.https, &ca, host, "/").await.unwrap().pod(), Some("web-1"), "{host}");
    }
    for (name, _) in cases {
        let reply = get_tls(proxy.https, &operator, &format!("{name}.example.com"), "/").await.unwrap();
        assert_eq!((reply.status, reply.pod()), (404, None), "{name}");
    }
}

fn block(label: &str) -> String {
    format!("-----BEGIN {label}-----\nAAAA\n-----END {label}-----\n")
}

#[tokio::test]
async fn an_external_certificate_is_followed_and_without_it_the_route_is_not_served() {
    let (_pod, address) = echo_pod("web-1");
    let (before, after, operator) =
        (TestCa::new("before").unwrap(), TestCa::new("after").unwrap(), TestCa::new("operator").unwrap());
    let (_files, flags) = default_certificate(&operator.identity(&[HOST]).unwrap());
    let (first, second) = (before.identity(&[HOST]).unwrap(), after.identity(&[HOST]).unwrap());
    let tls = json!({ "termination": "edge", "externalCertificate": { "name": "web-tls" } });
    let manifests =
        Manifests::with(&[service("web"), pod("web", "web-1", address), to_web("web", HOST, tls), secret(&first)]);
    let proxy = Proxy::start(&manifests, &flags.each_ref().map(String::as_str));
    let served = async |ca: &TestCa| get_tls(proxy.https, ca, HOST, "/").await.ok().map(|reply| reply.status);
    assert_eq!(served(&before).await, Some(200));
    manifests.put(&secret(&second));
    eventually("the new certificate is served", || async { (served(&after).await == Some(200)).then_some(()) }).await;
    // The key of one and the certificate of the other; then a Secret of another type; then none at all.
    let mismatch = secret(&Identity { certificate: second.certificate.clone(), key: first.key.clone() });
    let mut opaque = secret(&second);
    opaque["type"] = json!("Opaque");
    for broken in [Some(mismatch), Some(opaque), None] {
        match &broken {
            Some(secret) => manifests.put(secret),
            None => manifests.remove(&secret(&second)),
        }
        eventually("the route is not served", || async { (served(&operator).await == Some(404)).then_some(()) }).await;
        manifests.put(&secret(&second));
        eventually("it is served again", || async { (served(&after).await == Some(200)).then_some(()) }).await;
    }
}

/// Environment and flags, and which of three Routes are served.
type Case = (&'static [(&'static str, &'static str)], &'static [&'static str], [bool; 3]);

#[tokio::test]
async fn what_is_looked_at_in_certificates_of_routes_is_for_the_operator_to_say() {
    let (_pod, address) = echo_pod("web-1");
    let (ca, stranger) = (TestCa::new("tenant").unwrap(), TestCa::new("stranger").unwrap());
    let identity = ca.identity(&["*.example.com"]).unwrap();
    let foreign = json!({ "termination": "edge", "certificate": identity.certificate, "key": identity.key,
                          "caCertificate": stranger.certificate() });
    let external = json!({ "termination": "edge", "externalCertificate": { "name": "web-tls" } });
    let manifests = Manifests::with(&[
        service("web"),
        pod("web", "web-1", address),
        secret(&identity),
        to_web("foreign", "foreign.example.com", foreign),
        to_web("external", "external.example.com", external),
        to_web("no-key", "no-key.example.com", json!({ "termination": "edge", "certificate": identity.certificate })),
    ]);
    let all: [Case; 5] = [
        (&[], &[], [false, true, false]),
        (&[], &["--extended-validation=false"], [true, true, false]),
        (&[("EXTENDED_VALIDATION", "false")], &[], [true, true, false]),
        (&[], &["--external-certificates=false"], [false, false, false]),
        (&[("ROUTER_ENABLE_EXTERNAL_CERTIFICATE", "0")], &[], [false, false, false]),
    ];
    for (environment, flags, expected) in all {
        let flags = [&["--allow-endpoints=127.0.0.0/8"], flags].concat();
        let proxy = Proxy::start_in(environment, &manifests, &flags);
        for (name, expected) in ["foreign", "external", "no-key"].into_iter().zip(expected) {
            let reply = get_tls(proxy.https, &ca, &format!("{name}.example.com"), "/").await;
            let served = reply.is_ok_and(|reply| reply.status == 200);
            assert_eq!(served, expected, "{environment:?} {flags:?}: {name}");
        }
    }
}
