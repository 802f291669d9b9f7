//! One proxy hands its listening sockets to the next (`--handover-socket`): nobody notices, and a next one that is not good for it
//! changes nothing.

use super::support::client::{connect_tls, get_h2, get_tls, read_to_end, read_until};
use super::support::manifests::on_both_ports;
use super::support::{Manifests, Proxy, echo_pod, eventually, get};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use nearside_loadtest::certificates::TestCa;
use nearside_loadtest::pods::websocket::{self, Frame};
use nearside_loadtest::pods::{PodServer, media};
use rustls::HandshakeKind;
use rustls::pki_types::ServerName;
use std::net::{SocketAddr, TcpListener};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpStream, UnixListener, UnixStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

const HOST: &str = "web.example.com";

/// A node whose proxies meet at a socket.
struct Node {
    manifests: Manifests,
    ca: TestCa,
    folder: TempDir,
    _pod: PodServer,
}

impl Node {
    fn new() -> Self {
        let (server, address) = echo_pod("web-1");
        let (objects, ca) = on_both_ports(HOST, address);
        Self { manifests: Manifests::with(&objects), ca, folder: TempDir::new().unwrap(), _pod: server }
    }

    fn socket(&self) -> std::path::PathBuf {
        self.folder.path().join("handover.sock")
    }

    /// The first proxy, on free ports.
    fn first(&self) -> Proxy {
        self.start(&[])
    }

