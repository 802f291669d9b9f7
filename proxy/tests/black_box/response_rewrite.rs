//! What pods say of their own place, put right for clients.

use super::support::manifests::{annotated, ingress, ingress_class, pod, service};
use super::support::pods::read_header;
use super::support::{Manifests, Proxy, Scripted, get};
use serde_json::json;
use tokio::io::AsyncWriteExt;

const HOST: &str = "web.example.com";
const ANSWER: &str = "HTTP/1.1 302 Found\r\nLocation: http://web:8080/next?a=b\r\nSet-Cookie: a=1; Domain=web.internal; \
    Path=/app/x\r\nSet-Cookie: b=2; Path=/other\r\nRefresh: 5; url=http://web:8080/\r\nContent-Length: 0\r\n\r\n";

async fn answer(annotations: &[(&str, &str)]) -> [Vec<String>; 3] {
    let pod_server = Scripted::start(|mut stream| async move {
        read_header(&mut stream).await;
        drop(stream.write_all(ANSWER.as_bytes()).await);
    })
    .await;
    let web = annotated(ingress("web", HOST, &[("Prefix", "/", "web")], json!({})), annotations);
    let manifests = Manifests::with(&[ingress_class(), web, service("web"), pod("web", "web-1", pod_server.address)]);
    let proxy = Proxy::start(&manifests, &[]);
    let reply = get(proxy.http, HOST, "/").await;
    assert_eq!(reply.status, 302);
    ["location", "set-cookie", "refresh"].map(|name| {
        let values = reply.headers.get_all(name).iter();
        values.map(|value| value.to_str().unwrap().to_owned()).collect()
    })
}

#[tokio::test]
async fn places_and_cookies_of_pods_are_changed_where_an_object_says_so() {
    let [location, cookies, refresh] = answer(&[
        ("nginx.ingress.kubernetes.io/proxy-redirect-from", "http://web:8080/"),
        ("nginx.ingress.kubernetes.io/proxy-redirect-to", "https://web.example.com/"),
        ("nginx.ingress.kubernetes.io/proxy-cookie-domain", "web.internal example.com"),
        ("nearside.dev/proxy-cookie-path", "/app/ /"),
    ])
    .await;
    assert_eq!(location, ["https://web.example.com/next?a=b"]);
    assert_eq!(refresh, ["5; url=https://web.example.com/"]);
    assert_eq!(cookies, ["a=1; Domain=example.com; Path=/x", "b=2; Path=/other"]);
    let [location, cookies, refresh] = answer(&[("nearside.dev/proxy-redirect-from", "off")]).await;
    assert_eq!(location, ["http://web:8080/next?a=b"]);
    assert_eq!(refresh, ["5; url=http://web:8080/"]);
    assert_eq!(cookies, ["a=1; Domain=web.internal; Path=/app/x", "b=2; Path=/other"]);
}
