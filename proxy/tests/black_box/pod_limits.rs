//! How many requests one pod has at a time, and what becomes of those beyond.

use super::support::client::{connect_tls, get_tls, read_until};
use super::support::manifests::{annotated, pod, route, service};
use super::support::pods::{echo_pod_with, read_header};
use super::support::{Manifests, Proxy, Scripted, eventually, get, request};
use http::Request;
use nearside_loadtest::certificates::TestCa;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

const HOST: &str = "web.example.com";
const LIMIT: &str = "haproxy.router.openshift.io/pod-concurrent-connections";

/// A pod that answers a request as soon as it may.
struct Held {
    pod: Scripted,
    /// The paths of the requests that it has seen.
    seen: Arc<Mutex<Vec<String>>>,
    /// One permit for each answer.
    may_answer: Arc<Semaphore>,
}

impl Held {
    async fn start() -> Self {
        let (seen, may_answer) = (Arc::<Mutex<Vec<String>>>::default(), Arc::new(Semaphore::new(0)));
        let shared = (Arc::clone(&seen), Arc::clone(&may_answer));
        let pod = Scripted::start(move |mut stream| {
            let (seen, may_answer) = shared.clone();
            async move {
                loop {
                    let header = read_header(&mut stream).await;
                    let Some(path) = header.split(' ').nth(1) else { return };
                    seen.lock().unwrap().push(path.to_owned());
                    may_answer.acquire().await.unwrap().forget();
                    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
                    if stream.write_all(answer.as_bytes()).await.is_err() {
                        return;
                    }
                }
            }
        })
        .await;
        Self { pod, seen, may_answer }
    }

    fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }

    /// Waits until the pod has seen exactly these paths.
    async fn has_seen(&self, expected: &[&str]) {
        eventually(&format!("the pod sees {expected:?}"), || async { (self.seen() == expected).then_some(()) }).await;
    }
}

fn objects(limit: &str, held: &Held) -> Vec<Value> {
    let web = annotated(route("web", HOST, json!({})), &[(LIMIT, limit)]);
    vec![web, service("web"), pod("web", "web-1", held.pod.address)]
}

/// Asks for a path in the background.
fn ask(proxy: &Proxy, path: &'static str) -> tokio::task::JoinHandle<u16> {
    let http = proxy.http;
    tokio::spawn(async move { get(http, HOST, path).await.status })
}

