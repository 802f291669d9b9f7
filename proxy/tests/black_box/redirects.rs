//! Redirects: to https, to a stated place, to the root of an application, to the host with or without `www.`.

use super::support::client::{connect_tls, exchange, raw, request};
use super::support::manifests::{annotated, ingress, ingress_class, pod, route, service};
use super::support::{Manifests, Proxy, echo_pod, get};
use http::Request;
use http_body_util::Full;
use nearside_loadtest::certificates::TestCa;
use serde_json::{Value, json};
use std::net::SocketAddr;

const HOST: &str = "web.example.com";
const NGINX: &str = "nginx.ingress.kubernetes.io/";

fn manifests(objects: &[Value], address: SocketAddr) -> Manifests {
    let manifests = Manifests::with(&[ingress_class(), service("web"), pod("web", "web-1", address)]);
    objects.iter().for_each(|object| manifests.put(object));
    manifests
}

fn web(more: Value, annotations: &[(&str, &str)]) -> Value {
    let names: Vec<String> = annotations.iter().map(|(name, _)| format!("{NGINX}{name}")).collect();
    let annotations: Vec<(&str, &str)> =
        names.iter().zip(annotations).map(|(name, (_, value))| (name.as_str(), *value)).collect();
    annotated(ingress("web", HOST, &[("Prefix", "/", "web")], more), &annotations)
}

#[tokio::test]
async fn a_redirect_to_https_keeps_the_raw_target_and_no_port() {
    let (_pod, address) = echo_pod("web-1");
    let edge = json!({ "tls": { "termination": "edge", "insecureEdgeTerminationPolicy": "Redirect" } });
    let proxy = Proxy::of(manifests(&[route("web", HOST, edge)], address), &[]);
    let location = format!("location: https://{HOST}/a%2Fb/../c?x=%20\r\n");
    for request in [
        "GET /a%2Fb/../c?x=%20 HTTP/1.1\r\nHost: Web.Example.com:8080\r\nConnection: close\r\n\r\n".to_owned(),
        format!("GET http://{HOST}:8080/a%2Fb/../c?x=%20 HTTP/1.1\r\nHost: {HOST}:8080\r\nConnection: close\r\n\r\n"),
        format!("POST /a%2Fb/../c?x=%20 HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"),
    ] {
        let answer = raw(proxy.http, request.as_bytes()).await.to_lowercase();
        assert!(answer.starts_with("http/1.1 302 "), "{request}: {answer}");
        assert!(answer.contains(&location.to_lowercase()), "{request}: {answer}");
        assert!(answer.contains("cache-control: no-cache\r\n") && answer.contains("content-length: 0\r\n"), "{answer}");
    }
}

#[tokio::test]
async fn an_ingress_says_whether_plain_http_is_sent_to_https() {
    let (_pod, address) = echo_pod("web-1");
    let tls = json!({ "tls": [{ "hosts": [HOST] }] });
    for (more, annotations, expected) in [
        (json!({}), &[][..], 200),
        (tls.clone(), &[], 308),
        (tls.clone(), &[("ssl-redirect", "true")], 308),
        (tls.clone(), &[("ssl-redirect", "false")], 200),
        (tls.clone(), &[("ssl-redirect", "no")], 308),
        (json!({}), &[("ssl-redirect", "true")], 200),
        (json!({}), &[("force-ssl-redirect", "true")], 308),
        (tls, &[("ssl-redirect", "false"), ("force-ssl-redirect", "true")], 308),
    ] {
        let proxy = Proxy::of(manifests(&[web(more.clone(), annotations)], address), &[]);
        let reply = get(proxy.http, HOST, "/a?b").await;
        assert_eq!(reply.status, expected, "{more} {annotations:?}");
        let location = format!("https://{HOST}/a?b");
        assert_eq!(reply.header("location"), (expected == 308).then_some(&*location), "{more} {annotations:?}");
    }
}

#[tokio::test]
async fn rules_for_acme_challenges_stay_open_and_requests_of_other_rules_are_sent_to_https() {
    let (_pod, address) = echo_pod("web-1");
    let challenge = "/.well-known/acme-challenge/token";
    let paths = [("Prefix", "/", "web"), ("Exact", challenge, "web")];
    let tls = json!({ "tls": [{ "hosts": [HOST] }] });
    let proxy = Proxy::of(manifests(&[ingress("web", HOST, &paths, tls)], address), &[]);
    assert_eq!(get(proxy.http, HOST, challenge).await.pod(), Some("web-1"));
    assert_eq!(get(proxy.http, HOST, "/.well-known/acme-challenge/other").await.status, 308);
}

