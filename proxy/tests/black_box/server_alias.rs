//! Further hosts of an Ingress or a Route: they have its rules and its certificate, and nobody's host is taken for them.

use super::support::client::get_tls;
use super::support::manifests::{annotated, ingress, ingress_class, pod, route, service};
use super::support::{Manifests, Proxy, echo_pod, get};
use nearside_loadtest::certificates::TestCa;
use serde_json::{Value, json};

const NGINX: &str = "nginx.ingress.kubernetes.io/server-alias";

#[tokio::test]
async fn the_rules_of_an_ingress_answer_for_its_aliases_and_no_host_is_taken_for_them() {
    let ((_web, web), (_held, held)) = (echo_pod("web-1"), echo_pod("held-1"));
    let aliases = "b.example.com, C.example.com,*.apps.example.com,held.example.com,bad_host";
    let paths = [("Prefix", "/app", "web")];
    let object = annotated(ingress("web", "a.example.com", &paths, json!({})), &[(NGINX, aliases)]);
    let mut older = route("held", "held.example.com", json!({}));
    older["metadata"]["creationTimestamp"] = json!("2025-01-01T00:00:00Z");
    let objects = [
        ingress_class(),
        object,
        older,
        service("web"),
        service("held"),
        pod("web", "web-1", web),
        pod("held", "held-1", held),
    ];
    let proxy = Proxy::of(Manifests::with(&objects), &[]);
    for (host, path, expected) in [
        ("a.example.com", "/app", Some("web-1")),
        ("b.example.com", "/app/x", Some("web-1")),
        ("c.example.com:80", "/app", Some("web-1")),
        ("x.apps.example.com", "/app", Some("web-1")),
        ("x.y.apps.example.com", "/app", None),
        ("b.example.com", "/other", None),
        ("d.example.com", "/app", None),
        ("held.example.com", "/app", Some("held-1")),
    ] {
        let reply = get(proxy.http, host, path).await;
        assert_eq!(reply.pod(), expected, "{host}{path}");
        assert_eq!(reply.status, if expected.is_some() { 200 } else { 404 }, "{host}{path}");
    }
    let (_, page) = proxy.page("/routes").await;
    let page: Value = serde_json::from_str(&page).unwrap();
    let told = page["problems"]["Ingress shop/web"].to_string();
    assert!(told.contains("route held already exposes held.example.com and is older"), "{told}");
    assert!(told.contains("bad_host"), "{told}");
}

#[tokio::test]
async fn an_alias_has_the_certificate_of_the_host_that_it_stands_for_and_leads_to_https_like_it() {
    let (_web, web) = echo_pod("web-1");
    let ca = TestCa::new("test").unwrap();
    let secret = |name: &str, host: &[&str]| {
        let identity = ca.identity(host).unwrap();
        json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": { "namespace": "shop", "name": name },
            "type": "kubernetes.io/tls", "stringData": { "tls.crt": identity.certificate, "tls.key": identity.key }
        })
    };
    let tls = json!({ "tls": [
        { "hosts": ["a.example.com"], "secretName": "both" }, { "hosts": ["own.example.com"], "secretName": "own" }
    ] });
    let object = ingress("web", "a.example.com", &[("Prefix", "/", "web")], tls);
    let objects = [
        ingress_class(),
        annotated(object, &[(NGINX, "b.example.com,own.example.com")]),
        secret("both", &["a.example.com", "b.example.com"]),
        secret("own", &["own.example.com"]),
        service("web"),
        pod("web", "web-1", web),
    ];
    let proxy = Proxy::of(Manifests::with(&objects), &[]);
    for host in ["a.example.com", "b.example.com", "own.example.com"] {
        assert_eq!(get_tls(proxy.https, &ca, host, "/").await.unwrap().pod(), Some("web-1"), "{host}");
        let reply = get(proxy.http, host, "/x").await;
        assert_eq!(reply.header("location"), Some(&*format!("https://{host}/x")), "{host}");
    }
}

#[tokio::test]
async fn a_route_has_aliases_too_and_wildcards_among_them_only_with_leave() {
    let (_web, web) = echo_pod("web-1");
    let aliases = [("nearside.dev/server-alias", "b.example.com *.c.example.com")];
    let objects =
        [annotated(route("web", "a.example.com", json!({})), &aliases), service("web"), pod("web", "web-1", web)];
    for (flags, expected) in [(&[][..], 404), (&["--allow-wildcard-routes"], 200)] {
        let proxy = Proxy::of(Manifests::with(&objects), flags);
        assert_eq!(get(proxy.http, "b.example.com", "/").await.status, 200, "{flags:?}");
        assert_eq!(get(proxy.http, "x.c.example.com", "/").await.status, expected, "{flags:?}");
    }
}
