//! Header fields on their way to the pod and to the client: actions of Routes and of the router, who asked, HSTS, ids, case.

use super::support::client::{exchange, get_h2, get_tls, raw, read_until, request};
use super::support::manifests::{annotated, ingress, ingress_class, pod, route, service};
use super::support::pods::read_header;
use super::support::{Manifests, Proxy, Scripted, echo_pod, get};
use http::Request;
use http_body_util::Full;
use nearside_loadtest::certificates::TestCa;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

const HOST: &str = "web.example.com";

fn manifests(object: Value, pod_address: SocketAddr) -> Manifests {
    Manifests::with(&[ingress_class(), object, service("web"), pod("web", "web-1", pod_address)])
}

fn set(name: &str, value: &str) -> Value {
    json!({ "name": name, "action": { "type": "Set", "set": { "value": value } } })
}

fn delete(name: &str) -> Value {
    json!({ "name": name, "action": { "type": "Delete" } })
}

fn actions(request: Value, response: Value) -> Value {
    json!({ "httpHeaders": { "actions": { "request": request, "response": response } } })
}

/// A pod that answers every request with these bytes and closes.
async fn answering(answer: &'static str) -> Scripted {
    Scripted::start(move |mut stream| async move {
        read_header(&mut stream).await;
        stream.write_all(answer.as_bytes()).await.unwrap();
    })
    .await
}

/// A pod that answers with its request header as it came, as a body.
async fn repeating() -> Scripted {
    Scripted::start(|mut stream| async move {
        let seen = read_header(&mut stream).await;
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{seen}", seen.len());
        stream.write_all(answer.as_bytes()).await.unwrap();
    })
    .await
}

fn seen(headers: &BTreeMap<String, Vec<String>>, name: &str) -> Vec<String> {
    headers.get(name).cloned().unwrap_or_default()
}

#[tokio::test]
async fn a_route_sets_and_deletes_fields_of_requests_in_order() {
    let (_pod, address) = echo_pod("web-1");
    let list = json!([
        set("X-Copy", "%[req.hdr(X-User),lower]"),
        set("X-User", "replaced 100%%"),
        set("X-After", "<%{+Q}[req.hdr(x-user)]>"),
        set("X-Encoded", "%[req.hdr(host),base64]"),
        set("X-Certificate", "none:%[ssl_c_der,base64]"),
        set("X-Forwarded-Proto", "gopher"),
        delete("X-Secret"),
        set("X-Bad", "%[src]"),
        set("Content-Length", "7"),
        set("X-Empty", "%[req.hdr(x-none)]"),
    ]);
    let web = route("web", HOST, actions(list, json!([])));
    let proxy = Proxy::of(manifests(web, address), &[]);
    let builder = Request::get("/").header("host", HOST).header("x-user", "first");
    let headers =
        request(proxy.http, builder.header("x-user", "a, Second").header("x-secret", "1")).await.echo().headers;
    for (name, expected) in [
        ("x-copy", &["second"][..]),
        ("x-user", &["replaced 100%"]),
        ("x-after", &["<\"replaced 100%\">"]),
        ("x-encoded", &["d2ViLmV4YW1wbGUuY29t"]),
        ("x-certificate", &["none:"]),
        ("x-forwarded-proto", &["gopher"]),
        ("x-secret", &[]),
        ("x-bad", &[]),
        ("content-length", &[]),
        ("x-empty", &[""]),
    ] {
        assert_eq!(seen(&headers, name), expected, "{name}");
    }
    let (_, page) = proxy.page("/routes").await;
    for told in ["spec.httpHeaders.actions.request[7]", "spec.httpHeaders.actions.request[8]"] {
        assert!(page.contains(told), "{page}");
    }
}

