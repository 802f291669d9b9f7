//! Where the TLS of an Ingress ends when it says so: at the proxy, again at the pod, or at the pod alone.

use super::support::client::get_tls;
use super::support::manifests::{annotated, ingress, ingress_class, pod, service};
use super::support::pods::echo_pod_with;
use super::support::{Manifests, Proxy, echo_pod, eventually, get};
use nearside_loadtest::certificates::TestCa;
use serde_json::{Value, json};

const HOST: &str = "web.example.com";
const PASSTHROUGH: (&str, &str) = ("nginx.ingress.kubernetes.io/ssl-passthrough", "true");
const TERMINATION: &str = "route.openshift.io/termination";

fn web(paths: &[(&str, &str, &str)], annotations: &[(&str, &str)]) -> Value {
    annotated(ingress("web", HOST, paths, json!({})), annotations)
}

async fn problems(proxy: &Proxy, object: &str) -> String {
    let (_, page) = proxy.page("/routes").await;
    serde_json::from_str::<Value>(&page).unwrap()["problems"][object].to_string()
}

#[tokio::test]
async fn the_connections_of_an_ingress_are_passed_to_its_pods_and_plain_http_leads_there() {
    let (ca, elsewhere) = (TestCa::new("pod").unwrap(), TestCa::new("edge").unwrap());
    let identity = ca.identity(&[HOST]).unwrap();
    let (_here, here) = echo_pod_with("web-1", Some(identity.server().unwrap()));
    let root = [("Prefix", "/", "web")];
    for annotation in [PASSTHROUGH, ("nearside.dev/ssl-passthrough", "true"), (TERMINATION, "passthrough")] {
        let objects = [ingress_class(), web(&root, &[annotation]), service("web"), pod("web", "web-1", here)];
        let proxy = Proxy::of(Manifests::with(&objects), &[]);
        let reply = get_tls(proxy.https, &ca, HOST, "/a").await.unwrap();
        assert!(reply.echo().tls && reply.pod() == Some("web-1"), "{annotation:?}");
        assert!(get_tls(proxy.https, &elsewhere, HOST, "/").await.is_err(), "the pod shows its own certificate");
        let plain = get(proxy.http, HOST, "/x").await;
        assert_eq!(
            (plain.status, plain.header("location")),
            (308, Some("https://web.example.com/x")),
            "{annotation:?}"
        );
        assert_eq!(problems(&proxy, "Ingress shop/web").await, "null", "{annotation:?}");
    }
    let off = ("nginx.ingress.kubernetes.io/ssl-redirect", "false");
    let objects = [ingress_class(), web(&root, &[PASSTHROUGH, off]), service("web"), pod("web", "web-1", here)];
    let proxy = Proxy::of(Manifests::with(&objects), &[]);
    assert_eq!(get(proxy.http, HOST, "/x").await.status, 404);
    assert!(get_tls(proxy.https, &ca, HOST, "/a").await.unwrap().echo().tls);
}

