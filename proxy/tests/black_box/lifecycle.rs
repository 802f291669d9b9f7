//! Start and end: ports after the first snapshot, errors that name the port, an end that loses nothing.

use super::support::client::{get_tls, read_to_end, read_until};
use super::support::manifests::{pod, published, route, service};
use super::support::{Manifests, Proxy, echo_pod, eventually, get};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use nearside_loadtest::certificates::TestCa;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const HOST: &str = "web.example.com";

fn web() -> (nearside_loadtest::pods::PodServer, Manifests) {
    let (server, address) = echo_pod("web-1");
    let manifests = Manifests::with(&[route("web", HOST, json!({})), service("web"), pod("web", "web-1", address)]);
    (server, manifests)
}

#[tokio::test]
async fn a_port_in_use_is_named_and_ends_the_start() {
    let (_pod, manifests) = web();
    let holder = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = holder.local_addr().unwrap();
    for flag in ["--http-listen", "--https-listen", "--admin-listen"] {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_nearside-proxy"));
        command.env_clear().args(["--node-name=n1", "--manifests"]).arg(manifests.path());
        for port in ["--http-listen", "--https-listen", "--admin-listen"] {
            command.arg(if port == flag { format!("{port}={taken}") } else { format!("{port}=127.0.0.1:0") });
        }
        let output = command.output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{flag}: {error}");
        assert!(error.contains(&taken.to_string()) && error.contains(flag), "{flag}: {error}");
    }
    drop(holder);
}

#[tokio::test]
async fn a_download_in_flight_completes_and_new_clients_go_elsewhere() {
    let (_pod, manifests) = web();
    let proxy = Proxy::start(&manifests, &["--drain-timeout=60s"]);
    let mut stream = TcpStream::connect(proxy.http).await.unwrap();
    let length = 20_000_000;
    stream.write_all(format!("GET /media/{length} HTTP/1.1\r\nHost: {HOST}\r\n\r\n").as_bytes()).await.unwrap();
    read_until(&mut stream, "\r\n\r\n").await;
    let mut idle = TcpStream::connect(proxy.http).await.unwrap();
    proxy.terminate();
    assert_eq!(read_to_end(&mut idle).await, "", "an idle connection is closed");
    eventually("new connections are refused", || async { TcpStream::connect(proxy.http).await.err() }).await;
    let mut body = Vec::new();
    stream.read_to_end(&mut body).await.unwrap();
    assert_eq!(body.len(), length);
    assert!(nearside_loadtest::pods::media::verify(0, &body));
    assert_eq!(proxy.ended().await.code(), Some(0));
}

#[tokio::test]
async fn http_2_streams_in_flight_complete_and_the_connection_ends() {
    let (_pod, manifests) = web();
    let proxy = Proxy::start(&manifests, &["--drain-timeout=60s"]);
    let stream = TcpStream::connect(proxy.http).await.unwrap();
    let builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    let length = 5_000_000;
    let request = http::Request::get(format!("http://{HOST}/media/{length}"));
    let response = sender.send_request(request.body(Full::<Bytes>::default()).unwrap()).await.unwrap();
    proxy.terminate();
    eventually("new connections are refused", || async { TcpStream::connect(proxy.http).await.err() }).await;
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes().len(), length);
    connection.await.unwrap().unwrap();
    assert_eq!(proxy.ended().await.code(), Some(0));
}

#[tokio::test]
async fn before_the_drain_the_proxy_serves_on_but_is_not_ready() {
    let (_pod, manifests) = web();
    let proxy = Proxy::start(&manifests, &["--shutdown-delay=1h"]);
    assert_eq!(proxy.page("/healthz/ready").await.0, 200);
    assert_eq!(proxy.metric("nearside_ready", "").await, Some(1.0));
    proxy.terminate();
    let page = eventually("readiness goes off", || async {
        let page = proxy.page("/healthz/ready").await;
        (page.0 == 503).then_some(page.1)
    })
    .await;
    assert!(page.contains("shutting down"), "{page}");
    assert_eq!(proxy.page("/healthz").await.0, 200);
    let reply = get(proxy.http, HOST, "/").await;
    assert_eq!((reply.status, reply.header("connection")), (200, Some("close")), "served, and asked to go");
    proxy.terminate();
    assert_ne!(proxy.ended().await.code(), Some(0), "a second signal ends it at once");
}

#[tokio::test]
async fn a_router_serves_on_while_dns_names_its_node() {
    let (_pod, manifests) = web();
    manifests.put(&published(HOST, &["n1", "n2"]));
    let proxy = Proxy::start(&manifests, &["--shutdown-delay=auto", "--shutdown-delay-max=1h"]);
    proxy.terminate();
    let waits = || async { proxy.log().contains("serving on until DNS does not name this node").then_some(()) };
    eventually("it leaves", waits).await;
    assert_eq!(get(proxy.http, HOST, "/").await.status, 200);
    assert!(!proxy.log().contains("DNS does not name this node any more"), "{}", proxy.log());
    manifests.put(&published(HOST, &["n2"]));
    let told = || async { proxy.log().contains("DNS does not name this node any more").then_some(()) };
    eventually("DNS has let go", told).await;
    assert_eq!(get(proxy.http, HOST, "/").await.status, 200, "resolvers have not");
    proxy.terminate();
    assert_ne!(proxy.ended().await.code(), Some(0), "a second signal ends it at once");
}