#[tokio::test]
async fn the_route_wins_in_requests_and_the_router_in_responses() {
    let pod = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Powered-By: php\r\nX-Pod: one\r\nX-Pod: two\r\n\r\n";
    let both = actions(json!([]), json!([set("X-Who", "route"), set("X-Last", "%[res.hdr(x-pod)]"), delete("X-Pod")]));
    let answers = answering(pod).await;
    let responses = manifests(route("web", HOST, both), answers.address);
    let flags = ["--response-header=X-Who:router:Set", "--response-header=x-powered-by:Delete"];
    let reply = get(Proxy::start(&responses, &flags).http, HOST, "/").await;
    let fields = ["x-who", "x-last", "x-pod", "x-powered-by"].map(|name| reply.header(name));
    assert_eq!(fields, [Some("router"), Some("two"), None, None]);

    let (_pod, address) = echo_pod("web-1");
    let of_route = actions(json!([set("X-Who", "route"), set("X-Seen", "%[req.hdr(x-router)]")]), json!([]));
    let flag = "--request-header=X-Who:router:Set,X-Router:%25%5Breq.hdr%28host%29%5D+%3A:Set,X-Forwarded-Port:1:Set";
    let proxy = Proxy::of(manifests(route("web", HOST, of_route), address), &[flag]);
    let headers = get(proxy.http, HOST, "/").await.echo().headers;
    assert_eq!(seen(&headers, "x-who"), ["route"]);
    assert_eq!(seen(&headers, "x-seen"), [format!("{HOST} :")], "what the router set is there for the route");
    assert_eq!(seen(&headers, "x-forwarded-port"), [proxy.http.port().to_string()], "who asked comes after the router");
}

#[tokio::test]
async fn annotations_set_and_delete_fields_of_both_kinds() {
    let answers = answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Powered-By: php\r\n\r\n").await;
    let annotations = [
        ("nearside.dev/response-headers", "X-Frame-Options: DENY\n-X-Powered-By\nSet-Cookie: a=b\n"),
        ("nginx.ingress.kubernetes.io/custom-headers", "shop/headers"),
    ];
    let web = ingress("web", HOST, &[("Prefix", "/", "web")], json!({}));
    let proxy = Proxy::of(manifests(annotated(web, &annotations), answers.address), &[]);
    let reply = get(proxy.http, HOST, "/").await;
    let fields = ["x-frame-options", "x-powered-by", "set-cookie"].map(|name| reply.header(name));
    assert_eq!(fields, [Some("DENY"), None, None]);
    let (_, page) = proxy.page("/routes").await;
    assert!(page.contains("ConfigMap") && page.contains("set-cookie cannot be set"), "{page}");
}

#[tokio::test]
async fn each_policy_tells_the_pod_who_asked_in_its_way() {
    let (_pod, address) = echo_pod("web-1");
    let claim = "192.0.2.1";
    for (policy, flag, list, proto, hosts) in [
        (None, None, &[claim, "127.0.0.1"][..], "http", HOST),
        (Some("append"), Some("never"), &[claim, "127.0.0.1"], "http", HOST),
        (Some("replace"), None, &["127.0.0.1"], "http", HOST),
        (Some("if-none"), None, &[claim], "https", "front.example.com"),
        (Some("never"), None, &[claim], "https", "front.example.com"),
        (None, Some("replace"), &["127.0.0.1"], "http", HOST),
        (Some("sometimes"), Some("replace"), &["127.0.0.1"], "http", HOST),
    ] {
        let mut web = route("web", HOST, json!({}));
        if let Some(policy) = policy {
            web = annotated(web, &[("haproxy.router.openshift.io/set-forwarded-headers", policy)]);
        }
        let flags: Vec<String> = flag.iter().map(|flag| format!("--forwarded-headers={flag}")).collect();
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let proxy = Proxy::of(manifests(web, address), &flags);
        let builder = Request::get("/").header("host", HOST).header("x-forwarded-for", claim);
        let builder = builder.header("x-forwarded-proto", "https").header("x-forwarded-host", "front.example.com");
        let headers = request(proxy.http, builder).await.echo().headers;
        assert_eq!(seen(&headers, "x-forwarded-for"), list, "{policy:?} {flag:?}");
        assert_eq!(seen(&headers, "x-forwarded-proto"), [proto], "{policy:?} {flag:?}");
        assert_eq!(seen(&headers, "x-forwarded-host"), [hosts], "{policy:?} {flag:?}");
        let forwarded = seen(&headers, "forwarded");
        if policy == Some("never") {
            assert!(forwarded.is_empty(), "{forwarded:?}");
        } else {
            assert_eq!(forwarded, [format!("for=127.0.0.1;host={HOST};proto={proto}")], "{policy:?} {flag:?}");
        }
    }
}

