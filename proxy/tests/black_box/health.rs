//! Which pods are passed over because they fail, and how those that come back are eased in.

use super::support::manifests::{annotated, pod, route, service};
use super::support::pods::{Refusing, read_header};
use super::support::{Manifests, Proxy, Scripted, echo_pod, eventually, get};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::AsyncWriteExt;

const HOST: &str = "web.example.com";

/// A pod that closes its first connections without an answer, each after it has read a request.
async fn cutting(count: usize) -> Scripted {
    let connections = Arc::new(AtomicUsize::new(0));
    Scripted::start(move |mut stream| {
        let number = connections.fetch_add(1, Ordering::Relaxed);
        async move {
            read_header(&mut stream).await;
            if number >= count {
                drop(stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok").await);
            }
        }
    })
    .await
}

async fn statuses(proxy: &Proxy, count: usize) -> Vec<u16> {
    let mut statuses = Vec::new();
    for _ in 0..count {
        statuses.push(get(proxy.http, HOST, "/").await.status);
    }
    statuses
}

#[tokio::test]
async fn a_pod_that_cannot_be_reached_is_passed_over_after_three_attempts() {
    let (_pod, address) = echo_pod("web-1");
    let gone = Refusing::new();
    let manifests = Manifests::with(&[
        route("web", HOST, json!({})),
        service("web"),
        pod("web", "web-1", address),
        pod("web", "web-2", gone.address()),
    ]);
    let proxy = Proxy::start(&manifests, &["--balance=roundrobin"]);
    assert_eq!(statuses(&proxy, 30).await, [200; 30], "each was retried at the other pod");
    assert_eq!(proxy.metric("nearside_upstream_connect_failures_total", "").await, Some(3.0));
    assert_eq!(proxy.metric("nearside_endpoint_ejections_total", "").await, Some(1.0));
}

#[tokio::test]
async fn a_pod_that_cuts_requests_off_is_passed_over_after_three_of_them() {
    let (_pod, address) = echo_pod("web-1");
    let cutting = cutting(usize::MAX).await;
    let manifests = Manifests::with(&[
        route("web", HOST, json!({})),
        service("web"),
        pod("web", "web-1", address),
        pod("web", "web-2", cutting.address),
    ]);
    let proxy = Proxy::start(&manifests, &["--balance=roundrobin"]);
    let statuses = statuses(&proxy, 30).await;
    assert_eq!(statuses.iter().filter(|status| **status == 502).count(), 3, "{statuses:?}");
    assert_eq!(statuses[10..], [200; 20]);
}

#[tokio::test]
async fn the_last_pod_of_a_service_is_asked_whatever_it_does() {
    let cutting = cutting(5).await;
    let manifests =
        Manifests::with(&[route("web", HOST, json!({})), service("web"), pod("web", "web-1", cutting.address)]);
    let proxy = Proxy::start(&manifests, &[]);
    assert_eq!(statuses(&proxy, 7).await, [502, 502, 502, 502, 502, 200, 200]);
}

#[tokio::test]
async fn a_pod_that_has_just_come_gets_a_small_share_where_the_route_asks_for_it() {
    for (annotations, expected) in [(&[][..], 32..=32), (&[("nearside.dev/slow-start", "1h")], 1..=4)] {
        let (_one, one) = echo_pod("web-1");
        let (new, two) = echo_pod("web-2");
        let web = annotated(route("web", HOST, json!({})), annotations);
        let manifests = Manifests::with(&[web, service("web"), pod("web", "web-1", one)]);
        let proxy = Proxy::start(&manifests, &["--balance=roundrobin"]);
        manifests.put(&pod("web", "web-2", two));
        eventually("the new pod is there", || async { proxy.page("/routes").await.1.contains("web-2").then_some(()) })
            .await;
        statuses(&proxy, 64).await;
        assert!(expected.contains(&new.requests()), "{annotations:?}: {}", new.requests());
    }
}