#[tokio::test]
async fn a_stated_place_answers_every_request_without_a_pod() {
    let (_pod, address) = echo_pod("web-1");
    let (permanent, temporal) = (("permanent-redirect", "https://new.example.org$request_uri"), "temporal-redirect");
    for (annotations, status, location, cache) in [
        (&[permanent][..], 301, "https://new.example.org/a?b", None),
        (&[permanent, ("permanent-redirect-code", "308")], 308, "https://new.example.org/a?b", None),
        (&[permanent, ("permanent-redirect-code", "200")], 301, "https://new.example.org/a?b", None),
        (
            &[permanent, (temporal, "$scheme://$host:8080/fixed")],
            302,
            "http://web.example.com:8080/fixed",
            Some("no-cache"),
        ),
        (&[(temporal, "http://t/"), ("temporal-redirect-code", "307")], 307, "http://t/", Some("no-cache")),
    ] {
        // Its Service has no pod.
        let mut object = web(json!({}), annotations);
        object["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]["name"] = json!("none");
        let proxy = Proxy::of(manifests(&[object], address), &[]);
        let reply = get(proxy.http, HOST, "/a?b").await;
        assert_eq!((reply.status, reply.header("location")), (status, Some(location)), "{annotations:?}");
        assert_eq!(reply.header("cache-control"), cache, "{annotations:?}");
    }
    for place in ["https://$remote_addr/", "javascript:alert(1)", "https://a\r\nX: y", "/relative"] {
        let proxy = Proxy::of(manifests(&[web(json!({}), &[("permanent-redirect", place)])], address), &[]);
        assert_eq!(get(proxy.http, HOST, "/").await.pod(), Some("web-1"), "{place:?} is not followed");
    }
}

#[tokio::test]
async fn the_root_leads_to_the_application_and_nothing_else_does() {
    let (_pod, address) = echo_pod("web-1");
    let proxy = Proxy::of(manifests(&[web(json!({}), &[("app-root", "/app1?x")])], address), &[]);
    for root in ["/", "/?query", "/x/.."] {
        let reply = get(proxy.http, HOST, root).await;
        assert_eq!((reply.status, reply.header("location")), (302, Some("/app1?x")), "{root}");
    }
    assert_eq!(get(proxy.http, HOST, "/app1").await.pod(), Some("web-1"));
}

#[tokio::test]
async fn a_host_with_www_leads_to_the_one_without_and_the_other_way_round() {
    let (_pod, address) = echo_pod("web-1");
    let annotation = (format!("{NGINX}from-to-www-redirect"), "true");
    let annotation = [(annotation.0.as_str(), annotation.1)];
    let mut other = annotated(route("other", "www.shop.example.com", json!({})), &annotation);
    other["spec"]["to"]["name"] = json!("web");
    let objects = [web(json!({}), &[("from-to-www-redirect", "true")]), other];
    let proxy = Proxy::of(manifests(&objects, address), &[]);
    for (host, expected) in [
        ("www.web.example.com", "http://web.example.com/a%2Fb?c"),
        ("www.web.example.com:8080", "http://web.example.com:8080/a%2Fb?c"),
        ("shop.example.com", "http://www.shop.example.com/a%2Fb?c"),
    ] {
        let reply = get(proxy.http, host, "/a%2Fb?c").await;
        assert_eq!((reply.status, reply.header("location")), (308, Some(expected)), "{host}");
    }
    assert_eq!(get(proxy.http, HOST, "/").await.pod(), Some("web-1"));
    assert_eq!(get(proxy.http, "www.www.web.example.com", "/").await.status, 404);
}

#[tokio::test]
async fn a_www_host_that_somebody_holds_stays_theirs() {
    let (_pod, address) = echo_pod("web-1");
    let (_other, other) = echo_pod("other-1");
    let objects = [
        web(json!({}), &[("from-to-www-redirect", "true")]),
        ingress("other", "www.web.example.com", &[("Prefix", "/", "other")], json!({})),
        service("other"),
        pod("other", "other-1", other),
    ];
    let proxy = Proxy::of(manifests(&objects, address), &[]);
    assert_eq!(get(proxy.http, "www.web.example.com", "/").await.pod(), Some("other-1"));
    assert_eq!(get(proxy.http, HOST, "/").await.pod(), Some("web-1"));
}

#[tokio::test]
async fn a_www_host_over_tls_has_the_routes_certificate_and_leads_to_https() {
    let (_pod, address) = echo_pod("web-1");
    let ca = TestCa::new("test").unwrap();
    let both = ca.identity(&[HOST, "www.web.example.com"]).unwrap();
    let tls = json!({ "tls": {
        "termination": "edge", "insecureEdgeTerminationPolicy": "Redirect", "certificate": both.certificate, "key": both.key
    }});
    let object = annotated(route("web", HOST, tls), &[("nearside.dev/from-to-www-redirect", "true")]);
    let proxy = Proxy::of(manifests(&[object], address), &[]);
    let stream = connect_tls(proxy.https, &ca, "www.web.example.com", &["http/1.1"]).await.unwrap();
    let asked = Request::get("/a").header("host", "www.web.example.com").body(Full::default()).unwrap();
    let secure = exchange(stream, asked).await;
    let plain = request(proxy.http, Request::get("/a").header("host", "www.web.example.com:8080")).await;
    for reply in [secure, plain] {
        assert_eq!((reply.status, reply.header("location")), (308, Some("https://web.example.com/a")));
    }
}