#[tokio::test]
async fn a_pod_learns_of_http_2_only_where_it_is_true() {
    let (_pod, address) = echo_pod("web-1");
    let proxy = Proxy::of(manifests(route("web", HOST, json!({})), address), &[]);
    let stream = TcpStream::connect(proxy.http).await.unwrap();
    let headers = get_h2(stream, &format!("http://{HOST}/")).await.echo().headers;
    assert_eq!(seen(&headers, "x-forwarded-proto-version"), ["h2"]);
    let claimed = Request::get("/").header("host", HOST).header("x-forwarded-proto-version", "h2");
    let headers = request(proxy.http, claimed).await.echo().headers;
    assert!(seen(&headers, "x-forwarded-proto-version").is_empty());
}

#[tokio::test]
async fn the_host_reaches_the_pod_of_a_route_in_lower_case_and_that_of_an_ingress_as_it_was_written() {
    let (_pod, address) = echo_pod("web-1");
    let vhost = ("nginx.ingress.kubernetes.io/upstream-vhost", "inner.example.org:8080");
    for (object, expected, forwarded) in [
        (route("web", HOST, json!({})), HOST, HOST),
        (ingress("web", HOST, &[("Prefix", "/", "web")], json!({})), "Web.Example.COM", "Web.Example.COM"),
        (annotated(route("web", HOST, json!({})), &[vhost]), vhost.1, HOST),
        (annotated(route("web", HOST, json!({})), &[(vhost.0, "a b")]), HOST, HOST),
        (route("web", HOST, actions(json!([set("Host", "%[req.hdr(x-none)]")]), json!([]))), HOST, HOST),
        (route("web", HOST, actions(json!([set("Host", "set.example.org")]), json!([]))), "set.example.org", HOST),
    ] {
        let proxy = Proxy::of(manifests(object.clone(), address), &[]);
        let echo = get(proxy.http, "Web.Example.COM", "/").await.echo();
        assert_eq!(echo.host, expected, "{object}");
        assert_eq!(seen(&echo.headers, "x-forwarded-host"), [forwarded], "{object}");
    }
}

#[tokio::test]
async fn strict_transport_security_is_said_over_tls_only_and_instead_of_the_pods() {
    let answers =
        answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nStrict-Transport-Security: max-age=1\r\n\r\n").await;
    let ca = TestCa::new("test").unwrap();
    let pair = ca.identity(&[HOST]).unwrap();
    let tls = json!({ "tls": {
        "termination": "edge", "insecureEdgeTerminationPolicy": "Allow", "certificate": pair.certificate, "key": pair.key
    }});
    for (annotation, value, expected) in [
        ("haproxy.router.openshift.io/hsts_header", "max-age=600;includeSubDomains", "max-age=600;includeSubDomains"),
        ("nearside.dev/hsts", "preload ; MAX-AGE = \"600\"", "preload ; MAX-AGE = \"600\""),
        ("haproxy.router.openshift.io/hsts_header", "max-age=600; report-uri=x", "max-age=1"),
    ] {
        let web = annotated(route("web", HOST, tls.clone()), &[(annotation, value)]);
        let proxy = Proxy::of(manifests(web, answers.address), &[]);
        let secure = get_tls(proxy.https, &ca, HOST, "/").await.unwrap();
        assert_eq!(secure.header("strict-transport-security"), Some(expected), "{value}");
        let plain = get(proxy.http, HOST, "/").await;
        assert_eq!(plain.header("strict-transport-security"), Some("max-age=1"), "{value}: only what the pod says");
    }
}

