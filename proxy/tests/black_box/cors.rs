//! Cross-origin requests: preflights that the proxy answers, and fields of responses that it writes.

use super::support::client::{Reply, request};
use super::support::manifests::{annotated, ingress, ingress_class, pod, service};
use super::support::pods::read_header;
use super::support::{Manifests, Proxy, Scripted};
use http::Request;
use serde_json::json;
use tokio::io::AsyncWriteExt;

const HOST: &str = "api.example.com";
const NGINX: &str = "nginx.ingress.kubernetes.io/";

/// A pod that allows everything to everybody.
async fn generous() -> Scripted {
    Scripted::start(|mut stream| async move {
        read_header(&mut stream).await;
        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Nearside-Pod: web-1\r\nVary: Accept\r\n\
                      Access-Control-Allow-Origin: https://pod.example.com\r\nAccess-Control-Allow-Credentials: true\r\n\r\n";
        stream.write_all(answer.as_bytes()).await.unwrap();
    })
    .await
}

fn proxy(pod_: &Scripted, annotations: &[(&str, &str)]) -> (Proxy, Manifests) {
    let names: Vec<String> = annotations.iter().map(|(name, _)| format!("{NGINX}{name}")).collect();
    let annotations: Vec<(&str, &str)> =
        names.iter().zip(annotations).map(|(name, (_, value))| (name.as_str(), *value)).collect();
    let web = annotated(ingress("web", HOST, &[("Prefix", "/", "web")], json!({})), &annotations);
    let manifests = Manifests::with(&[ingress_class(), web, service("web"), pod("web", "web-1", pod_.address)]);
    (Proxy::start(&manifests, &[]), manifests)
}

async fn ask(proxy: &Proxy, method: &str, origin: Option<&str>, preflight: bool) -> Reply {
    let mut builder = Request::builder().method(method).uri("/").header("host", HOST);
    if let Some(origin) = origin {
        builder = builder.header("origin", origin);
    }
    if preflight {
        builder = builder.header("access-control-request-method", "PUT");
    }
    request(proxy.http, builder).await
}

fn fields(reply: &Reply) -> [Option<&str>; 3] {
    ["access-control-allow-origin", "access-control-allow-credentials", "access-control-expose-headers"]
        .map(|name| reply.header(name))
}

#[tokio::test]
async fn a_preflight_is_answered_by_the_proxy_with_the_defaults_of_ingress_nginx() {
    let pod = generous().await;
    let (proxy, _manifests) = proxy(&pod, &[("enable-cors", "true")]);
    let reply = ask(&proxy, "OPTIONS", Some("https://page.example.org"), true).await;
    assert_eq!((reply.status, reply.pod(), reply.header("content-length")), (204, None, None));
    assert_eq!(fields(&reply), [Some("*"), None, None], "no browser takes credentials together with any origin");
    assert_eq!(reply.header("access-control-allow-methods"), Some("GET, PUT, POST, DELETE, PATCH, OPTIONS"));
    assert!(reply.header("access-control-allow-headers").unwrap().contains("Range"));
    assert_eq!(reply.header("access-control-max-age"), Some("1728000"));
    let actual = ask(&proxy, "GET", Some("https://page.example.org"), false).await;
    assert_eq!((actual.pod(), fields(&actual)), (Some("web-1"), [Some("*"), None, None]));
    let plain = ask(&proxy, "OPTIONS", None, false).await;
    assert_eq!(plain.pod(), Some("web-1"), "OPTIONS is more than preflights");
}

#[tokio::test]
async fn listed_origins_are_told_that_they_are_allowed_and_others_nothing() {
    let pod = generous().await;
    let (proxy, _manifests) = proxy(
        &pod,
        &[
            ("enable-cors", "true"),
            ("cors-allow-origin", "https://*.example.org, http://localhost:3000"),
            ("cors-allow-methods", "GET, PUT"),
            ("cors-allow-headers", "X-One"),
            ("cors-expose-headers", "X-Two"),
            ("cors-max-age", "60"),
        ],
    );
    for (origin, allowed) in [
        ("https://app.example.org", true),
        ("http://localhost:3000", true),
        ("https://a.b.example.org", false),
        ("https://example.org", false),
        ("https://pod.example.com", false),
        ("null", false),
    ] {
        let preflight = ask(&proxy, "OPTIONS", Some(origin), true).await;
        assert_eq!((preflight.status, preflight.pod()), (204, None), "{origin}");
        let actual = ask(&proxy, "GET", Some(origin), false).await;
        let expected = if allowed { [Some(origin), Some("true"), Some("X-Two")] } else { [None; 3] };
        assert_eq!((fields(&preflight), fields(&actual)), (expected, expected), "{origin}");
        let methods = preflight.header("access-control-allow-methods");
        assert_eq!(methods, allowed.then_some("GET, PUT"), "{origin}");
        let vary: Vec<_> = actual.headers.get_all("vary").iter().map(|value| value.to_str().unwrap()).collect();
        assert_eq!(vary, ["Accept", "Origin"], "{origin}");
    }
    let without = ask(&proxy, "GET", None, false).await;
    assert_eq!(fields(&without), [None; 3]);
}

#[tokio::test]
async fn credentials_can_be_refused_and_errors_of_the_proxy_can_be_read() {
    let pod = generous().await;
    let list = ("cors-allow-origin", "https://app.example.org");
    let (proxy, manifests) = proxy(&pod, &[("enable-cors", "true"), list, ("cors-allow-credentials", "false")]);
    let origin = Some("https://app.example.org");
    assert_eq!(fields(&ask(&proxy, "GET", origin, false).await), [origin, None, None]);
    manifests.remove(&service("web"));
    super::support::eventually("the error page", || async {
        let reply = ask(&proxy, "GET", origin, false).await;
        (reply.status == 503).then(|| assert_eq!(fields(&reply), [origin, None, None]))
    })
    .await;
}

#[tokio::test]
async fn without_the_switch_the_pod_speaks_for_itself() {
    let pod = generous().await;
    for annotations in [&[][..], &[("cors-allow-origin", "https://app.example.org")], &[("enable-cors", "yes")]] {
        let (proxy, _manifests) = proxy(&pod, annotations);
        let preflight = ask(&proxy, "OPTIONS", Some("https://app.example.org"), true).await;
        assert_eq!(preflight.pod(), Some("web-1"), "{annotations:?}");
        assert_eq!(fields(&preflight), [Some("https://pod.example.com"), Some("true"), None], "{annotations:?}");
    }
}