#[tokio::test]
async fn a_router_that_dns_has_never_named_ends_at_once_and_no_router_stays_for_ever() {
    let (_pod, manifests) = web();
    manifests.put(&published(HOST, &["n2"]));
    let proxy = Proxy::start(&manifests, &["--shutdown-delay=auto", "--shutdown-delay-max=1h"]);
    proxy.terminate();
    assert_eq!(proxy.ended().await.code(), Some(0));
    manifests.put(&published(HOST, &["n1"]));
    let proxy = Proxy::start(&manifests, &["--shutdown-delay=auto", "--shutdown-delay-max=1s"]);
    proxy.terminate();
    assert_eq!(proxy.ended().await.code(), Some(0));
}

#[tokio::test]
async fn a_drain_that_takes_too_long_is_cut() {
    let (_pod, manifests) = web();
    let proxy = Proxy::start(&manifests, &["--drain-timeout=100ms"]);
    let mut stream = TcpStream::connect(proxy.http).await.unwrap();
    stream.write_all(format!("GET /media/999999999 HTTP/1.1\r\nHost: {HOST}\r\n\r\n").as_bytes()).await.unwrap();
    read_until(&mut stream, "\r\n\r\n").await;
    proxy.terminate();
    assert_eq!(proxy.ended().await.code(), Some(0));
}

#[tokio::test]
async fn no_port_is_bound_before_the_objects_are_read() {
    let missing = tempfile::tempdir().unwrap();
    let kubeconfig = missing.path().join("config");
    // An API server that is not there: nothing listens on a port that is bound and not listened on.
    let nobody = super::support::pods::Refusing::new();
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{ "name": "c", "cluster": { "server": format!("http://{}", nobody.address()) } }],
        "users": [{ "name": "c", "user": {} }],
        "contexts": [{ "name": "c", "context": { "cluster": "c", "user": "c" } }]
    });
    std::fs::write(&kubeconfig, config.to_string()).unwrap();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let admin = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_nearside-proxy"));
    command.env_clear().env("KUBECONFIG", &kubeconfig).args(["--node-name=n1", "--https-listen=127.0.0.1:0"]);
    command.args([format!("--http-listen={free}"), format!("--admin-listen={admin}")]);
    command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    let mut child = command.spawn().unwrap();
    let page = eventually("the admin port is open", || async {
        TcpStream::connect(admin).await.ok()?;
        Some(get(admin, "admin", "/healthz/ready").await)
    })
    .await;
    assert_eq!(page.status, 503, "alive, and not ready");
    assert!(TcpStream::connect(free).await.is_err());
    child.kill().unwrap();
    child.wait().unwrap();
}

#[tokio::test]
async fn no_request_fails_while_routes_pods_and_certificates_change() {
    let (_one, one) = echo_pod("web-1");
    let (_two, two) = echo_pod("web-2");
    let ca = TestCa::new("test").unwrap();
    let web = |number: usize| {
        let identity = ca.identity(&[HOST]).unwrap();
        let tls = json!({
            "termination": "edge", "insecureEdgeTerminationPolicy": "Allow",
            "certificate": identity.certificate, "key": identity.key
        });
        let mut route = route("web", HOST, json!({ "tls": tls }));
        route["metadata"]["annotations"] = json!({ "example.com/number": number.to_string() });
        route
    };
    let pods = [pod("web", "web-1", one), pod("web", "web-2", two)];
    let manifests = Manifests::with(&[web(0), service("web"), pods[0].clone()]);
    let proxy = Proxy::start(&manifests, &[]);
    let generation = || async { proxy.metric("nearside_table_generation", "").await.unwrap() };
    let changes = async {
        for number in 1..=10 {
            let before = generation().await;
            // Make before break, as a rolling update does it.
            manifests.put(&pods[number % 2]);
            manifests.put(&web(number));
            eventually("the change is taken in", || async { (generation().await > before).then_some(()) }).await;
            let both = eventually("the new pod is asked", || async {
                let reply = get(proxy.http, HOST, "/").await;
                (reply.pod() == Some(["web-1", "web-2"][number % 2])).then_some(())
            });
            both.await;
            manifests.remove(&pods[(number + 1) % 2]);
            eventually("the old pod is not asked any more", || async {
                let (_, page) = proxy.page("/routes").await;
                (!page.contains(["web-1", "web-2"][(number + 1) % 2])).then_some(())
            })
            .await;
        }
    };
    let requests = async {
        loop {
            assert_eq!(get(proxy.http, HOST, "/media/1000").await.status, 200);
            assert_eq!(get_tls(proxy.https, &ca, HOST, "/media/1000").await.unwrap().status, 200);
        }
    };
    tokio::select! {
        () = changes => {}
        () = requests => unreachable!("requests go on for ever"),
    }
    assert_eq!(proxy.metric("nearside_http_requests_total", "code=\"5").await, None);
}
