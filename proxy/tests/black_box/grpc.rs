//! gRPC: each kind of call on each way to a pod, and what its clients get from the proxy itself.

use super::support::client::connect_tls;
use super::support::grpc::{Frames, Messages, begin, client, grpc_pod, message, send};
use super::support::manifests::{annotated, ingress, ingress_class, pod, route, service, service_with};
use super::support::{Manifests, Proxy, eventually};
use http::Response;
use hyper::body::{Body, Frame, Incoming};
use hyper::client::conn::http2::SendRequest;
use nearside_loadtest::certificates::TestCa;
use serde_json::{Value, json};
use tokio::net::TcpStream;

const BACKEND: &str = "nginx.ingress.kubernetes.io/backend-protocol";

fn header<'r>(response: &'r Response<Incoming>, name: &str) -> Option<&'r str> {
    response.headers().get(name).map(|value| value.to_str().unwrap())
}

/// Every kind of call on one connection.
async fn calls(client: &mut SendRequest<Frames>, url: &str) {
    let response = send(client, &format!("{url}/test/Unary"), &["you"]).await;
    assert_eq!(header(&response, "x-te"), Some("trailers"), "{url}");
    assert_eq!((response.status().as_u16(), header(&response, "grpc-status")), (200, None), "{url}");
    let mut messages = Messages::new(response.into_body());
    assert_eq!(messages.rest().await, ["hello you"], "{url}");
    assert_eq!((messages.trailer("grpc-status"), messages.trailer("x-count")), (Some("0"), Some("1")), "{url}");

    let mut messages = Messages::new(send(client, &format!("{url}/test/Server"), &["part"]).await.into_body());
    assert_eq!(messages.rest().await, ["part 1", "part 2", "part 3"], "{url}");
    assert_eq!(messages.trailer("grpc-status"), Some("0"), "{url}");

    let large = "x".repeat(100_000);
    let many = [&*large; 20];
    let mut messages = Messages::new(send(client, &format!("{url}/test/Client"), &many).await.into_body());
    assert_eq!(messages.rest().await, ["20 messages"], "{url}");
    assert_eq!(messages.trailer("grpc-status"), Some("0"), "{url}");

    let (sender, response) = begin(client, &format!("{url}/test/Bidi"));
    sender.send(Frame::data(message("first"))).await.unwrap();
    let mut messages = Messages::new(response.await.into_body());
    assert_eq!(messages.next().await.as_deref(), Some("first"), "{url}");
    for text in ["second", "third"] {
        // Each answer comes before the next message is sent.
        sender.send(Frame::data(message(text))).await.unwrap();
        assert_eq!(messages.next().await.as_deref(), Some(text), "{url}");
    }
    drop(sender);
    assert_eq!(messages.next().await, None, "{url}");
    assert_eq!((messages.trailer("grpc-status"), messages.trailer("x-count")), (Some("0"), Some("3")), "{url}");

    let response = send(client, &format!("{url}/test/Fail"), &["you"]).await;
    assert_eq!(
        (header(&response, "grpc-status"), header(&response, "grpc-message")),
        (Some("5"), Some("nothing here"))
    );
    assert!(response.body().is_end_stream(), "{url}: an error without a message is one header");
}

