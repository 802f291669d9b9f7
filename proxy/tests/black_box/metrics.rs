//! What an operator sees: series, the route table, the listeners, the access log.

use super::support::client::raw;
use super::support::manifests::{ingress, ingress_class, pod, route, service};
use super::support::pods::Refusing;
use super::support::{Manifests, Proxy, echo_pod, eventually, get};
use serde_json::{Value, json};

const HOST: &str = "web.example.com";

#[tokio::test]
async fn requests_are_counted_by_route_and_end_with_it() {
    let (_pod, address) = echo_pod("web-1");
    let served = route("web", HOST, json!({}));
    let manifests = Manifests::with(&[served.clone(), service("web"), pod("web", "web-1", address)]);
    let proxy = Proxy::start(&manifests, &[]);
    for path in ["/media/1000", "/media/1000", "/status/503"] {
        get(proxy.http, HOST, path).await;
    }
    get(proxy.http, "nothing.example.com", "/").await;
    let requests = |labels: &'static str| proxy.metric("nearside_http_requests_total", labels);
    eventually("all are counted", || async { requests("").await.filter(|count| *count == 4.0) }).await;
    assert_eq!(
        requests("code=\"200\",kind=\"Route\",method=\"GET\",namespace=\"shop\",route=\"web\"").await,
        Some(2.0)
    );
    assert_eq!(requests("code=\"503\"").await, Some(1.0));
    assert_eq!(requests("code=\"404\",kind=\"\"").await, Some(1.0));
    assert!(proxy.metric("nearside_response_bytes_total", "route=\"web\"").await.unwrap() >= 2000.0);
    assert_eq!(proxy.metric("nearside_http_request_duration_seconds_count", "").await, Some(4.0));
    assert_eq!(proxy.metric("nearside_table_hosts", "").await, Some(1.0));
    // A connection goes back to the pool a moment after its response; a request in between opens another.
    let connects = || async { proxy.metric("nearside_upstream_connect_seconds_count", "").await.unwrap() };
    assert!(connects().await >= 1.0);
    eventually("a connection to the pod is used again", || async {
        let before = connects().await;
        get(proxy.http, HOST, "/").await;
        (connects().await == before).then_some(())
    })
    .await;

    manifests.remove(&served);
    eventually("the route's series end", || async { requests("route=\"web\"").await.is_none().then_some(()) }).await;
    assert_eq!(proxy.metric("nearside_table_hosts", "").await, Some(0.0));
}

#[tokio::test]
async fn the_table_and_the_listeners_are_pages() {
    let (_pod, address) = echo_pod("web-1");
    let manifests = Manifests::with(&[
        route("web", HOST, json!({ "path": "/a" })),
        service("web"),
        pod("web", "web-1", address),
        route("bad", "bad..host", json!({})),
    ]);
    let proxy = Proxy::start(&manifests, &["--router-name=edge"]);
    let (status, page) = proxy.page("/routes").await;
    assert_eq!(status, 200);
    let page: Value = serde_json::from_str(&page).unwrap();
    let rule = &page["hosts"][HOST]["rules"][0];
    assert_eq!((page["node"].as_str(), page["router"].as_str()), (Some("n1"), Some("edge")));
    assert_eq!(rule["path"], "/a");
    assert_eq!(rule["backends"][0]["local_endpoints"][0]["address"], address.to_string());
    assert!(page["problems"].to_string().contains("InvalidHost"), "{page}");
    let listeners: Value = serde_json::from_str(&proxy.page("/listeners").await.1).unwrap();
    assert_eq!(listeners["http"], json!([proxy.http.to_string()]));
    assert_eq!(listeners["https"], json!([proxy.https.to_string()]));
}

