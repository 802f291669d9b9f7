//! Answers that an object has replaced: by its error Service, or by the pages of the proxy.

use super::support::manifests::{
    annotated, ingress, ingress_class, pod, pod_on, published, route, service, with_readiness,
};
use super::support::pods::read_header;
use super::support::{Manifests, Proxy, Scripted, echo_pod, eventually, get, request};
use http::Request;
use serde_json::json;
use tokio::io::AsyncWriteExt;

const HOST: &str = "web.example.com";
const ERRORS: [(&str, &str); 2] = [
    ("nginx.ingress.kubernetes.io/custom-http-errors", "404,503"),
    ("nginx.ingress.kubernetes.io/default-backend", "errors"),
];

/// A pod that answers every request with 418 and the header that it saw.
async fn error_pod() -> Scripted {
    Scripted::start(|mut stream| async move {
        loop {
            let seen = read_header(&mut stream).await;
            if seen.is_empty() {
                return;
            }
            let fields = "Set-Cookie: a=1\r\nSet-Cookie: b=2\r\nConnection: keep-alive";
            let answer = format!("HTTP/1.1 418 Teapot\r\n{fields}\r\nContent-Length: {}\r\n\r\n{seen}", seen.len());
            drop(stream.write_all(answer.as_bytes()).await);
        }
    })
    .await
}

#[tokio::test]
async fn listed_statuses_are_replaced_by_the_error_service_which_is_told_of_the_request() {
    let (_pod, address) = echo_pod("web-1");
    let errors = error_pod().await;
    let web = annotated(ingress("web", HOST, &[("Prefix", "/", "web")], json!({})), &ERRORS);
    let manifests = Manifests::with(&[
        ingress_class(),
        web,
        service("web"),
        service("errors"),
        pod("web", "web-1", address),
        pod("errors", "errors-1", errors.address),
    ]);
    let proxy = Proxy::start(&manifests, &[]);
    for _ in 0..2 {
        let asked = Request::get("/status/404?a=%20b").header("host", HOST).header("accept", "application/json");
        let reply = request(proxy.http, asked.header("x-request-id", "r-1")).await;
        assert_eq!(reply.status, 418, "the error Service decides");
        assert_eq!(reply.headers.get_all("set-cookie").iter().count(), 2);
        let seen = reply.text().to_ascii_lowercase();
        for line in [
            "get / http/1.1",
            "x-code: 404",
            "x-format: application/json",
            "x-original-uri: /status/404?a=%20b",
            "x-namespace: shop",
            "x-ingress-name: web",
            "x-service-name: web",
            "x-service-port: 80",
            "x-request-id: r-1",
            "x-forwarded-for: 127.0.0.1",
            &format!("host: {HOST}"),
        ] {
            assert!(seen.lines().any(|known| known == line), "{line} is missing: {seen}");
        }
    }
    assert_eq!(proxy.access_line(HOST).await["reason"], "custom_error");
    assert_eq!(get(proxy.http, HOST, "/status/500").await.status, 500, "others are the pod's");
    assert_eq!(get(proxy.http, HOST, "/").await.pod(), Some("web-1"));

    manifests.remove(&pod("errors", "errors-1", errors.address));
    eventually("the page of the proxy", || async {
        let reply = get(proxy.http, HOST, "/status/404").await;
        (reply.status == 404 && reply.pod().is_none() && reply.text().contains("<html>")).then_some(())
    })
    .await;
}

#[tokio::test]
async fn where_nothing_is_ready_anywhere_the_error_service_answers_and_elsewhere_comes_first() {
    let (_pod, address) = echo_pod("web-1");
    let errors = error_pod().await;
    let web = annotated(route("web", HOST, json!({})), &ERRORS[1..]);
    let unready = with_readiness(pod("web", "web-1", address), false);
    let manifests =
        Manifests::with(&[web, service("web"), service("errors"), unready, pod("errors", "errors-1", errors.address)]);
    let proxy = Proxy::start(&manifests, &[]);
    let reply = get(proxy.http, HOST, "/").await;
    assert!(reply.status == 418 && reply.text().to_ascii_lowercase().contains("x-code: 503\r\n"), "{}", reply.text());
    manifests.put(&pod_on("n2", "web", "web-2", "198.18.1.1:80".parse().unwrap()));
    manifests.put(&published(HOST, &["n2"]));
    eventually("the node with the pod", || async { (get(proxy.http, HOST, "/").await.status == 307).then_some(()) })
        .await;
}

#[tokio::test]
async fn an_error_service_that_fails_leaves_the_page_of_the_proxy() {
    let (_pod, address) = echo_pod("web-1");
    let silent = Scripted::start(|stream| async move { drop(stream) }).await;
    let web = annotated(route("web", HOST, json!({})), &ERRORS);
    let objects = [web, service("web"), service("errors"), pod("web", "web-1", address)];
    let manifests = Manifests::with(&objects);
    manifests.put(&pod("errors", "errors-1", silent.address));
    let proxy = Proxy::start(&manifests, &[]);
    let reply = get(proxy.http, HOST, "/status/404").await;
    assert!(reply.status == 404 && reply.text().contains("Application or Document Not Found"), "{}", reply.text());
}