async fn waiting(proxy: &Proxy, count: f64) {
    eventually(&format!("{count} requests wait"), || async {
        (proxy.metric("nearside_waiting_requests", "").await == Some(count)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn requests_beyond_the_limit_of_a_pod_wait_their_turn() {
    let held = Held::start().await;
    let proxy = Proxy::start(&Manifests::with(&objects("1", &held)), &["--connect-timeout=1m"]);
    let first = ask(&proxy, "/1");
    held.has_seen(&["/1"]).await;
    let second = ask(&proxy, "/2");
    waiting(&proxy, 1.0).await;
    let third = ask(&proxy, "/3");
    waiting(&proxy, 2.0).await;
    assert_eq!(held.seen(), ["/1"], "one at a time");
    held.may_answer.add_permits(1);
    assert_eq!(first.await.unwrap(), 200);
    held.has_seen(&["/1", "/2"]).await;
    waiting(&proxy, 1.0).await;
    held.may_answer.add_permits(2);
    assert_eq!((second.await.unwrap(), third.await.unwrap()), (200, 200));
    assert_eq!(held.seen(), ["/1", "/2", "/3"]);
    assert_eq!(proxy.metric("nearside_queued_requests_total", "served").await, Some(2.0));
}

#[tokio::test]
async fn a_request_that_waits_too_long_is_refused() {
    let held = Held::start().await;
    let proxy = Proxy::start(&Manifests::with(&objects("1", &held)), &["--connect-timeout=200ms"]);
    let first = ask(&proxy, "/1");
    held.has_seen(&["/1"]).await;
    let reply = get(proxy.http, HOST, "/2").await;
    assert_eq!((reply.status, reply.header("retry-after").is_some()), (503, true));
    assert_eq!(proxy.access_line(HOST).await["reason"], "pod_busy");
    held.may_answer.add_permits(1);
    assert_eq!(first.await.unwrap(), 200);
    assert_eq!(held.seen(), ["/1"]);
    assert_eq!(proxy.metric("nearside_queued_requests_total", "timeout").await, Some(1.0));
}

#[tokio::test]
async fn a_client_that_leaves_gives_up_its_place() {
    let held = Held::start().await;
    let proxy = Proxy::start(&Manifests::with(&objects("1", &held)), &["--connect-timeout=1m"]);
    let first = ask(&proxy, "/1");
    held.has_seen(&["/1"]).await;
    let mut leaving = TcpStream::connect(proxy.http).await.unwrap();
    leaving.write_all(format!("GET /2 HTTP/1.1\r\nHost: {HOST}\r\n\r\n").as_bytes()).await.unwrap();
    waiting(&proxy, 1.0).await;
    drop(leaving);
    waiting(&proxy, 0.0).await;
    held.may_answer.add_permits(2);
    assert_eq!((first.await.unwrap(), ask(&proxy, "/3").await.unwrap()), (200, 200));
    assert_eq!(held.seen(), ["/1", "/3"]);
    assert_eq!(proxy.metric("nearside_queued_requests_total", "client_gone").await, Some(1.0));
}

#[tokio::test]
async fn a_pod_with_room_is_taken_but_a_client_waits_for_the_pod_it_belongs_to() {
    let (held, other) = (Held::start().await, Held::start().await);
    let mut objects = objects("1", &held);
    objects.push(pod("web", "web-2", other.pod.address));
    let proxy = Proxy::start(&Manifests::with(&objects), &["--connect-timeout=1m"]);
    let first = ask(&proxy, "/1");
    let second = ask(&proxy, "/2");
    eventually("both pods are busy", || async { (held.seen().len() + other.seen().len() == 2).then_some(()) }).await;
    assert_eq!((held.seen().len(), other.seen().len()), (1, 1), "whatever the algorithm says");
    held.may_answer.add_permits(1);
    other.may_answer.add_permits(1);
    assert_eq!((first.await.unwrap(), second.await.unwrap()), (200, 200));
    held.may_answer.add_permits(1);
    other.may_answer.add_permits(1);
    let reply = get(proxy.http, HOST, "/3").await;
    let cookie = reply.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    let (own, foreign) = if held.seen().len() == 2 { (&held, &other) } else { (&other, &held) };
    // The permit that the pod did not need.
    foreign.may_answer.acquire().await.unwrap().forget();
    let asked = |path: &'static str| {
        let (http, cookie) = (proxy.http, cookie.clone());
        tokio::spawn(async move {
            request(http, Request::get(path).header("host", HOST).header("cookie", cookie)).await.status
        })
    };
    let busy = asked("/4");
    eventually("its pod is busy", || async { (own.seen().len() == 3).then_some(()) }).await;
    let patient = asked("/5");
    waiting(&proxy, 1.0).await;
    own.may_answer.add_permits(2);
    assert_eq!((busy.await.unwrap(), patient.await.unwrap()), (200, 200));
    assert_eq!((own.seen().len(), foreign.seen().len()), (4, 1));
}

#[tokio::test]
async fn no_limit_is_zero_and_a_bad_one_is_none() {
    for limit in ["0", "-1", "many"] {
        let held = Held::start().await;
        let proxy = Proxy::start(&Manifests::with(&objects(limit, &held)), &[]);
        let all: Vec<_> = (0..4).map(|_| ask(&proxy, "/")).collect();
        eventually("all are at the pod", || async { (held.seen().len() == 4).then_some(()) }).await;
        held.may_answer.add_permits(4);
        for one in all {
            assert_eq!(one.await.unwrap(), 200, "{limit}");
        }
    }
}

#[tokio::test]
async fn connections_passed_through_wait_as_well() {
    let ca = TestCa::new("pod").unwrap();
    let (_pod, address) = echo_pod_with("web-1", Some(ca.identity(&[HOST]).unwrap().server().unwrap()));
    let spec = json!({ "tls": { "termination": "passthrough" } });
    let manifests = Manifests::with(&[
        annotated(route("web", HOST, spec), &[(LIMIT, "1")]),
        service("web"),
        pod("web", "web-1", address),
    ]);
    let proxy = Proxy::start(&manifests, &["--connect-timeout=1m"]);
    let first = connect_tls(proxy.https, &ca, HOST, &[]).await.unwrap();
    let https = proxy.https;
    let second = tokio::spawn(async move { get_tls(https, &ca, HOST, "/").await.unwrap().status });
    waiting(&proxy, 1.0).await;
    drop(first);
    assert_eq!(second.await.unwrap(), 200);
    waiting(&proxy, 0.0).await;
}

#[tokio::test]
async fn a_request_with_a_body_waits_with_its_body() {
    let held = Held::start().await;
    let proxy = Proxy::start(&Manifests::with(&objects("1", &held)), &["--connect-timeout=1m"]);
    let first = ask(&proxy, "/1");
    held.has_seen(&["/1"]).await;
    let mut client = TcpStream::connect(proxy.http).await.unwrap();
    let post = format!("POST /2 HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 4\r\n\r\nbody");
    client.write_all(post.as_bytes()).await.unwrap();
    waiting(&proxy, 1.0).await;
    held.may_answer.add_permits(2);
    assert_eq!(first.await.unwrap(), 200);
    assert!(read_until(&mut client, "ok").await.starts_with("HTTP/1.1 200"));
}