#[tokio::test]
async fn with_passthrough_only_whole_hosts_are_served_and_annotations_about_requests_are_told() {
    let ca = TestCa::new("pod").unwrap();
    let (_here, here) = echo_pod_with("web-1", Some(ca.identity(&[HOST]).unwrap().server().unwrap()));
    let paths = [("Prefix", "/", "web"), ("Prefix", "/api", "api"), ("Exact", "/", "api")];
    let mut object = web(&paths, &[PASSTHROUGH, ("nginx.ingress.kubernetes.io/enable-cors", "true")]);
    object["spec"]["defaultBackend"] = json!({ "service": { "name": "api", "port": { "number": 80 } } });
    object["spec"]["rules"].as_array_mut().unwrap().push(json!({
        "http": { "paths": [{ "path": "/", "pathType": "Prefix", "backend": { "service": { "name": "api", "port": { "number": 80 } } } }] }
    }));
    let objects = [ingress_class(), object, service("web"), pod("web", "web-1", here)];
    let proxy = Proxy::of(Manifests::with(&objects), &[]);
    assert_eq!(get_tls(proxy.https, &ca, HOST, "/api").await.unwrap().pod(), Some("web-1"));
    assert_eq!(get(proxy.http, "other.example.com", "/").await.status, 404, "no rule without host");
    let told = problems(&proxy, "Ingress shop/web").await;
    for part in [
        "spec.rules[0].http.paths[1].path",
        "spec.rules[0].http.paths[2].path",
        "spec.rules[1].host",
        "spec.defaultBackend",
        "annotations about requests have no effect",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
}

#[tokio::test]
async fn a_connection_is_not_passed_on_where_authentication_is_asked_for_or_the_client_is_not_let_in() {
    let ca = TestCa::new("pod").unwrap();
    let (_here, here) = echo_pod_with("web-1", Some(ca.identity(&[HOST]).unwrap().server().unwrap()));
    for (annotation, reason) in [
        (("nginx.ingress.kubernetes.io/auth-type", "basic"), "authentication_not_offered"),
        (("nginx.ingress.kubernetes.io/whitelist-source-range", "192.0.2.0/24"), "forbidden"),
    ] {
        let object = web(&[("Prefix", "/", "web")], &[PASSTHROUGH, annotation]);
        let objects = [ingress_class(), object, service("web"), pod("web", "web-1", here)];
        let proxy = Proxy::of(Manifests::with(&objects), &[]);
        assert!(get_tls(proxy.https, &ca, HOST, "/").await.is_err(), "{annotation:?}");
        eventually("the reason is logged", || async {
            proxy.access_log().iter().any(|line| line["reason"] == reason).then_some(())
        })
        .await;
    }
    let open = web(&[("Prefix", "/", "web")], &[PASSTHROUGH]);
    let proxy = Proxy::of(Manifests::with(&[ingress_class(), open, service("web")]), &[]);
    assert!(get_tls(proxy.https, &ca, HOST, "/").await.is_err(), "without pods here");
}

#[tokio::test]
async fn pods_are_verified_by_the_ca_in_a_secret_and_not_asked_without_it() {
    let (ca, other) = (TestCa::new("pods").unwrap(), TestCa::new("others").unwrap());
    let (_pod, address) = echo_pod_with("web-1", Some(ca.identity(&["any.name.invalid"]).unwrap().server().unwrap()));
    let secret = |kind: &str, ca: &TestCa| {
        json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": { "namespace": "shop", "name": "pods-ca" },
            "type": kind, "stringData": { "tls.crt": ca.certificate() }
        })
    };
    for spelling in ["route.openshift.io/", "nearside.dev/"] {
        let name = format!("{spelling}destination-ca-certificate-secret");
        let off = ("nginx.ingress.kubernetes.io/ssl-redirect", "false");
        let object = web(&[("Prefix", "/", "web")], &[(TERMINATION, "reencrypt"), (&name, "pods-ca"), off]);
        let manifests = Manifests::with(&[ingress_class(), object, service("web"), pod("web", "web-1", address)]);
        let proxy = Proxy::start(&manifests, &[]);
        assert_eq!(
            get(proxy.http, HOST, "/").await.pod(),
            None,
            "without the Secret nobody is verified, so nobody asked"
        );
        assert!(problems(&proxy, "Ingress shop/web").await.contains("there is no Secret \\\"pods-ca\\\""));
        for (kind, ca, expected) in
            [("Opaque", &ca, Some("web-1")), ("Opaque", &other, None), ("kubernetes.io/tls", &ca, Some("web-1"))]
        {
            manifests.put(&secret(kind, ca));
            eventually("the Secret counts", || async {
                (get(proxy.http, HOST, "/").await.pod() == expected).then_some(())
            })
            .await;
            assert_eq!(problems(&proxy, "Ingress shop/web").await, "null", "{kind}");
        }
        manifests.remove(&secret("Opaque", &ca));
        eventually("the Secret is missed", || async {
            (get(proxy.http, HOST, "/").await.pod().is_none()).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn edge_and_reencrypt_have_the_default_certificate_and_send_plain_http_to_https() {
    let ca = TestCa::new("operator").unwrap();
    let files = tempfile::tempdir().unwrap();
    let identity = ca.identity(&[HOST]).unwrap();
    let (certificate, key) = (files.path().join("tls.crt"), files.path().join("tls.key"));
    std::fs::write(&certificate, &identity.certificate).unwrap();
    std::fs::write(&key, &identity.key).unwrap();
    let flags = [format!("--default-cert={}", certificate.display()), format!("--default-key={}", key.display())];
    let flags = [flags[0].as_str(), flags[1].as_str()];
    let (_plain, plain) = echo_pod("web-1");
    let (_secure, secure) = echo_pod_with("web-1", Some(ca.identity(&["pod"]).unwrap().server().unwrap()));
    let root = [("Prefix", "/", "web")];
    let with_tls = |object: Value| {
        let mut object = object;
        object["spec"]["tls"] = json!([{}]);
        object
    };
    for (object, address, tls_to_pod) in [
        (web(&root, &[(TERMINATION, "edge")]), plain, false),
        (with_tls(web(&root, &[])), plain, false),
        (web(&root, &[(TERMINATION, "reencrypt")]), secure, true),
        (with_tls(web(&root, &[(TERMINATION, "reencrypt")])), secure, true),
        (with_tls(web(&root, &[(TERMINATION, "sideways")])), plain, false),
    ] {
        let objects = [ingress_class(), object.clone(), service("web"), pod("web", "web-1", address)];
        let proxy = Proxy::of(Manifests::with(&objects), &flags);
        let reply = get_tls(proxy.https, &ca, HOST, "/").await.unwrap();
        assert_eq!(reply.echo().tls, tls_to_pod, "{object}");
        let redirect = get(proxy.http, HOST, "/x").await;
        assert_eq!(
            (redirect.status, redirect.header("location")),
            (308, Some("https://web.example.com/x")),
            "{object}"
        );
    }
    let off = ("nginx.ingress.kubernetes.io/ssl-redirect", "false");
    let objects =
        [ingress_class(), web(&root, &[(TERMINATION, "edge"), off]), service("web"), pod("web", "web-1", plain)];
    let proxy = Proxy::of(Manifests::with(&objects), &flags);
    assert_eq!(get(proxy.http, HOST, "/x").await.pod(), Some("web-1"));
}