#[tokio::test]
async fn every_kind_of_call_passes_every_way_to_a_pod() {
    let ca = TestCa::new("test").unwrap();
    let kinds = ["plain", "edge", "reencrypt", "passthrough", "ingress", "ingress-tls"];
    let hosts = kinds.map(|kind| format!("{kind}.example.com"));
    let identity = ca.identity(&hosts.each_ref().map(String::as_str)).unwrap();
    let (plain, tls) = (grpc_pod(None).await, grpc_pod(Some(identity.server().unwrap())).await);
    let h2c = json!({ "appProtocol": "kubernetes.io/h2c" });
    let mut objects = vec![
        ingress_class(),
        service_with("h2c", h2c),
        pod("h2c", "h2c-1", plain.address),
        service("plain"),
        pod("plain", "plain-1", plain.address),
        service("tls"),
        pod("tls", "tls-1", tls.address),
    ];
    for (kind, host) in kinds.iter().zip(&hosts) {
        let own = json!({ "termination": kind, "certificate": identity.certificate, "key": identity.key });
        let to = |service: &str, tls: Value| json!({ "to": { "kind": "Service", "name": service }, "tls": tls });
        objects.push(match *kind {
            "plain" => route(kind, host, to("h2c", Value::Null)),
            "edge" => route(kind, host, to("h2c", own)),
            "reencrypt" => route(kind, host, to("tls", own)),
            "passthrough" => route(kind, host, to("tls", json!({ "termination": "passthrough" }))),
            "ingress" => annotated(ingress(kind, host, &[("Prefix", "/", "plain")], json!({})), &[(BACKEND, "GRPC")]),
            _ => annotated(ingress(kind, host, &[("Prefix", "/", "tls")], json!({})), &[(BACKEND, "GRPCS")]),
        });
    }
    let proxy = Proxy::start(&Manifests::with(&objects), &[]);
    for (kind, host) in kinds.iter().zip(&hosts) {
        if matches!(*kind, "plain" | "ingress" | "ingress-tls") {
            let mut client = client(TcpStream::connect(proxy.http).await.unwrap()).await;
            calls(&mut client, &format!("http://{host}")).await;
        } else {
            let mut client = client(connect_tls(proxy.https, &ca, host, &["h2"]).await.unwrap()).await;
            calls(&mut client, &format!("https://{host}")).await;
        }
    }
}

#[tokio::test]
async fn errors_of_the_proxy_are_errors_of_grpc() {
    let grpc = grpc_pod(None).await;
    let to = json!({ "to": { "kind": "Service", "name": "web" } });
    let route = |name: &str, annotations: &[(&str, &str)]| {
        annotated(route(name, &format!("{name}.example.com"), to.clone()), annotations)
    };
    let manifests = Manifests::with(&[
        route("silent", &[]),
        route("limited", &[("nginx.ingress.kubernetes.io/limit-rpm", "1")]),
        route("closed", &[("haproxy.router.openshift.io/ip_allowlist", "192.0.2.1")]),
        super::support::manifests::route("none", "none.example.com", json!({})),
        service("none"),
        service_with("web", json!({ "appProtocol": "h2c" })),
        pod("web", "web-1", grpc.address),
    ]);
    let proxy = Proxy::start(&manifests, &["--read-timeout=300ms"]);
    let flood = async {
        let mut client = client(TcpStream::connect(proxy.http).await.unwrap()).await;
        loop {
            // As often as the route allows at once, and one more.
            let response = send(&mut client, "http://limited.example.com/test/Unary", &["x"]).await;
            if header(&response, "grpc-status").is_some() {
                return response;
            }
        }
    };
    let refused = flood.await;
    assert!(header(&refused, "retry-after").is_some());
    for (host, expected, status) in [
        ("unknown.example.com", "12", 404),
        ("none.example.com", "14", 503),
        ("closed.example.com", "7", 403),
        ("silent.example.com", "14", 504),
    ] {
        // Where no pod is left the connection ends with the answer.
        let mut client = client(TcpStream::connect(proxy.http).await.unwrap()).await;
        let response = send(&mut client, &format!("http://{host}/test/Silent"), &["x"]).await;
        assert_eq!((response.status().as_u16(), header(&response, "grpc-status")), (200, Some(expected)), "{host}");
        assert_eq!(header(&response, "content-type"), Some("application/grpc"), "{host}");
        assert!(header(&response, "grpc-message").unwrap().contains(&status.to_string()), "{host}");
        assert!(response.body().is_end_stream(), "{host}: one header and nothing else");
        assert_eq!(proxy.access_line(host).await["status"], status, "the operator reads what went wrong");
    }
    assert_eq!(header(&refused, "grpc-status"), Some("14"));
    // Calls that were let in before may end after it.
    let limited = |line: &Value| line["host"] == "limited.example.com" && line["status"] == 429;
    eventually("the refusal is logged", || async { proxy.access_log().iter().any(limited).then_some(()) }).await;
}
