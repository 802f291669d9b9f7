//! Answers that no pod made: the pages of the proxy, and those of files.

use super::support::client::raw;
use super::support::manifests::{route, service};
use super::support::{Manifests, Proxy, eventually, get};
use serde_json::json;
use std::path::Path;

const HOST: &str = "video.example.com";
const RESPONSE: &str = "HTTP/1.0 503 Service Unavailable\r\nPragma: no-cache\r\nCache-Control: no-store\r\n\
    Connection: close\r\nContent-Type: text/plain\r\nX-Page: ours\r\n\r\nsorry\n";

/// A host without a pod.
fn without_pods() -> Manifests {
    Manifests::with(&[route("video", HOST, json!({})), service("video")])
}

fn replace(file: &Path, content: &str) {
    let written = file.with_extension("new");
    std::fs::write(&written, content).unwrap();
    std::fs::rename(written, file).unwrap();
}

#[tokio::test]
async fn pages_are_html_that_nobody_keeps_with_the_titles_of_the_openshift_router() {
    let manifests = without_pods();
    let proxy = Proxy::start(&manifests, &[]);
    for (host, status, title) in
        [(HOST, 503, "Application is not available"), ("other.example.com", 404, "Application or Document Not Found")]
    {
        let reply = get(proxy.http, host, "/").await;
        assert_eq!(reply.status, status);
        assert_eq!(reply.header("content-type"), Some("text/html; charset=utf-8"));
        assert_eq!(reply.header("cache-control"), Some("private, max-age=0, no-cache, no-store"));
        assert_eq!(reply.header("pragma"), Some("no-cache"));
        assert!(reply.text().contains(&format!("<title>{title}</title>")), "{}", reply.text());
    }
    let answer = raw(proxy.http, format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n").as_bytes()).await;
    assert!(answer.to_ascii_lowercase().contains("connection: close\r\n"), "{answer}");
}

#[tokio::test]
async fn files_are_sent_instead_and_followed_while_they_can_be_used() {
    let files = tempfile::tempdir().unwrap();
    let [unavailable, unknown] = ["503.http", "404.html"].map(|name| files.path().join(name));
    replace(&unavailable, RESPONSE);
    replace(&unknown, "<html>nothing here</html>");
    let flags =
        [("503", &unavailable), ("404", &unknown)].map(|(s, file)| format!("--error-page={s}={}", file.display()));
    let manifests = without_pods();
    let proxy = Proxy::start(&manifests, &[&flags[0], &flags[1], "--no-route-status=503"]);
    let page = get(proxy.http, HOST, "/").await;
    assert_eq!((page.status, page.text().as_str(), page.header("x-page")), (503, "sorry\n", Some("ours")));
    assert!(page.header("retry-after").is_some(), "what the file does not say stays");
    let page = get(proxy.http, "other.example.com", "/").await;
    assert_eq!((page.status, page.text().as_str()), (404, "<html>nothing here</html>"), "its page makes it 404");
    let head = format!("HEAD / HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    let head = raw(proxy.http, head.as_bytes()).await;
    assert!(head.to_ascii_lowercase().contains("content-length: 6\r\n") && head.ends_with("\r\n\r\n"), "{head}");

    replace(&unavailable, "HTTP/1.0 503 Service Unavailable\r\nbroken\r\n\r\n");
    eventually("the broken file is told", || async { proxy.log().contains("line 2 is no header field").then_some(()) })
        .await;
    assert_eq!(get(proxy.http, HOST, "/").await.text(), "sorry\n", "the last good content holds");
    replace(&unavailable, &RESPONSE.replace("sorry", "later"));
    eventually("the new file counts", || async {
        (get(proxy.http, HOST, "/").await.text() == "later\n").then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_pages_of_an_openshift_router_count() {
    let files = tempfile::tempdir().unwrap();
    let [unavailable, unknown] = ["503.http", "404.http"].map(|name| files.path().join(name));
    replace(&unavailable, RESPONSE);
    replace(&unknown, &RESPONSE.replace("503 Service Unavailable", "404 Not Found").replace("sorry", "gone"));
    let environment =
        [("ROUTER_ERRORFILE_503", unavailable.to_str().unwrap()), ("ROUTER_ERRORFILE_404", unknown.to_str().unwrap())];
    let manifests = without_pods();
    let proxy = Proxy::start_in(&environment, &manifests, &["--allow-endpoints=127.0.0.0/8"]);
    assert_eq!(get(proxy.http, HOST, "/").await.text(), "sorry\n");
    let page = get(proxy.http, "other.example.com", "/").await;
    assert_eq!((page.status, page.text().as_str()), (404, "gone\n"));
}
