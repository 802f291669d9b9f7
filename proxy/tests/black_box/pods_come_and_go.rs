//! Pods that end without a word, and pods that are still listed though nothing answers there: clients notice nothing.

use super::support::manifests::{pod, route, service};
use super::support::{Manifests, Proxy, echo_pod, eventually, get};
use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use nearside_loadtest::pods::PodServer;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::net::{TcpSocket, TcpStream};
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
    let manifests = Manifests::with(&[vec![route("web", HOST, json!({})), service("web")], objects].concat());
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
    for (number, old) in pods.iter_mut().enumerate() {
        // A new one comes first, as with a surge; the old one is gone before its object is, by more and more requests. The next follows when
        // the proxy knows: of several that are listed and gone, one request may meet as many as it tries.
        let (server, object) = start(&format!("new-{number}"));
        manifests.put(&object);
        let (ended_pod, old_object) = std::mem::replace(old, (server, object));
        drop(ended_pod);
        let wanted = served.load(Ordering::Relaxed) + number;
        let seen = Arc::clone(&served);
        eventually("requests go on", || async { (seen.load(Ordering::Relaxed) >= wanted).then_some(()) }).await;
        manifests.remove(&old_object);
        let name = format!("\"old-{number}\"");
        eventually("it is not listed any more", || async {
            (!proxy.page("/routes").await.1.contains(&name)).then_some(())
        })
        .await;
    }
    assert!(!proxy.page("/routes").await.1.contains("old-"), "only new pods are left");
    ended.store(true, Ordering::Relaxed);
    clients.join_all().await;
    assert_eq!(proxy.metric("nearside_http_requests_total", "code=\"5").await, None);
}

/// An address that swallows what is sent to it, as that of a pod whose node has forgotten it: the queue of a listener that accepts
/// nothing is full. Gone with the value.
struct BlackHole {
    address: SocketAddr,
    _listener: tokio::net::TcpListener,
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
