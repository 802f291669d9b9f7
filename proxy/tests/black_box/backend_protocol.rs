//! What pods speak, by annotation, and what is asked of their certificates.

use super::support::client::get_tls;
use super::support::manifests::{ingress, ingress_class, pod, route, service};
use super::support::pods::echo_pod_with;
use super::support::tls_clients::Clients;
use super::support::{Manifests, Proxy, get};
use nearside_loadtest::certificates::TestCa;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, crypto};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;

const HOST: &str = "web.example.com";
const NGINX: &str = "nginx.ingress.kubernetes.io";

/// An Ingress or an edge Route with these annotations, to a pod.
fn manifests(kind: &str, annotations: &[(&str, &str)], address: SocketAddr, ca: &TestCa) -> Manifests {
    let mut object = if kind == "Route" {
        let identity = ca.identity(&[HOST]).unwrap();
        let tls = json!({ "termination": "edge", "certificate": identity.certificate, "key": identity.key,
                          "insecureEdgeTerminationPolicy": "Allow" });
        route("web", HOST, json!({ "tls": tls }))
    } else {
        ingress("web", HOST, &[("Prefix", "/", "web")], json!({}))
    };
    let annotations: serde_json::Map<String, Value> =
        annotations.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
    object["metadata"]["annotations"] = json!(annotations);
    Manifests::with(&[ingress_class(), object, service("web"), pod("web", "web-1", address)])
}

#[tokio::test]
async fn pods_are_spoken_to_as_the_annotation_says() {
    let ca = TestCa::new("test").unwrap();
    let (_plain, plain) = echo_pod_with("plain", None);
    let (_tls, tls) = echo_pod_with("tls", Some(ca.identity(&["any"]).unwrap().server().unwrap()));
    // The annotation, then what the plain pod and the one with TLS see.
    let cases = [
        ("HTTP", Some((false, "HTTP/1.1")), None),
        ("GRPC", Some((false, "HTTP/2.0")), None),
        ("HTTPS", None, Some((true, "HTTP/2.0"))),
        ("grpcs", None, Some((true, "HTTP/2.0"))),
        ("AUTO_HTTP", Some((false, "HTTP/1.1")), None),
        ("FCGI", Some((false, "HTTP/1.1")), None),
    ];
    for kind in ["Ingress", "Route"] {
        let name = if kind == "Route" { "nearside.dev/backend-protocol" } else { &format!("{NGINX}/backend-protocol") };
        for (protocol, with_plain, with_tls) in cases {
            for (address, expected) in [(plain, with_plain), (tls, with_tls)] {
                let manifests = manifests(kind, &[(name, protocol)], address, &ca);
                let proxy = Proxy::start(&manifests, &[]);
                let reply = get(proxy.http, HOST, "/").await;
                let seen = (reply.status == 200).then(|| reply.echo()).map(|echo| (echo.tls, echo.protocol));
                let expected = expected.map(|(tls, protocol)| (tls, protocol.to_owned()));
                assert_eq!(seen, expected, "{kind} {protocol} {}", address == tls);
                if protocol == "AUTO_HTTP" && kind == "Route" && address == tls {
                    assert!(get_tls(proxy.https, &ca, HOST, "/").await.unwrap().echo().tls, "as the client came");
                }
            }
        }
    }
}

#[tokio::test]
async fn a_certificate_of_a_pod_is_verified_where_that_is_asked_for_and_never_half() {
    let (pods, others) = (TestCa::new("pods").unwrap(), TestCa::new("others").unwrap());
    let files = tempfile::tempdir().unwrap();
    let ca = files.path().join("ca.crt");
    std::fs::write(&ca, pods.certificate()).unwrap();
    let destination = format!("--destination-ca={}", ca.display());
    let (verify, name) = (format!("{NGINX}/proxy-ssl-verify"), format!("{NGINX}/proxy-ssl-name"));
    let https = ("nearside.dev/backend-protocol", "HTTPS");
    let (on, off, named) = ((&*verify, "on"), (&*verify, "off"), (&*name, "pods.example.com"));
    let cases = [
        (&others, "any", vec![https], true, 200),
        (&others, "any", vec![https, off], true, 200),
        (&others, "web.shop.svc", vec![https, on], true, 503),
        (&pods, "web.shop.svc", vec![https, on], true, 200),
        (&pods, "other.shop.svc", vec![https, on], true, 503),
        (&pods, "pods.example.com", vec![https, on, named], true, 200),
        (&pods, "web.shop.svc", vec![https, on, named], true, 503),
        (&pods, "web.shop.svc", vec![https, on], false, 503),
    ];
    for (of, names, annotations, has_ca, expected) in cases {
        let (_pod, address) = echo_pod_with("web-1", Some(of.identity(&[names]).unwrap().server().unwrap()));
        let manifests = manifests("Ingress", &annotations, address, &pods);
        let flags: &[&str] = if has_ca { &[&destination] } else { &[] };
        let proxy = Proxy::start(&manifests, flags);
        let reply = get(proxy.http, HOST, "/").await;
        assert_eq!(reply.status, expected, "{names} {annotations:?} {has_ca}");
        if expected != 200 {
            assert_eq!(proxy.access_line(HOST).await["reason"], "pod_tls");
        }
    }
}

#[tokio::test]
async fn pods_are_shown_the_certificate_of_the_objects_secret_and_verified_by_its_ca() {
    let (pods, others) = (TestCa::new("pods").unwrap(), TestCa::new("others").unwrap());
    let clients = Clients::new("clients");
    // The pod lets in those alone that show a certificate of this CA.
    let server = |of: &TestCa| {
        let identity = of.identity(&["web.shop.svc"]).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(clients.pem.as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(crypto::ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build();
        let chain = vec![CertificateDer::from_pem_slice(identity.certificate.as_bytes()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap();
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        Arc::new(builder.with_client_cert_verifier(verifier.unwrap()).with_single_cert(chain, key).unwrap())
    };
    let secret = |name: &str, of: &Clients, ca: &TestCa| {
        let (certificate, key) = of.client_pem("proxy", 1);
        json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "namespace": "shop", "name": name }, "type": "Opaque",
                "stringData": { "tls.crt": certificate, "tls.key": key, "ca.crt": ca.certificate() } })
    };
    let stranger = Clients::new("strangers");
    let (own, verify) = (format!("{NGINX}/proxy-ssl-secret"), format!("{NGINX}/proxy-ssl-verify"));
    let https = ("nearside.dev/backend-protocol", "HTTPS");
    for (of, named, expected) in [
        (&pods, "shop/good", 200),
        (&pods, "good", 200),
        (&pods, "stranger", 502),
        (&others, "good", 503),
        (&pods, "gone", 503),
        (&pods, "other/good", 503),
    ] {
        let (_pod, address) = echo_pod_with("web-1", Some(server(of)));
        let objects = manifests("Ingress", &[https, (&own, named), (&verify, "on")], address, &pods);
        objects.put(&secret("good", &clients, &pods));
        objects.put(&secret("stranger", &stranger, &pods));
        let proxy = Proxy::start(&objects, &[]);
        let status = get(proxy.http, HOST, "/").await.status;
        let refused = [502, 503].contains(&expected) && [502, 503].contains(&status);
        assert!(status == expected || refused, "{named}: {status}");
    }
}