#[tokio::test]
async fn errors_of_the_proxy_say_strict_transport_security_too() {
    let ca = TestCa::new("test").unwrap();
    let pair = ca.identity(&[HOST]).unwrap();
    let tls = json!({ "tls": { "termination": "edge", "certificate": pair.certificate, "key": pair.key } });
    let web = annotated(route("web", HOST, tls), &[("nearside.dev/hsts", "max-age=600")]);
    let proxy = Proxy::of(Manifests::with(&[web, service("web")]), &[]);
    let refused = get_tls(proxy.https, &ca, HOST, "/").await.unwrap();
    assert_eq!((refused.status, refused.header("strict-transport-security")), (503, Some("max-age=600")));
}

#[tokio::test]
async fn an_upgrade_carries_the_fields_of_the_route_both_ways() {
    let pod = Scripted::start(|mut stream| async move {
        let seen = read_header(&mut stream).await.to_lowercase();
        let told = seen.contains("x-asked: yes\r\n") && seen.contains("upgrade: websocket\r\n");
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX-Told: {told}\r\n\r\n"
        );
        stream.write_all(answer.as_bytes()).await.unwrap();
        read_header(&mut stream).await;
    })
    .await;
    let list = actions(json!([set("X-Asked", "yes")]), json!([set("X-Answered", "%[res.hdr(x-told)]")]));
    let web = annotated(route("web", HOST, list), &[("nearside.dev/connection-proxy-header", "close")]);
    let proxy = Proxy::of(manifests(web, pod.address), &[]);
    let mut stream = TcpStream::connect(proxy.http).await.unwrap();
    let bytes = format!(
        "GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(bytes.as_bytes()).await.unwrap();
    let head = read_until(&mut stream, "\r\n\r\n").await.to_lowercase();
    assert!(head.starts_with("http/1.1 101 ") && head.contains("x-answered: true\r\n"), "{head}");
}

#[tokio::test]
async fn a_request_has_an_id_of_the_routers_making() {
    let (_pod, address) = echo_pod("web-1");
    let manifests = manifests(route("web", HOST, json!({})), address);
    let proxy = Proxy::start(&manifests, &["--unique-id-header=X-Request-Id"]);
    let mut ids = Vec::new();
    for _ in 0..2 {
        let claimed = Request::get("/").header("host", HOST).header("x-request-id", "mine");
        let id = seen(&request(proxy.http, claimed).await.echo().headers, "x-request-id");
        assert!(id.len() == 1 && id[0].len() == 36, "{id:?}");
        ids.extend(id);
    }
    assert_ne!(ids[0], ids[1]);
    let format = "--unique-id-format=%{+X}o%ci-%fp-%rt-%{-X}rt";
    let proxy = Proxy::start(&manifests, &["--unique-id-header=X-Request-Id", format]);
    let headers = get(proxy.http, HOST, "/").await.echo().headers;
    assert_eq!(seen(&headers, "x-request-id"), [format!("7F000001-{:04X}-0000-0", proxy.http.port())]);
}

#[tokio::test]
async fn names_are_written_in_the_case_that_old_clients_and_pods_insist_on() {
    let flag = "--h1-case-adjust=X-LEGACY-Id,content-LENGTH";
    let pod = repeating().await;
    let ask = format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nx-legacy-id: 1\r\nConnection: close\r\n\r\n");
    for (adjust, expected) in [("true", "X-LEGACY-Id: 1\r\n"), ("false", "x-legacy-id: 1\r\n")] {
        let web = annotated(route("web", HOST, json!({})), &[("haproxy.router.openshift.io/h1-adjust-case", adjust)]);
        let proxy = Proxy::of(manifests(web, pod.address), &[flag]);
        let answer = raw(proxy.http, ask.as_bytes()).await;
        assert!(answer.contains(expected), "{adjust}: {answer}");
        assert!(answer.contains("content-LENGTH: "), "responses to clients always: {answer}");
        let missing = raw(proxy.http, b"GET / HTTP/1.1\r\nHost: nothing\r\nConnection: close\r\n\r\n").await;
        assert!(missing.contains("content-LENGTH: "), "also those of the proxy: {missing}");
        let stream = TcpStream::connect(proxy.http).await.unwrap();
        let by_h2 = get_h2(stream, &format!("http://{HOST}/")).await;
        assert_eq!(by_h2.status, 200, "HTTP/2 knows no case");
    }
}

