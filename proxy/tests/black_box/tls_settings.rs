//! The router's own TLS settings: what is agreed on with clients, files that change, how pods without a CA of their own are
//! verified.

use super::support::client::{connect_tls, get_h2, get_tls, read_to_end};
use super::support::manifests::{pod, route, service};
use super::support::pods::echo_pod_with;
use super::support::{Manifests, Proxy, echo_pod, eventually};
use nearside_loadtest::certificates::{Identity, TestCa};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion, crypto, version};
use serde_json::json;
use std::path::Path;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

const HOST: &str = "web.example.com";

fn web(identity: &Identity, address: std::net::SocketAddr) -> Manifests {
    let tls = json!({ "termination": "edge", "certificate": identity.certificate, "key": identity.key });
    Manifests::with(&[route("web", HOST, json!({ "tls": tls })), service("web"), pod("web", "web-1", address)])
}

/// Version and cipher suite that a client of one version agrees on; `None` where they do not.
async fn agreed(proxy: &Proxy, ca: &TestCa, version: &'static SupportedProtocolVersion) -> Option<String> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca.certificate().as_bytes()).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(proxy.https).await.unwrap();
    let name = ServerName::try_from(HOST).unwrap();
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.ok()?;
    let connection = stream.get_ref().1;
    let suite = connection.negotiated_cipher_suite()?.suite();
    Some(format!("{:?} {}", connection.negotiated_key_exchange_group()?.name(), suite.as_str()?))
}

#[tokio::test]
async fn clients_agree_on_what_the_flags_offer() {
    let (_pod, address) = echo_pod("web-1");
    let ca = TestCa::new("test").unwrap();
    let manifests = web(&ca.identity(&[HOST]).unwrap(), address);
    let cases: [(&[&str], Option<&str>, Option<&str>); 6] = [
        (&[], Some("X25519 TLS_ECDHE_ECDSA_"), Some("X25519 TLS13_")),
        (&["--tls-min-version=VersionTLS13"], None, Some("X25519 TLS13_")),
        (&["--tls-max-version=TLSv1.2"], Some("X25519 TLS_ECDHE_ECDSA_"), None),
        (
            &["--tls-cipher-suites=ECDHE-ECDSA-CHACHA20-POLY1305:TLS_CHACHA20_POLY1305_SHA256"],
            Some("X25519 TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"),
            Some("X25519 TLS13_CHACHA20_POLY1305_SHA256"),
        ),
        (&["--tls-curves=P-521:P-384"], Some("secp384r1 TLS_ECDHE_ECDSA_"), Some("secp384r1 TLS13_")),
        (&["--tls-cipher-suites=old", "--tls-min-version=TLSv1.0"], Some("X25519"), Some("X25519")),
    ];
    for (flags, expected12, expected13) in cases {
        let proxy = Proxy::start(&manifests, flags);
        for (version, expected) in [(&version::TLS12, expected12), (&version::TLS13, expected13)] {
            let found = agreed(&proxy, &ca, version).await;
            let fits = match (&found, expected) {
                (Some(found), Some(expected)) => found.starts_with(expected),
                (None, None) => true,
                _ => false,
            };
            assert!(fits, "{flags:?}: {found:?} instead of {expected:?}");
        }
        let left_out = flags.iter().any(|flag| flag.contains("P-521") || flag.contains("1.0"));
        assert_eq!(proxy.log().contains("not offered"), left_out, "{flags:?}: {}", proxy.log());
    }
}

#[tokio::test]
async fn http_2_can_be_switched_off_for_clients_and_pods() {
    let ca = TestCa::new("test").unwrap();
    let (_pod, address) = echo_pod_with("web-1", Some(ca.identity(&["pod"]).unwrap().server().unwrap()));
    let identity = ca.identity(&[HOST]).unwrap();
    let tls = json!({ "termination": "reencrypt", "certificate": identity.certificate, "key": identity.key });
    let manifests =
        Manifests::with(&[route("web", HOST, json!({ "tls": tls })), service("web"), pod("web", "web-1", address)]);
    for (flags, protocol, to_pod) in
        [(&[][..], &b"h2"[..], "HTTP/2.0"), (&["--disable-http2"], b"http/1.1", "HTTP/1.1")]
    {
        let proxy = Proxy::start(&manifests, flags);
        let stream = connect_tls(proxy.https, &ca, HOST, &["h2", "http/1.1"]).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(protocol));
        let echo = get_tls(proxy.https, &ca, HOST, "/").await.unwrap().echo();
        assert_eq!(echo.protocol, to_pod);
    }
}

fn write(path: &Path, content: &str) {
    // As a volume of Kubernetes does: never half a file.
    let written = path.with_extension("new");
    std::fs::write(&written, content).unwrap();
    std::fs::rename(written, path).unwrap();
}