#[tokio::test]
async fn each_request_has_a_line() {
    let (_pod, address) = echo_pod("web-1");
    let manifests = Manifests::with(&[route("web", HOST, json!({})), service("web"), pod("web", "web-1", address)]);
    let proxy = Proxy::start(&manifests, &[]);
    get(proxy.http, HOST, "/media/10?x=1").await;
    let line = proxy.access_line(HOST).await;
    for (field, expected) in [
        ("host", json!(HOST)),
        ("path", json!("/media/10?x=1")),
        ("status", json!(200)),
        ("sent", json!(10)),
        ("route", json!("Route shop/web")),
        ("pod", json!("web-1")),
        ("address", json!(address.to_string())),
    ] {
        assert_eq!(line[field], expected, "{line}");
    }
}

/// The lines of `/metrics` that begin with this.
async fn lines(proxy: &Proxy, start: &str) -> Vec<String> {
    let (_, text) = proxy.page("/metrics").await;
    text.lines().filter(|line| line.starts_with(start)).map(ToOwned::to_owned).collect()
}

#[tokio::test]
async fn what_a_pod_does_is_counted_by_route_service_and_pod() {
    let (_pod, address) = echo_pod("web-1");
    let manifests = Manifests::with(&[
        route("web", HOST, json!({})),
        route("other", "other.example.com", json!({ "to": { "kind": "Service", "name": "web" } })),
        service("web"),
        pod("web", "web-1", address),
    ]);
    let proxy = Proxy::start(&manifests, &[]);
    let labels = "namespace=\"shop\",pod=\"web-1\",route=\"web\",service=\"web\"";
    assert_eq!(proxy.metric("nearside_pod_response_bytes_total", labels).await, Some(0.0), "before any request");
    for path in ["/media/1000", "/status/503", "/status/404"] {
        get(proxy.http, HOST, path).await;
    }
    let body = "x".repeat(500);
    let text = format!("POST / HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\nContent-Length: 500\r\n\r\n{body}");
    raw(proxy.http, text.as_bytes()).await;
    let metric = |name: &'static str, more: &str| {
        let labels = more.to_owned();
        let proxy = &proxy;
        async move { proxy.metric(name, &labels).await }
    };
    eventually("all are over", || async {
        (metric("nearside_http_request_duration_seconds_count", "route=\"web\"").await == Some(4.0)).then_some(())
    })
    .await;
    for (class, expected) in [("2xx", Some(2.0)), ("4xx", Some(1.0)), ("5xx", Some(1.0)), ("3xx", None)] {
        let labels = format!("code=\"{class}\",kind=\"Route\",{labels}");
        assert_eq!(metric("nearside_pod_responses_total", &labels).await, expected, "{class}");
    }
    assert_eq!(metric("nearside_request_bytes_total", "route=\"web\",scheme=\"http\"").await, Some(500.0));
    assert_eq!(metric("nearside_pod_request_bytes_total", labels).await, Some(500.0));
    assert!(metric("nearside_pod_response_bytes_total", labels).await.unwrap() >= 1000.0);
    assert_eq!(metric("nearside_pod_first_byte_seconds_count", "route=\"web\"").await, Some(4.0));
    assert!(metric("nearside_pod_connections_total", labels).await.unwrap() >= 1.0);
    assert_eq!(metric("nearside_pod_failures_total", labels).await, Some(0.0));
    assert_eq!(metric("nearside_pod_current_requests", labels).await, Some(0.0));
    assert_eq!(metric("nearside_pod_responses_total", "route=\"other\"").await, None);
    let mut held = tokio::net::TcpStream::connect(proxy.http).await.unwrap();
    let request = format!("GET /media/999999999 HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    tokio::io::AsyncWriteExt::write_all(&mut held, request.as_bytes()).await.unwrap();
    eventually("one is under way", || async {
        (metric("nearside_pod_current_requests", labels).await == Some(1.0)).then_some(())
    })
    .await;
    drop(held);
    eventually("none is", || async {
        (metric("nearside_pod_current_requests", labels).await == Some(0.0)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_pod_that_cannot_be_reached_is_counted_as_that() {
    let refusing = Refusing::new();
    let manifests =
        Manifests::with(&[route("web", HOST, json!({})), service("web"), pod("web", "gone", refusing.address())]);
    let proxy = Proxy::start(&manifests, &["--openshift-metrics", "--on-miss=reject"]);
    assert_eq!(get(proxy.http, HOST, "/").await.status, 503);
    for name in ["nearside_pod_connect_failures_total", "haproxy_server_connection_errors_total"] {
        eventually(name, || async { proxy.metric(name, "pod=\"gone\"").await.filter(|count| *count >= 1.0) }).await;
    }
    assert_eq!(proxy.metric("nearside_pod_responses_total", "").await, None);
    assert_eq!(
        proxy.metric("haproxy_backend_http_responses_total", "code=\"5xx\",namespace=\"shop\"").await,
        Some(1.0)
    );
}

#[tokio::test]
async fn pods_beyond_the_limit_are_counted_together_and_series_end_with_their_pod() {
    let pods: Vec<_> = (0..4).map(|number| echo_pod(&format!("web-{number}"))).collect();
    let object = |number: usize| pod("web", &format!("web-{number}"), pods[number].1);
    let manifests = Manifests::with(&[route("web", HOST, json!({})), service("web"), object(0), object(1)]);
    let proxy = Proxy::start(&manifests, &["--pod-series=2", "--balance=roundrobin"]);
    let names = || async {
        let mut names: Vec<String> = lines(&proxy, "nearside_pod_current_requests{").await;
        names
            .iter_mut()
            .for_each(|line| *line = line.split("pod=\"").nth(1).unwrap().split('"').next().unwrap().into());
        names.sort();
        names
    };
    assert_eq!(names().await, ["web-0", "web-1"]);
    manifests.put(&object(2));
    manifests.put(&object(3));
    eventually("two are left out", || async {
        proxy.metric("nearside_pod_series_left_out", "").await.filter(|count| *count == 2.0)
    })
    .await;
    assert_eq!(names().await, ["(others)", "web-0", "web-1"]);
    for _ in 0..8 {
        get(proxy.http, HOST, "/").await;
    }
    let responses = |pod: &'static str| proxy.metric("nearside_pod_responses_total", pod);
    eventually("all are counted", || async { responses("").await.filter(|count| *count == 8.0) }).await;
    assert_eq!(responses("pod=\"(others)\"").await, Some(4.0));
    // Pods that come and go leave nothing behind.
    for round in 0..3 {
        manifests.remove(&object(0));
        eventually("a place is free", || async {
            (proxy.metric("nearside_pod_series_left_out", "").await == Some(1.0)).then_some(())
        })
        .await;
        let known = names().await;
        assert!(known.len() == 3 && !known.contains(&"web-0".to_owned()), "round {round}: {known:?}");
        manifests.put(&object(0));
        eventually("it is left out now", || async {
            (proxy.metric("nearside_pod_series_left_out", "").await == Some(2.0)).then_some(())
        })
        .await;
        assert_eq!(names().await, known, "round {round}: who has a series keeps it");
    }
}

#[tokio::test]
async fn the_series_of_an_openshift_router_are_there_where_they_are_asked_for() {
    let (_pod, address) = echo_pod("web-1");
    let objects = [
        route("web", HOST, json!({})),
        route(
            "edge",
            "edge.example.com",
            json!({
                "to": { "kind": "Service", "name": "web" },
                "tls": { "termination": "edge", "insecureEdgeTerminationPolicy": "Allow" }
            }),
        ),
        ingress("web", "ingress.example.com", &[("Prefix", "/", "web")], json!({})),
        ingress_class(),
        service("web"),
        pod("web", "web-1", address),
    ];
    let manifests = Manifests::with(&objects);
    let proxy = Proxy::start(&manifests, &[]);
    assert!(lines(&proxy, "haproxy_").await.is_empty() && lines(&proxy, "template_router_").await.is_empty());
    drop(proxy);
    let environment = [("ROUTER_METRICS_TYPE", "haproxy"), ("ROUTER_METRICS_HAPROXY_SERVER_THRESHOLD", "500")];
    let proxy = Proxy::start_in(&environment, &manifests, &["--allow-endpoints=127.0.0.0/8"]);
    for (host, path) in
        [(HOST, "/media/700"), (HOST, "/status/404"), ("nothing.example.com", "/"), ("ingress.example.com", "/")]
    {
        get(proxy.http, host, path).await;
    }
    let of_backend = "backend=\"http\",namespace=\"shop\",route=\"web\"";
    let of_server = format!("namespace=\"shop\",pod=\"web-1\",route=\"web\",server=\"{address}\",service=\"web\"");
    eventually("all are counted", || async {
        proxy.metric("haproxy_frontend_http_responses_total", "frontend=\"public\"").await.filter(|sum| *sum == 4.0)
    })
    .await;
    for (name, labels, expected) in [
        ("haproxy_frontend_http_responses_total", "code=\"4xx\",frontend=\"public\"", 2.0),
        ("haproxy_frontend_connections_total", "frontend=\"public\"", 4.0),
        ("haproxy_frontend_connections_total", "frontend=\"public_ssl\"", 0.0),
        ("haproxy_backend_connections_total", of_backend, 2.0),
        ("haproxy_backend_up", of_backend, 1.0),
        ("haproxy_backend_up", "backend=\"https-edge\",namespace=\"shop\",route=\"edge\"", 1.0),
        ("haproxy_backend_connections_total", "namespace=\"shop\",route=\"ingress/web\"", 1.0),
        ("haproxy_backend_connections_total", "backend=\"other/openshift_default\",namespace=\"\",route=\"\"", 1.0),
        ("haproxy_backend_current_queue", of_backend, 0.0),
        ("haproxy_server_up", &*of_server, 1.0),
        ("haproxy_server_connections_total", &*of_server, 2.0),
        ("haproxy_server_current_sessions", &*of_server, 0.0),
        ("haproxy_server_connection_errors_total", &*of_server, 0.0),
        ("haproxy_exporter_server_threshold", "type=\"limit\"", 500.0),
        ("haproxy_exporter_server_threshold", "type=\"current\"", 3.0),
        ("haproxy_up", "", 1.0),
        ("template_router_reload_failure", "", 0.0),
        ("template_router_reload_seconds_count", "", 0.0),
        ("template_router_write_config_seconds_count", "", 0.0),
    ] {
        assert_eq!(proxy.metric(name, labels).await, Some(expected), "{name}{{{labels}}}");
    }
    // An exchange ends a moment after its response, so the next one may find it still there.
    assert!(proxy.metric("haproxy_server_max_sessions", &of_server).await.unwrap() >= 1.0);
    assert!(proxy.metric("haproxy_server_bytes_out_total", &of_server).await.unwrap() >= 700.0);
    assert!(proxy.metric("haproxy_server_http_average_response_latency_milliseconds", &of_server).await.unwrap() > 0.0);
    assert!(proxy.metric("haproxy_process_resident_memory_bytes", "").await.unwrap() > 1e6);
    assert!(proxy.metric("haproxy_max_connections", "").await.unwrap() >= 1.0);
    assert!(proxy.metric("haproxy_exporter_total_scrapes", "").await.unwrap() > 1.0);
    assert!(lines(&proxy, "# TYPE haproxy_server_connections_total").await[0].ends_with(" gauge"));
    // No series is there twice, or Prometheus would refuse all of them.
    let (_, text) = proxy.page("/metrics").await;
    let series = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.rsplit_once(' '));
    let mut names: Vec<&str> = series.map(|(name, _)| name).collect();
    names.sort_unstable();
    assert_eq!(names.windows(2).find(|pair| pair[0] == pair[1]), None);
    // What frontends have counted outlives routes.
    manifests.remove(&objects[0]);
    eventually("the route's series end", || async {
        proxy.metric("haproxy_backend_up", of_backend).await.is_none().then_some(())
    })
    .await;
    assert_eq!(proxy.metric("haproxy_server_up", &of_server).await, None);
    assert_eq!(proxy.metric("haproxy_frontend_http_responses_total", "frontend=\"public\"").await, Some(4.0));
}