#[tokio::test]
async fn a_pod_is_asked_to_close_where_its_ingress_says_so() {
    let pod = repeating().await;
    for (value, asked) in [("close", true), ("keep-alive", false), ("upgrade", false)] {
        let web = ingress("web", HOST, &[("Prefix", "/", "web")], json!({}));
        let web = annotated(web, &[("nginx.ingress.kubernetes.io/connection-proxy-header", value)]);
        let proxy = Proxy::of(manifests(web, pod.address), &[]);
        let text = get(proxy.http, HOST, "/").await.text().to_lowercase();
        assert_eq!(text.contains("connection: close"), asked, "{value}: {text}");
    }
}

/// Hostile values in every field of this area, on one Route: another Route is served as ever.
#[tokio::test]
async fn hostile_header_settings_change_nothing_for_other_routes() {
    let (_pod, address) = echo_pod("web-1");
    let long = "x".repeat(64 * 1024);
    let hostile = ["'\"\\;{}%", "%[", "a\r\nProxy: b", "\u{0}", "\u{2028}", "%{+Q}[req.hdr(a)", "%00", &long];
    let mut objects = vec![service("web"), pod("web", "web-1", address), route("web", HOST, json!({}))];
    for (number, value) in hostile.iter().enumerate() {
        let items = json!([set("X-A", value), set(value, "b"), delete(value), { "name": value, "action": {} }]);
        let mut bad =
            route(&format!("bad-{number}"), &format!("bad-{number}.example.com"), actions(items.clone(), items));
        bad["spec"]["to"]["name"] = json!("web");
        let names = [
            "nearside.dev/hsts",
            "nearside.dev/forwarded-headers",
            "nearside.dev/upstream-vhost",
            "nearside.dev/connection-proxy-header",
            "nearside.dev/h1-adjust-case",
            "nearside.dev/rewrite-target",
            "nginx.ingress.kubernetes.io/rewrite-target",
            "nearside.dev/x-forwarded-prefix",
            "nearside.dev/permanent-redirect",
            "nearside.dev/temporal-redirect-code",
            "nearside.dev/app-root",
            "nearside.dev/from-to-www-redirect",
            "nearside.dev/enable-cors",
            "nearside.dev/cors-allow-origin",
            "nearside.dev/cors-max-age",
            "nearside.dev/request-headers",
            "nearside.dev/response-headers",
        ];
        objects.push(annotated(bad, &names.map(|name| (name, *value))));
    }
    let proxy = Proxy::of(Manifests::with(&objects), &[]);
    for number in 0..hostile.len() {
        let reply = get(proxy.http, &format!("bad-{number}.example.com"), "/").await;
        let cookies = reply.headers.get_all("set-cookie").iter().count();
        assert_eq!((reply.status, cookies), (200, 1), "{number}: only the router's own cookie");
        assert_eq!((reply.status, reply.header("proxy")), (200, None), "{number}");
        let echo = reply.echo();
        assert_eq!(seen(&echo.headers, "x-forwarded-for"), ["127.0.0.1"], "{number}: the default holds");
    }
    let stream = TcpStream::connect(proxy.http).await.unwrap();
    let good = exchange(stream, Request::get("/").header("host", HOST).body(Full::default()).unwrap()).await;
    assert_eq!(good.pod(), Some("web-1"));
}
