//! Traces as a collector and a pod see them: spans with their ids and parents, and context that is passed on.

use super::support::manifests::{annotated, pod, pod_on, published_at, route, service};
use super::support::nodes::{NODES, start};
use super::support::pods::read_header;
use super::support::{Manifests, Proxy, Scripted, echo_pod, eventually, get, request};
use http::Request;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const HOST: &str = "web.example.com";
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// An OpenTelemetry collector that keeps what it is sent.
struct Collector {
    server: Scripted,
    bodies: Arc<Mutex<Vec<Value>>>,
}

impl Collector {
    async fn start() -> Self {
        let bodies = Arc::<Mutex<Vec<Value>>>::default();
        let kept = Arc::clone(&bodies);
        let server = Scripted::start(move |mut stream| {
            let kept = Arc::clone(&kept);
            async move {
                let header = read_header(&mut stream).await.to_lowercase();
                assert!(header.starts_with("post /v1/traces http/1.1\r\n"), "{header}");
                assert!(header.contains("content-type: application/json\r\n"), "{header}");
                let length = header.split("content-length: ").nth(1).unwrap().lines().next().unwrap();
                let mut body = vec![0; length.parse().unwrap()];
                stream.read_exact(&mut body).await.unwrap();
                kept.lock().unwrap().push(serde_json::from_slice(&body).unwrap());
                drop(stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").await);
            }
        })
        .await;
        Self { server, bodies }
    }

    fn flag(&self) -> String {
        format!("--otlp-endpoint=http://{}", self.server.address)
    }

    /// All spans so far.
    fn spans(&self) -> Vec<Value> {
        let bodies = self.bodies.lock().unwrap();
        let spans = bodies.iter().map(|body| body["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().unwrap());
        spans.flatten().cloned().collect()
    }

    /// The span of this kind in a request for this path, once it has come.
    async fn span(&self, path: &str, kind: u8) -> Value {
        eventually("the span", || async {
            let all = self.spans();
            let server =
                all.iter().find(|span| span["kind"] == 2 && text(span, "url.path").as_deref() == Some(path))?;
            let below = |span: &&Value| span["kind"] == 3 && span["parentSpanId"] == server["spanId"];
            if kind == 2 { Some(server.clone()) } else { all.iter().find(below).cloned() }
        })
        .await
    }
}

/// The text of an attribute.
fn text(span: &Value, key: &str) -> Option<String> {
    let all = span["attributes"].as_array().unwrap();
    let value = &all.iter().find(|attribute| attribute["key"] == key)?["value"];
    let text = value["stringValue"].as_str().or_else(|| value["intValue"].as_str());
    Some(text.unwrap().to_owned())
}

fn web(address: SocketAddr) -> Manifests {
    Manifests::with(&[route("web", HOST, json!({})), service("web"), pod("web", "web-1", address)])
}

#[tokio::test]
async fn a_request_is_one_span_and_the_pod_another_in_the_trace_of_the_client() {
    let (_pod, address) = echo_pod("web-1");
    let collector = Collector::start().await;
    // What the client says counts more than the ratio.
    let proxy = Proxy::of(web(address), &[&collector.flag(), "--trace-sampling=0"]);
    let asked = Request::get("/a?secret=1").header("host", HOST).header("traceparent", PARENT);
    let seen = request(proxy.http, asked.header("tracestate", "vendor=1")).await.echo().headers;
    let server = collector.span("/a", 2).await;
    let client = collector.span("/a", 3).await;
    assert_eq!((&server["traceId"], &client["traceId"]), (&json!(TRACE), &json!(TRACE)));
    assert_eq!(server["parentSpanId"], "b7ad6b7169203331");
    assert_eq!(client["parentSpanId"], server["spanId"]);
    assert_eq!(server["traceState"], "vendor=1");
    assert_eq!(seen["traceparent"], [format!("00-{TRACE}-{}-01", client["spanId"].as_str().unwrap())]);
    assert_eq!(seen["tracestate"], ["vendor=1"]);
    assert_eq!(server["name"], "GET /");
    for (key, value) in [
        ("http.request.method", "GET"),
        ("http.response.status_code", "200"),
        ("http.route", "/"),
        ("server.address", HOST),
        ("client.address", "127.0.0.1"),
        ("k8s.namespace.name", "shop"),
        ("nearside.route", "Route shop/web"),
    ] {
        assert_eq!(text(&server, key).as_deref(), Some(value), "{key}");
    }
    assert_eq!(text(&client, "k8s.pod.name").as_deref(), Some("web-1"));
    assert_eq!(text(&client, "server.port"), Some(address.port().to_string()));
    let number = |span: &Value, key: &str| span[key].as_str().unwrap().parse::<u128>().unwrap();
    for span in [&server, &client] {
        assert!(number(span, "startTimeUnixNano") <= number(span, "endTimeUnixNano"), "{span}");
        assert!(span["status"].get("code").is_none(), "{span}");
    }
    assert!(number(&server, "startTimeUnixNano") <= number(&client, "startTimeUnixNano"));
    assert!(!format!("{:?}", collector.spans()).contains("secret"));
    assert_eq!(proxy.access_line(HOST).await["trace_id"], TRACE);
}

#[tokio::test]
async fn a_request_without_valid_context_begins_a_trace() {
    let (_pod, address) = echo_pod("web-1");
    let collector = Collector::start().await;
    let proxy = Proxy::of(web(address), &[&collector.flag()]);
    let asked = Request::get("/new").header("host", HOST).header("traceparent", PARENT.to_uppercase());
    let seen = request(proxy.http, asked.header("tracestate", "vendor=1")).await.echo().headers;
    let server = collector.span("/new", 2).await;
    assert!(server.get("parentSpanId").is_none() && server["traceId"] != TRACE, "{server}");
    assert!(seen["traceparent"][0].contains(server["traceId"].as_str().unwrap()), "{seen:?}");
    assert!(!seen.contains_key("tracestate"), "a state without its trace");
    assert_eq!(get(proxy.http, "unknown.example.com", "/none").await.status, 404);
    let server = collector.span("/none", 2).await;
    assert_eq!(
        (text(&server, "http.response.status_code").as_deref(), text(&server, "http.route")),
        (Some("404"), None)
    );
}

#[tokio::test]
async fn a_pod_that_cannot_be_reached_has_a_span_that_failed() {
    let gone = super::support::pods::Refusing::new();
    let collector = Collector::start().await;
    let proxy = Proxy::of(web(gone.address()), &[&collector.flag()]);
    assert_eq!(get(proxy.http, HOST, "/gone").await.status, 503);
    let (server, client) = (collector.span("/gone", 2).await, collector.span("/gone", 3).await);
    assert_eq!((&server["status"]["code"], &client["status"]["code"]), (&json!(2), &json!(2)));
    assert_eq!(text(&client, "http.response.status_code"), None);
    assert!(text(&server, "error.type").is_some(), "{server}");
}

#[tokio::test]
async fn an_object_may_have_no_spans() {
    let (_pod, address) = echo_pod("web-1");
    let collector = Collector::start().await;
    let manifests = web(address);
    let quiet = route("quiet", "quiet.example.com", json!({ "to": { "kind": "Service", "name": "web" } }));
    manifests.put(&annotated(quiet, &[("nginx.ingress.kubernetes.io/enable-opentelemetry", "false")]));
    let proxy = Proxy::of(manifests, &[&collector.flag()]);
    let asked = Request::get("/quiet").header("host", "quiet.example.com").header("traceparent", PARENT);
    assert_eq!(request(proxy.http, asked).await.echo().headers["traceparent"], [PARENT]);
    get(proxy.http, HOST, "/told").await;
    collector.span("/told", 2).await;
    let paths: Vec<_> = collector.spans().iter().filter_map(|span| text(span, "url.path")).collect();
    assert_eq!(paths, ["/told"]);
}

#[tokio::test]
async fn without_a_collector_context_passes_untouched_and_one_that_is_away_delays_nobody() {
    let (_pod, address) = echo_pod("web-1");
    let manifests = web(address);
    let ask = async |proxy: &Proxy| {
        let asked = Request::get("/").header("host", HOST).header("traceparent", "anything").header("tracestate", "?");
        request(proxy.http, asked).await.echo().headers
    };
    let proxy = Proxy::start(&manifests, &[]);
    let seen = ask(&proxy).await;
    assert_eq!((&seen["traceparent"][0], &seen["tracestate"][0]), (&"anything".to_owned(), &"?".to_owned()));
    let gone = super::support::pods::Refusing::new();
    let proxy = Proxy::start(&manifests, &[&format!("--otlp-endpoint=http://{}", gone.address())]);
    assert_ne!(ask(&proxy).await["traceparent"], ["anything"]);
    eventually("the spans are counted", || async {
        proxy.metric("nearside_trace_spans_dropped_total", "").await.filter(|count| *count == 2.0)
    })
    .await;
}

#[tokio::test]
async fn a_relayed_request_is_a_span_whose_children_the_other_node_makes() {
    let (_pod, address) = echo_pod("web-2");
    let collector = Collector::start().await;
    let key = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(key.path(), "k".repeat(40)).unwrap();
    let manifests = Manifests::with(&[
        annotated(route("web", HOST, json!({})), &[("nearside.dev/on-miss", "relay")]),
        service("web"),
        pod_on("n2", "web", "web-2", address),
        published_at(HOST, &NODES[1..2]),
    ]);
    let flags =
        [collector.flag(), format!("--relay-key-file={}", key.path().display()), "--trace-sampling=0".to_owned()];
    let proxies = start(&[&manifests, &manifests], &flags.each_ref().map(String::as_str));
    let asked =
        Request::get("/moved").header("host", HOST).header("traceparent", PARENT).header("tracestate", "vendor=1");
    let seen = request(proxies[0].http, asked).await.echo().headers;
    let spans = eventually("the spans of both nodes", || async {
        let spans = collector.spans();
        (spans.len() == 4).then_some(spans)
    })
    .await;
    assert!(spans.iter().all(|span| span["traceId"] == TRACE), "{spans:?}");
    let below = |parent: &str| spans.iter().find(|span| span["parentSpanId"] == parent).unwrap();
    let first = below("b7ad6b7169203331");
    let relayed = below(first["spanId"].as_str().unwrap());
    assert_eq!((&first["kind"], &relayed["kind"]), (&json!(2), &json!(3)));
    assert_eq!(text(relayed, "nearside.relayed").as_deref(), Some("true"));
    assert_eq!(text(relayed, "server.address").as_deref(), Some(NODES[1].1));
    assert_eq!(text(relayed, "http.response.status_code").as_deref(), Some("200"));
    let second = below(relayed["spanId"].as_str().unwrap());
    let pod = below(second["spanId"].as_str().unwrap());
    assert_eq!(text(pod, "k8s.pod.name").as_deref(), Some("web-2"));
    assert_eq!(seen["traceparent"], [format!("00-{TRACE}-{}-01", pod["spanId"].as_str().unwrap())]);
    assert_eq!(seen["tracestate"], ["vendor=1"]);
}

#[tokio::test]
async fn spans_that_wait_are_sent_before_the_end() {
    let (_pod, address) = echo_pod("web-1");
    let collector = Collector::start().await;
    let proxy = Proxy::of(web(address), &[&collector.flag()]);
    get(proxy.http, HOST, "/last").await;
    proxy.access_line(HOST).await;
    proxy.terminate();
    assert!(proxy.ended().await.success());
    let paths: Vec<_> = collector.spans().iter().filter_map(|span| text(span, "url.path")).collect();
    assert_eq!(paths, ["/last"]);
}
