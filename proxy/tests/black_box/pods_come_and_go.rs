//! Pods that end without a word, and pods that are still listed though nothing answers there: clients notice nothing.

use super::support::client::get_tls;
use super::support::manifests::{annotated, pod, route, service};
use super::support::pods::{Refusing, echo_pod_with};
use super::support::{Manifests, Proxy, Scripted, echo_pod, eventually, get, request};
use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use nearside_loadtest::certificates::TestCa;
use nearside_loadtest::pods::PodServer;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

const HOST: &str = "web.example.com";

/// Asks on connections that are kept for as long as the proxy keeps them, until `ended`.
async fn ask_on_kept_connections(proxy: SocketAddr, ended: &AtomicBool, served: &AtomicUsize) {
    while !ended.load(Ordering::Relaxed) {
        let stream = TcpStream::connect(proxy).await.unwrap();
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        let connection = tokio::spawn(connection);
        loop {
            let request = Request::get("/").header("host", HOST).body(Empty::<Bytes>::new()).unwrap();
            let reply = sender.send_request(request).await.unwrap();
            assert_eq!(reply.status(), 200);
            let closes = reply.headers().get("connection").is_some_and(|value| value == "close");
            reply.into_body().collect().await.unwrap();
            served.fetch_add(1, Ordering::Relaxed);
            if closes || ended.load(Ordering::Relaxed) {
                break;
            }
        }
        drop(sender);
        drop(connection.await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_update_of_fifty_pods_that_end_at_once_fails_no_get() {
    let start = |name: &str| -> (PodServer, Value) {
        let (server, address) = echo_pod(name);
        (server, pod("web", name, address))
    };
    let mut pods: Vec<_> = (0..50).map(|number| start(&format!("old-{number}"))).collect();
    let objects: Vec<Value> = pods.iter().map(|(_, object)| object.clone()).collect();
    // A request that a pod has taken and never answers is repeated only where its route says so.
    let web = annotated(route("web", HOST, json!({})), &[("nearside.dev/retry-on", "error")]);
    let manifests = Manifests::with(&[vec![web, service("web")], objects].concat());
    let proxy = Proxy::start(&manifests, &[]);
    let (ended, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let (mut clients, address) = (JoinSet::new(), proxy.http);
    for client in 0..6 {
        let (ended, served) = (Arc::clone(&ended), Arc::clone(&served));
        clients.spawn(async move {
            if client % 2 == 0 {
                return ask_on_kept_connections(address, &ended, &served).await;
            }
            while !ended.load(Ordering::Relaxed) {
                assert_eq!(get(address, HOST, "/").await.status, 200);
                served.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    for (number, wave) in pods.chunks_mut(50 / 4).enumerate() {
        // New ones come first, as with a surge; the old ones are gone before their objects are, all at once, by many requests.
        let mut ended_objects = Vec::new();
        for (place, old) in wave.iter_mut().enumerate() {
            let (server, object) = start(&format!("new-{number}-{place}"));
            manifests.put(&object);
            let (ended_pod, old_object) = std::mem::replace(old, (server, object));
            drop(ended_pod);
            ended_objects.push(old_object);
        }
        let wanted = served.load(Ordering::Relaxed) + 100;
        let seen = Arc::clone(&served);
        eventually("requests go on", || async { (seen.load(Ordering::Relaxed) >= wanted).then_some(()) }).await;
        ended_objects.iter().for_each(|object| manifests.remove(object));
    }
    eventually("only new pods are left", || async {
        (!proxy.page("/routes").await.1.contains("\"old-")).then_some(())
    })
    .await;
    ended.store(true, Ordering::Relaxed);
    clients.join_all().await;
    assert_eq!(proxy.metric("nearside_http_requests_total", "code=\"5").await, None);
}

#[tokio::test]
async fn pods_that_have_ended_and_are_still_listed_cost_no_request_however_many() {
    let ca = TestCa::new("pods").unwrap();
    let identity = || ca.identity(&[HOST]).unwrap();
    // What was refused was not sent, so that the method does not matter, nor who reads and writes, nor whether anybody does.
    for (way, flag, more) in [
        ("plain", "--fast-path=true", json!({})),
        ("by Pingora", "--fast-path=false", json!({})),
        ("passed through", "--fast-path=true", json!({ "tls": { "termination": "passthrough" } })),
    ] {
        let tls = (way == "passed through").then(identity);
        let ended: Vec<_> = (0..30).map(|_| Refusing::new()).collect();
        let left: Vec<_> =
            (0..20).map(|_| echo_pod_with("left", tls.as_ref().map(|identity| identity.server().unwrap()))).collect();
        let addresses = ended.iter().map(Refusing::address).chain(left.iter().map(|(_, address)| *address));
        let pods = addresses.enumerate().map(|(number, address)| pod("web", &format!("web-{number}"), address));
        // By turns, so that some requests meet all that have ended one after the other.
        let web = annotated(route("web", HOST, more), &[("nearside.dev/balance", "roundrobin")]);
        let objects: Vec<Value> = [web, service("web")].into_iter().chain(pods).collect();
        let proxy = Proxy::of(Manifests::with(&objects), &["--check-interval=0s", flag]);
        for number in 0..60 {
            let reply = match &tls {
                Some(_) => get_tls(proxy.https, &ca, HOST, "/").await.unwrap(),
                None => {
                    let method = ["GET", "POST"][number % 2];
                    request(proxy.http, Request::builder().method(method).uri("/").header("host", HOST)).await
                }
            };
            assert_eq!((reply.status, reply.pod()), (200, Some("left")), "{way}, number {number}");
        }
        let refused = proxy.metric("nearside_upstream_connect_failures_total", "").await.unwrap();
        assert!(refused >= 30.0, "{way}: each was met: {refused}");
    }
}

#[tokio::test]
async fn where_all_refuse_the_search_ends_and_a_route_that_allows_fewer_tries_has_them() {
    for (annotations, expected) in [(&[][..], 32.0), (&[("nearside.dev/retry-tries", "2")], 2.0)] {
        let ended: Vec<_> = (0..40).map(|_| Refusing::new()).collect();
        let pods = ended.iter().enumerate().map(|(number, gone)| pod("web", &format!("web-{number}"), gone.address()));
        let objects: Vec<Value> =
            [annotated(route("web", HOST, json!({})), annotations), service("web")].into_iter().chain(pods).collect();
        let proxy = Proxy::of(Manifests::with(&objects), &["--check-interval=0s"]);
        assert_eq!(get(proxy.http, HOST, "/").await.status, 503, "{annotations:?}");
        let refused = proxy.metric("nearside_upstream_connect_failures_total", "").await;
        assert_eq!(refused, Some(expected), "{annotations:?}");
    }
}

/// An address that swallows what is sent to it, as that of a pod whose node has forgotten it: the queue of a listener that accepts
/// nothing is full. Gone with the value.
struct BlackHole {
    address: SocketAddr,
    _listener: TcpListener,
    _queued: Vec<TcpStream>,
}

impl BlackHole {
    async fn new() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(1).unwrap();
        let address = listener.local_addr().unwrap();
        let mut queued = Vec::new();
        while let Ok(stream) = timeout(Duration::from_millis(300), TcpStream::connect(address)).await {
            queued.push(stream.unwrap());
        }
        Self { address, _listener: listener, _queued: queued }
    }
}

#[tokio::test]
async fn a_pod_that_swallows_everything_costs_a_moment_and_no_request() {
    let hole = BlackHole::new().await;
    let (_pod, address) = echo_pod("web-1");
    let pods = [pod("web", "web-0", hole.address), pod("web", "web-1", address)];
    let objects = [vec![route("web", HOST, json!({})), service("web")], pods.into()].concat();
    let proxy = Proxy::of(Manifests::with(&objects), &["--check-interval=0s"]);
    // So many that chance leads some of them to the hole first, until it is passed over.
    for _ in 0..40 {
        assert_eq!(get(proxy.http, HOST, "/").await.pod(), Some("web-1"));
    }
}

fn of_namespace(namespace: &str, mut object: Value) -> Value {
    object["metadata"]["namespace"] = json!(namespace);
    object
}

/// An answer that says whose it is, on a connection that is kept.
fn answer_of(namespace: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{namespace}", namespace.len()).into_bytes()
}

#[tokio::test]
async fn an_address_that_another_tenants_pod_has_now_brings_nobody_to_the_wrong_pod() {
    const THEIRS: &str = "theirs.example.com";
    for fast_path in ["--fast-path=true", "--fast-path=false"] {
        // An address that nobody else takes meanwhile.
        let listener = TcpListener::bind("127.0.11.11:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let ours = Scripted::repeating_on(listener, answer_of("shop"));
        let our_pod = pod("web", "web-0", address);
        let theirs = |object| of_namespace("theirs", object);
        let our_objects = [route("web", HOST, json!({})), service("web"), our_pod.clone()];
        let their_objects = [theirs(route("web", THEIRS, json!({}))), theirs(service("web"))];
        let manifests = Manifests::with(&[our_objects.to_vec(), their_objects.to_vec()].concat());
        let proxy = Proxy::start(&manifests, &[fast_path]);
        let asked = async |host| {
            let reply = get(proxy.http, host, "/").await;
            (reply.status, reply.text())
        };
        for _ in 0..4 {
            assert_eq!(asked(HOST).await, (200, "shop".to_owned()));
        }
        assert_eq!(asked(THEIRS).await.0, 503);
        // Our pod accepts nothing any more, but answers on what the proxy has kept. Another one gets its address and is called alike.
        drop(ours);
        let listener = eventually("the address is free", || async { TcpListener::bind(address).await.ok() }).await;
        let _theirs = Scripted::repeating_on(listener, answer_of("theirs"));
        manifests.put(&theirs(pod("web", "web-0", address)));
        let first = eventually("their pod is known", || async {
            let reply = asked(THEIRS).await;
            (reply.0 != 503).then_some(reply)
        })
        .await;
        assert_eq!(first, (200, "theirs".to_owned()), "{fast_path}");
        // The objects are late with what became of ours.
        manifests.remove(&our_pod);
        eventually("ours is gone", || async { (asked(HOST).await.0 == 503).then_some(()) }).await;
        for _ in 0..20 {
            assert_eq!(asked(THEIRS).await, (200, "theirs".to_owned()), "{fast_path}");
            assert_eq!(asked(HOST).await.0, 503, "{fast_path}");
        }
        // Nor do our requests meet what was kept with the one pod or the other once we have a pod again.
        let (_again, elsewhere) = echo_pod("web-0");
        manifests.put(&pod("web", "web-0", elsewhere));
        eventually("ours is back", || async { (asked(HOST).await.0 == 200).then_some(()) }).await;
        for _ in 0..20 {
            assert_eq!(get(proxy.http, HOST, "/").await.pod(), Some("web-0"), "{fast_path}");
        }
    }
}