    /// One that is told the ports of another.
    fn next(&self, before: &Proxy) -> Proxy {
        let ports = ports_of(before);
        self.start(&ports.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn start(&self, flags: &[&str]) -> Proxy {
        let socket = format!("--handover-socket={}", self.socket().display());
        let own = [socket.as_str(), "--drain-timeout=60s"];
        Proxy::start(&self.manifests, &[&own[..], flags].concat())
    }

    /// A program that ends by itself: its exit code, and what it said.
    fn run(&self, flags: &[String]) -> (Option<i32>, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_nearside-proxy"));
        command.env_clear().args(["--node-name=n1", "--manifests"]).arg(self.manifests.path()).args(flags);
        if !flags.iter().any(|flag| flag.starts_with("--handover-socket")) {
            command.arg(format!("--handover-socket={}", self.socket().display()));
        }
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    }
}

fn ports_of(proxy: &Proxy) -> [String; 3] {
    let ports = [("http", proxy.http), ("https", proxy.https), ("admin", proxy.admin)];
    ports.map(|(name, address)| format!("--{name}-listen={address}"))
}

async fn says(proxy: &Proxy, what: &str) {
    eventually(what, || async { proxy.log().contains(what).then_some(()) }).await;
}

const SERVED_BY_ANOTHER: &str = "another proxy of this node serves; this one asks its clients to go";
const TAKEN_BACK: &str = "this one accepts connections again";
const REFUSED: &str = "the sockets are not handed over; this proxy serves on";

/// A request on a connection that stays open; gives the header of the answer.
async fn ask(stream: &mut TcpStream) -> String {
    stream.write_all(format!("GET /media/5 HTTP/1.1\r\nHost: {HOST}\r\n\r\n").as_bytes()).await.unwrap();
    let header = read_until(stream, "\r\n\r\n").await;
    assert!(header.starts_with("HTTP/1.1 200 "), "{header}");
    stream.read_exact(&mut [0; 5]).await.unwrap();
    header.to_ascii_lowercase()
}

async fn kept(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let header = ask(&mut stream).await;
    assert!(!header.contains("connection: close"), "{header}");
    stream
}

/// Clients that never stop, on new connections over every transport; each request must be answered.
struct Load {
    ended: Arc<AtomicBool>,
    served: Arc<AtomicUsize>,
    clients: JoinSet<()>,
}

impl Load {
    fn begin(node: &Node, proxy: &Proxy) -> Self {
        let (ended, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (http, https) = (proxy.http, proxy.https);
        let mut clients = JoinSet::new();
        for client in 0..4 {
            let (ended, served) = (Arc::clone(&ended), Arc::clone(&served));
            let tls = node.ca.client(&["http/1.1"]).unwrap();
            clients.spawn(async move {
                let mut connection = None;
                while !ended.load(Ordering::Relaxed) {
                    match client {
                        0 => assert_eq!(get(http, HOST, "/").await.status, 200),
                        1 => {
                            let stream = TcpStream::connect(http).await.unwrap();
                            assert_eq!(get_h2(stream, &format!("http://{HOST}/")).await.status, 200);
                        }
                        2 => {
                            let stream = TcpStream::connect(https).await.unwrap();
                            let name = ServerName::try_from(HOST).unwrap();
                            TlsConnector::from(Arc::clone(&tls)).connect(name, stream).await.unwrap();
                        }
                        // Kept as long as nobody says otherwise.
                        _ => {
                            let mut stream = match connection.take() {
                                Some(stream) => stream,
                                None => TcpStream::connect(http).await.unwrap(),
                            };
                            if !ask(&mut stream).await.contains("connection: close") {
                                connection = Some(stream);
                            }
                        }
                    }
                    served.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        Self { ended, served, clients }
    }

    async fn goes_on(&self) {
        let before = self.served.load(Ordering::Relaxed);
        let more = || async { (self.served.load(Ordering::Relaxed) > before + 20).then_some(()) };
        eventually("requests go on", more).await;
    }

    async fn end(self) {
        self.ended.store(true, Ordering::Relaxed);
        self.clients.join_all().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn proxies_hand_their_sockets_on_without_a_failed_request() {
    let node = Node::new();
    let mut current = node.first();
    let load = Load::begin(&node, &current);
    for _ in 0..3 {
        load.goes_on().await;
        let next = node.next(&current);
        says(&next, "the sockets of the other proxy are taken over").await;
        says(&current, SERVED_BY_ANOTHER).await;
        load.goes_on().await;
        current.terminate();
        assert_eq!(current.ended().await.code(), Some(0));
        let page = || async { TcpStream::connect(next.admin).await.ok() };
        eventually("the admin port is the next one's", page).await;
        assert_eq!(next.metric("nearside_handovers_total", "event=\"taken\"").await, Some(1.0));
        current = next;
    }
    load.goes_on().await;
    load.end().await;
}

#[tokio::test]
async fn what_clients_have_begun_goes_on_and_what_they_keep_is_answered_once_more() {
    let node = Node::new();
    let old = node.start(&["--header-timeout=60s"]);
    let (mut busy, mut idle, mut silent) =
        (kept(old.http).await, kept(old.http).await, TcpStream::connect(old.http).await.unwrap());
    let mut chat = TcpStream::connect(old.http).await.unwrap();
    let upgrade = format!(
        "GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    chat.write_all(upgrade.as_bytes()).await.unwrap();
    assert!(read_until(&mut chat, "\r\n\r\n").await.starts_with("HTTP/1.1 101 "));
    let length = 20_000_000;
    let mut download = TcpStream::connect(old.http).await.unwrap();
    download.write_all(format!("GET /media/{length} HTTP/1.1\r\nHost: {HOST}\r\n\r\n").as_bytes()).await.unwrap();
    read_until(&mut download, "\r\n\r\n").await;
    let builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    let stream = TcpStream::connect(old.http).await.unwrap();
    let (mut sender, connection) = builder.handshake::<_, Full<Bytes>>(TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = http::Request::get(format!("http://{HOST}/media/{length}")).body(Full::default()).unwrap();
    let streaming = sender.send_request(request).await.unwrap();

    let new = node.next(&old);
    says(&old, SERVED_BY_ANOTHER).await;
    let header = ask(&mut busy).await;
    assert!(header.contains("connection: close"), "it is told to go: {header}");
    assert_eq!(read_to_end(&mut busy).await, "");
    let health = get(old.http, HOST, "/_______internal_router_healthz").await;
    assert_eq!(health.status, 200, "the node has not gone");
    old.terminate();
    says(&old, "draining").await;
    let header = ask(&mut idle).await;
    assert!(header.contains("connection: close"), "{header}");
    assert_eq!(read_to_end(&mut idle).await, "");
    let header = ask(&mut silent).await;
    assert!(header.contains("connection: close"), "{header}");
    let frame = Frame { fin: true, opcode: 1, payload: b"still there".to_vec() };
    websocket::write(&mut chat, &frame, Some([1, 2, 3, 4])).await.unwrap();
    assert_eq!(websocket::read(&mut chat).await.unwrap().unwrap().payload, b"still there");
    let mut body = vec![0; length];
    download.read_exact(&mut body).await.unwrap();
    assert!(media::verify(0, &body));
    assert_eq!(streaming.into_body().collect().await.unwrap().to_bytes().len(), length);
    connection.await.unwrap().expect("the end of the connection is one in order");
    assert!(sender.is_closed());
    drop((chat, silent, download));
    assert_eq!(old.ended().await.code(), Some(0));
    assert_eq!(get(new.http, HOST, "/").await.status, 200);
}

#[tokio::test]
async fn a_client_that_asks_nothing_more_is_closed_in_order_when_its_time_is_over() {
    let node = Node::new();
    let old = node.start(&["--keep-alive-timeout=2s"]);
    let mut idle = kept(old.http).await;
    let _new = node.next(&old);
    old.terminate();
    assert_eq!(idle.read(&mut [0]).await.unwrap(), 0);
    drop(idle);
    assert_eq!(old.ended().await.code(), Some(0));
}

#[tokio::test]
async fn a_next_proxy_that_ends_at_once_changes_nothing() {
    let node = Node::new();
    let old = node.first();
    let mut connection = kept(old.http).await;
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let [http, https, _] = ports_of(&old);
    // It has the sockets by the time at which it fails.
    let taken = format!("--http-listen={}", holder.local_addr().unwrap());
    let (code, said) = node.run(&[http, taken, https, "--admin-listen=127.0.0.1:0".into()]);
    assert!(code == Some(1) && said.contains("offers its sockets") && said.contains("another program uses"), "{said}");
    says(&old, REFUSED).await;
    let header = ask(&mut connection).await;
    assert!(!header.contains("connection: close"), "{header}");
    assert_eq!(get(old.http, HOST, "/").await.status, 200);
    assert_eq!(old.metric("nearside_handovers_total", "event=\"failed\"").await, Some(1.0));
    let _new = node.next(&old);
    says(&old, SERVED_BY_ANOTHER).await;
}

/// Connects as a next proxy does, and gets the sockets, which go at once.
async fn begin_taking(node: &Node) -> BufReader<UnixStream> {
    let connect = || async { UnixStream::connect(node.socket()).await.ok() };
    let mut stream = BufReader::new(eventually("the proxy can be asked", connect).await);
    stream.write_all(b"{\"handover\":1,\"version\":\"test\"}\n").await.unwrap();
    let mut offer = String::new();
    stream.read_line(&mut offer).await.unwrap();
    assert!(offer.contains("\"scheme\":\"http\"") && offer.contains("\"scheme\":\"https\""), "{offer}");
    stream
}

#[tokio::test]
async fn a_next_proxy_that_hangs_changes_nothing() {
    let node = Node::new();
    let old = node.first();
    let mut connection = kept(old.http).await;
    let hanging = begin_taking(&node).await;
    let silent = UnixStream::connect(node.socket()).await.unwrap();
    let header = ask(&mut connection).await;
    assert!(!header.contains("connection: close"), "{header}");
    assert_eq!(get(old.http, HOST, "/").await.status, 200);
    let new = node.next(&old);
    says(&old, SERVED_BY_ANOTHER).await;
    assert_eq!(get(new.http, HOST, "/").await.status, 200, "another one is not kept from it");
    drop((hanging, silent));
}

#[tokio::test]
async fn garbage_at_the_socket_changes_nothing() {
    let node = Node::new();
    let old = node.first();
    let listens = || async { node.socket().exists().then_some(()) };
    eventually("the proxy can be asked", listens).await;
    let long = "x".repeat(100_000);
    let words = ["GET / HTTP/1.1\r\n\r\n", "{\"handover\":2,\"version\":\"9\"}\n", "{\"handover\":1}\n", "\n", &long];
    for garbage in words {
        let mut stream = UnixStream::connect(node.socket()).await.unwrap();
        // It may be refused before all of it is written.
        drop(stream.write_all(garbage.as_bytes()).await);
        assert_eq!(read_to_end(&mut stream).await, "", "nothing is offered for {:.20}", garbage);
    }
    let mut early = begin_taking(&node).await;
    early.write_all(b"{\"ready\":[7]}\n").await.unwrap();
    assert_eq!(read_to_end(&mut early).await, "", "there are not so many");
    assert_eq!(get(old.http, HOST, "/").await.status, 200);
    assert!(!old.log().contains(SERVED_BY_ANOTHER), "{}", old.log());
    assert_eq!(old.metric("nearside_handovers_total", "event=\"failed\"").await, Some(6.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_good_answer_a_proxy_opens_its_own_sockets() {
    let offers_none = "{\"handover\":9,\"version\":\"9\",\"sockets\":[],\"tickets\":null}\n";
    let tells_of_one = "{\"handover\":1,\"version\":\"9\",\"sockets\":[{\"scheme\":\"http\",\"address\":\"127.0.0.1:80\"}],\"tickets\":null}\n";
    for answer in ["HTTP/1.1 400 Bad Request\r\n\r\n", offers_none, tells_of_one, ""] {
        let node = Node::new();
        let listener = UnixListener::bind(node.socket()).unwrap();
        let stranger = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.read_u8().await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
        });
        let proxy = node.first();
        assert!(proxy.log().contains("this proxy opens its own"), "{}", proxy.log());
        assert_eq!(get(proxy.http, HOST, "/").await.status, 200);
        stranger.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_next_proxy_goes_the_old_one_takes_its_sockets_back() {
    let node = Node::new();
    let old = node.first();
    let load = Load::begin(&node, &old);
    let rolled_back = node.next(&old);
    says(&old, SERVED_BY_ANOTHER).await;
    load.goes_on().await;
    rolled_back.terminate();
    says(&old, TAKEN_BACK).await;
    assert_eq!(rolled_back.ended().await.code(), Some(0));
    load.goes_on().await;
    load.end().await;
    kept(old.http).await;

    let crashing = node.next(&old);
    eventually("it is taken over again", || async {
        (old.log().matches(SERVED_BY_ANOTHER).count() == 2).then_some(())
    })
    .await;
    drop(crashing);
    eventually("it takes them back again", || async { (old.log().matches(TAKEN_BACK).count() == 2).then_some(()) })
        .await;
    kept(old.http).await;
    assert_eq!(old.page("/healthz/ready").await.0, 200);
    let good = node.next(&old);
    old.terminate();
    assert_eq!(old.ended().await.code(), Some(0));
    assert_eq!(get(good.http, HOST, "/").await.status, 200);
}

#[tokio::test]
async fn sockets_that_the_next_proxy_does_not_want_are_served_until_the_old_one_ends() {
    let node = Node::new();
    let old = node.first();
    let [_, https, admin] = ports_of(&old);
    let new = node.start(&[&https, &admin, "--http-listen=127.0.0.1:0"]);
    says(&old, SERVED_BY_ANOTHER).await;
    assert_ne!(new.http, old.http);
    for http in [old.http, new.http] {
        assert_eq!(get(http, HOST, "/").await.status, 200);
    }
    old.terminate();
    eventually("new connections are refused", || async { TcpStream::connect(old.http).await.err() }).await;
    assert_eq!(old.ended().await.code(), Some(0));
    assert_eq!(get_tls(new.https, &node.ca, HOST, "/").await.unwrap().status, 200);
}

#[tokio::test]
async fn sessions_are_resumed_at_the_next_proxy() {
    let node = Node::new();
    let old = node.first();
    let tls = TlsConnector::from(node.ca.client(&["http/1.1"]).unwrap());
    let handshake = async |address: SocketAddr| {
        let stream = TcpStream::connect(address).await.unwrap();
        let mut stream = tls.connect(ServerName::try_from(HOST).unwrap(), stream).await.unwrap();
        stream
            .write_all(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n").as_bytes())
            .await
            .unwrap();
        // The tickets come with the answer.
        assert!(read_to_end(&mut stream).await.starts_with("HTTP/1.1 200 "));
        stream.get_ref().1.handshake_kind().unwrap()
    };
    assert_eq!(handshake(old.https).await, HandshakeKind::Full);
    let new = node.next(&old);
    old.terminate();
    assert_eq!(old.ended().await.code(), Some(0));
    assert_eq!(handshake(new.https).await, HandshakeKind::Resumed);
}

#[tokio::test]
async fn a_proxy_that_was_killed_leaves_nothing_in_the_way() {
    let node = Node::new();
    let killed = node.first();
    eventually("the proxy can be asked", || async { node.socket().exists().then_some(()) }).await;
    let ports = ports_of(&killed);
    drop(killed);
    let again = node.start(&ports.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(get(again.http, HOST, "/").await.status, 200);
    let next = node.next(&again);
    says(&again, SERVED_BY_ANOTHER).await;
    assert_eq!(get(next.http, HOST, "/").await.status, 200);
}

#[tokio::test]
async fn a_name_of_the_network_namespace_does_as_well() {
    let node = Node::new();
    let name = format!("--handover-socket=@nearside-test-{}", std::process::id());
    let start = |ports: &[String]| {
        let ports: Vec<&str> = ports.iter().map(String::as_str).collect();
        Proxy::start(&node.manifests, &[&[name.as_str(), "--drain-timeout=60s"], &ports[..]].concat())
    };
    let mut current = start(&[]);
    for _ in 0..2 {
        let next = start(&ports_of(&current));
        says(&current, SERVED_BY_ANOTHER).await;
        current.terminate();
        assert_eq!(current.ended().await.code(), Some(0));
        assert_eq!(get(next.http, HOST, "/").await.status, 200);
        current = next;
    }
}

#[tokio::test]
async fn a_proxy_goes_on_without_where_the_socket_cannot_be() {
    let node = Node::new();
    std::fs::write(node.socket(), "not a socket").unwrap();
    let proxy = node.first();
    says(&proxy, "is there and is no socket").await;
    assert_eq!(get(proxy.http, HOST, "/").await.status, 200);
    assert_eq!(std::fs::read(node.socket()).unwrap(), b"not a socket");
    let (code, said) = node.run(&["--handover-socket=@".into()]);
    assert!(code == Some(2) && said.contains("--handover-socket"), "{said}");
}

#[tokio::test]
async fn a_tls_handshake_that_takes_its_time_is_not_reset() {
    let node = Node::new();
    let old = node.start(&["--client-hello-timeout=60s"]);
    // Not a byte of its ClientHello is there when the old one is told to end.
    let waiting = TcpStream::connect(old.https).await.unwrap();
    let new = node.next(&old);
    says(&old, SERVED_BY_ANOTHER).await;
    old.terminate();
    says(&old, "draining").await;
    let tls = TlsConnector::from(node.ca.client(&["http/1.1"]).unwrap());
    let mut stream = tls.connect(ServerName::try_from(HOST).unwrap(), waiting).await.unwrap();
    stream.write_all(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n").as_bytes()).await.unwrap();
    let answer = read_to_end(&mut stream).await;
    assert!(
        answer.starts_with("HTTP/1.1 200 ") && answer.to_ascii_lowercase().contains("connection: close"),
        "{answer}"
    );
    drop(stream);
    assert_eq!(old.ended().await.code(), Some(0));
    drop(connect_tls(new.https, &node.ca, HOST, &["h2"]).await.unwrap());
}
