//! All clients come at once, as after a node has come back, to a proxy that has just started: every one is answered, none is refused.

use super::support::client::read_until;
use super::support::manifests::on_both_ports;
use super::support::pods::echo_pod_on;
use super::support::{Manifests, PATIENCE, Proxy};
use nearside_loadtest::certificates::TestCa;
use nearside_loadtest::pods::PodServer;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustls::pki_types::ServerName;
use socket2::{Domain, Socket, Type};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_clients_that_come_at_once_are_all_answered() {
    let site = Site::new();
    let proxy = Proxy::start(&site.manifests, &[]);
    let address = proxy.http;
    come(&proxy, plain_clients(), move |number| connect(number, address)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_of_clients_over_tls_that_come_at_once_are_all_answered() {
    let site = Site::new();
    let connector = TlsConnector::from(site.ca.client(&["http/1.1"]).unwrap());
    let proxy = Proxy::start(&site.manifests, &[]);
    let address = proxy.https;
    let open = move |number| {
        let connector = connector.clone();
        async move {
            let name = ServerName::try_from(HOST).unwrap();
            let stream = connector.connect(name, connect(number, address).await);
            timeout(PATIENCE, stream).await.expect("a handshake").unwrap()
        }
    };
    come(&proxy, SECURE, open).await;
}

/// A pod behind a host, with and without TLS.
struct Site {
    manifests: Manifests,
    ca: TestCa,
    _pod: PodServer,
}

impl Site {
    fn new() -> Self {
        // All clients may reach the pod at once as well.
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
        socket.listen(8192).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        let (objects, ca) = on_both_ports(HOST, address);
        Self { manifests: Manifests::with(&objects), ca, _pod: echo_pod_on(socket.into(), "web-1") }
    }
}

/// So many clients connect in one moment and ask.
async fn come<S, F>(proxy: &Proxy, count: usize, open: impl Fn(usize) -> F)
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
    F: Future<Output = S> + Send + 'static,
{
    let all = Arc::new(Barrier::new(count));
    let mut clients = JoinSet::new();
    for number in 0..count {
        let (all, opened) = (Arc::clone(&all), open(number));
        clients.spawn(async move {
            all.wait().await;
            asked(opened.await, &all).await;
        });
    }
    while let Some(client) = clients.join_next().await {
        client.expect("an answer to every client");
    }
    let answered = proxy.metric("nearside_http_requests_total", "code=\"200\"").await;
    assert_eq!(answered, Some(count as f64));
    for refusals in ["nearside_limit_exceeded_total", "nearside_tls_failures_total"] {
        assert_eq!(proxy.metric(refusals, "").await.unwrap_or_default(), 0.0, "{refusals}");
    }
}

/// As many as the test has descriptors for: one for each client, and one at the pod.
fn plain_clients() -> usize {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // What there is will do.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    let fitting = maximum.map_or(PLAIN, |most| usize::try_from(most / 4).unwrap_or(PLAIN));
    fitting.clamp(1, PLAIN)
}

/// From one of several addresses: a single source may not have that many connections.
async fn connect(number: usize, address: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(format!("127.0.0.{}:0", 2 + number % 8).parse().unwrap()).unwrap();
    timeout(PATIENCE, socket.connect(address)).await.expect("a connection").unwrap()
}

/// Asks once, and keeps the connection until all have their answers.
async fn asked(mut stream: impl AsyncRead + AsyncWrite + Unpin, all: &Barrier) {
    stream.write_all(format!("GET /media/5 HTTP/1.1\r\nHost: {HOST}\r\n\r\n").as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    let head = timeout(PATIENCE, read_until(&mut stream, "\r\n\r\n")).await.expect("an answer");
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    all.wait().await;
}

const HOST: &str = "web.example.com";
const PLAIN: usize = 2_000;
/// Fewer: handshakes of programs that are not optimised take their time, and one that has waited for its turn for five seconds is closed.
const SECURE: usize = 100;