#[tokio::test]
async fn the_default_certificate_is_followed_in_a_file_and_in_a_directory() {
    let (_pod, address) = echo_pod("web-1");
    let (before, after) = (TestCa::new("before").unwrap(), TestCa::new("after").unwrap());
    let (first, second) = (before.identity(&[HOST]).unwrap(), after.identity(&[HOST]).unwrap());
    let manifests = Manifests::with(&[
        route("web", HOST, json!({ "tls": { "termination": "edge" } })),
        service("web"),
        pod("web", "web-1", address),
    ]);
    for (key_apart, key_given) in [(false, false), (true, false), (true, true)] {
        let files = tempfile::tempdir().unwrap();
        let (certificate, key) = (files.path().join("tls.crt"), files.path().join("tls.key"));
        let put = |identity: &Identity| {
            if key_apart {
                write(&key, &identity.key);
                write(&certificate, &identity.certificate);
            } else {
                write(&certificate, &format!("{}{}", identity.key, identity.certificate));
            }
        };
        put(&first);
        let mut flags = vec![format!("--default-cert={}", files.path().display())];
        if key_given {
            flags =
                vec![format!("--default-cert={}", certificate.display()), format!("--default-key={}", key.display())];
        }
        let proxy = Proxy::start(&manifests, &flags.iter().map(String::as_str).collect::<Vec<_>>());
        let served = async |ca: &TestCa| get_tls(proxy.https, ca, HOST, "/").await.ok().map(|reply| reply.status);
        assert_eq!(served(&before).await, Some(200));
        put(&second);
        eventually("the new certificate is served", || async { served(&after).await }).await;
        write(&certificate, "text");
        eventually("the mistake is told", || async {
            proxy.log().contains("its last good content holds").then_some(())
        })
        .await;
        assert_eq!(served(&after).await, Some(200), "and changes nothing");
        put(&first);
        eventually("what is right again is served", || async { served(&before).await }).await;
    }
}

#[tokio::test]
async fn without_a_server_name_the_default_certificate_is_shown_unless_names_are_demanded() {
    let (_pod, address) = echo_pod("web-1");
    let (tenant, operator) = (TestCa::new("tenant").unwrap(), TestCa::new("operator").unwrap());
    let manifests = web(&tenant.identity(&[HOST]).unwrap(), address);
    manifests.put(&route("closed", "closed.example.com", json!({ "tls": { "termination": "passthrough" } })));
    let default = operator.identity(&["127.0.0.1"]).unwrap();
    let files = tempfile::tempdir().unwrap();
    write(&files.path().join("tls.crt"), &format!("{}{}", default.certificate, default.key));
    let flag = format!("--default-cert={}", files.path().display());
    let proxy = Proxy::start(&manifests, &[&flag]);
    // A client that asks for an address sends no server name (RFC 6066 §3).
    for (host, expected) in [(HOST, 200), ("closed.example.com", 421), ("nobody.example.com", 404)] {
        let stream = connect_tls(proxy.https, &operator, "127.0.0.1", &["h2"]).await.unwrap();
        assert_eq!(get_h2(stream, &format!("https://{host}/")).await.status, expected, "{host}");
    }
    let proxy = Proxy::start(&manifests, &[&flag, "--strict-sni"]);
    assert!(connect_tls(proxy.https, &operator, "127.0.0.1", &["h2"]).await.is_err());
    assert_eq!(get_tls(proxy.https, &tenant, HOST, "/").await.unwrap().status, 200);
}

#[tokio::test]
async fn pods_without_a_ca_of_their_route_are_verified_by_the_routers_and_by_name() {
    let (clients, pods, others) =
        (TestCa::new("clients").unwrap(), TestCa::new("pods").unwrap(), TestCa::new("others").unwrap());
    let identity = clients.identity(&[HOST]).unwrap();
    let files = tempfile::tempdir().unwrap();
    let ca = files.path().join("ca.crt");
    write(&ca, pods.certificate());
    for (name, of, expected) in
        [("web.shop.svc", &pods, 200), ("other.shop.svc", &pods, 503), ("web.shop.svc", &others, 503)]
    {
        let (_pod, address) = echo_pod_with("web-1", Some(of.identity(&[name]).unwrap().server().unwrap()));
        let mut tls = json!({ "termination": "reencrypt", "certificate": identity.certificate, "key": identity.key });
        let with = |tls: &serde_json::Value| route("web", HOST, json!({ "tls": tls }));
        let manifests = Manifests::with(&[with(&tls), service("web"), pod("web", "web-1", address)]);
        let proxy = Proxy::start(&manifests, &[&format!("--destination-ca={}", ca.display())]);
        let status = async || get_tls(proxy.https, &clients, HOST, "/").await.unwrap().status;
        assert_eq!(status().await, expected, "{name}");
        tls["destinationCACertificate"] = json!(of.certificate());
        manifests.put(&with(&tls));
        eventually("the route's own CA counts, without a name", || async { (status().await == 200).then_some(()) })
            .await;
    }
    // A CA in the file that is replaced is followed.
    let (_pod, address) = echo_pod_with("web-1", Some(others.identity(&["web.shop.svc"]).unwrap().server().unwrap()));
    let tls = json!({ "termination": "reencrypt", "certificate": identity.certificate, "key": identity.key });
    let manifests =
        Manifests::with(&[route("web", HOST, json!({ "tls": tls })), service("web"), pod("web", "web-1", address)]);
    let proxy = Proxy::start(&manifests, &[&format!("--destination-ca={}", ca.display())]);
    write(&ca, others.certificate());
    eventually("the other CA holds", || async {
        (get_tls(proxy.https, &clients, HOST, "/").await.unwrap().status == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_client_that_says_nothing_is_closed_in_the_time_for_the_hello() {
    let manifests = Manifests::with(&[]);
    let proxy = Proxy::start(&manifests, &["--client-hello-timeout=50ms"]);
    let mut stream = TcpStream::connect(proxy.https).await.unwrap();
    assert_eq!(read_to_end(&mut stream).await, "");
    eventually("it is counted", || async { proxy.metric("nearside_tls_failures_total", "timeout").await }).await;
}
