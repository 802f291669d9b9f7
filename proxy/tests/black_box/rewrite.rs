//! Paths: what the pod sees instead of the client's, and paths that are regular expressions.

use super::support::client::{get_h2, raw, request};
use super::support::manifests::{annotated, ingress, ingress_class, pod, route, service, service_with};
use super::support::{Manifests, Proxy, echo_pod, get};
use http::Request;
use serde_json::{Value, json};
use std::fmt::Write;
use std::net::SocketAddr;
use tokio::net::TcpStream;

const HOST: &str = "web.example.com";
const TARGET: &str = "haproxy.router.openshift.io/rewrite-target";

fn manifests(objects: &[Value], address: SocketAddr) -> Manifests {
    let manifests = Manifests::with(&[ingress_class(), service("web"), pod("web", "web-1", address)]);
    objects.iter().for_each(|object| manifests.put(object));
    manifests
}

/// The same for several objects, each with its host, at one pod.
fn of(name: &str, path: &str, annotations: &[(&str, &str)]) -> Value {
    let mut route = route(name, &format!("{name}.example.com"), json!({ "path": path }));
    route["spec"]["to"]["name"] = json!("web");
    annotated(route, annotations)
}

#[tokio::test]
async fn a_route_path_is_replaced_as_text_and_the_query_stays() {
    let (_pod, address) = echo_pod("web-1");
    let table = [
        ("/foo", "/", "/foo", "/"),
        ("/foo", "/", "/foo/bar?a=/foo", "/bar?a=/foo"),
        ("/foo", "/baz", "/foo/bar", "/baz/bar"),
        ("/foo", "/it's-(v1)", "/foo/bar", "/it's-(v1)/bar"),
        ("/a.b", "/x", "/a.b/c?", "/x/c?"),
        ("/foo", "/", "/x/../%66oo/%41%2fb", "/A%2Fb"),
        ("", "/baz", "/foo", "/baz/foo"),
        ("/foo", "/baz#cut", "/foo/bar", "/foo/bar"),
        ("/foo", "baz", "/foo/bar", "/foo/bar"),
        ("/foo", "/a\nb", "/foo/bar", "/foo/bar"),
    ];
    let name = |number: usize| format!("r{number}");
    let objects = table.iter().enumerate();
    let objects: Vec<Value> = objects.map(|(number, row)| of(&name(number), row.0, &[(TARGET, row.1)])).collect();
    let proxy = Proxy::of(manifests(&objects, address), &[]);
    for (number, (path, target, asked, expected)) in table.into_iter().enumerate() {
        let echo = get(proxy.http, &format!("{}.example.com", name(number)), asked).await.echo();
        assert_eq!(echo.path, expected, "{path} -> {target}: {asked}");
    }
}

#[tokio::test]
async fn the_rule_is_chosen_by_the_path_of_the_client_also_in_absolute_form() {
    let (_pod, address) = echo_pod("web-1");
    let (_other, other) = echo_pod("other-1");
    let objects = [
        annotated(route("web", HOST, json!({ "path": "/foo" })), &[("nearside.dev/rewrite-target", "/bar")]),
        route("other", HOST, json!({ "path": "/bar" })),
        service("other"),
        pod("other", "other-1", other),
    ];
    let proxy = Proxy::of(manifests(&objects, address), &[]);
    let reply = get(proxy.http, HOST, "/foo/x").await;
    assert_eq!((reply.pod(), reply.echo().path.as_str()), (Some("web-1"), "/bar/x"));
    let bytes = format!("GET http://{HOST}/foo/x?y HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n");
    let answer = raw(proxy.http, bytes.as_bytes()).await;
    assert!(answer.contains(r#""path":"/bar/x?y""#), "{answer}");
}

#[tokio::test]
async fn a_path_that_is_no_text_is_rewritten_or_refused_and_never_an_error_of_the_proxy() {
    let (_pod, address) = echo_pod("web-1");
    let web = annotated(route("web", HOST, json!({ "path": "/foo" })), &[(TARGET, "/bar")]);
    let proxy = Proxy::of(manifests(&[web], address), &[]);
    for path in [
        &b"/foo/\xff\xfe"[..],
        "/foo/\u{e4}".as_bytes(),
        b"/foo/\"<{|}>^`",
        b"/foo/%ff?\xff",
        b"/foo/%00",
        b"/foo/\x7f",
    ] {
        let end = format!(" HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n");
        let answer = raw(proxy.http, &[b"GET ", path, end.as_bytes()].concat()).await;
        let status: u16 = answer.split(' ').nth(1).unwrap().parse().unwrap();
        assert!(status == 200 || status == 400, "{}: {answer}", String::from_utf8_lossy(path));
        assert!(status == 400 || answer.contains("\"path\":\"/bar/"), "{}: {answer}", String::from_utf8_lossy(path));
    }
}

#[tokio::test]
async fn a_pod_that_speaks_http_2_sees_the_new_path_and_host() {
    let (_pod, address) = echo_pod("web-1");
    for (vhost, expected) in [(None, HOST), (Some("inner.example.org"), "inner.example.org")] {
        let annotations = [("nearside.dev/upstream-vhost", vhost.unwrap_or_default())];
        let mut web = annotated(route("web", HOST, json!({ "path": "/foo" })), &annotations[..vhost.iter().count()]);
        web["metadata"]["annotations"][TARGET] = json!("/bar");
        let objects = [web, service_with("web", json!({ "appProtocol": "kubernetes.io/h2c" }))];
        let proxy = Proxy::of(manifests(&objects, address), &[]);
        let stream = TcpStream::connect(proxy.http).await.unwrap();
        let by_h2 = get_h2(stream, &format!("http://{HOST}/foo/x?y")).await.echo();
        let by_h1 = get(proxy.http, HOST, "/foo/x?y").await.echo();
        for echo in [by_h2, by_h1] {
            assert_eq!(
                (echo.protocol.as_str(), echo.path.as_str(), echo.host.as_str()),
                ("HTTP/2.0", "/bar/x?y", expected)
            );
        }
    }
}

#[tokio::test]
async fn groups_of_a_regular_expression_make_the_path_of_the_pod() {
    let (_pod, address) = echo_pod("web-1");
    let rewrite = ("nginx.ingress.kubernetes.io/rewrite-target", "/$2");
    let prefix = ("nginx.ingress.kubernetes.io/x-forwarded-prefix", "/something$1");
    let paths = [("ImplementationSpecific", "/something(/|$)(.*)", "web")];
    let web = annotated(ingress("web", HOST, &paths, json!({})), &[rewrite, prefix]);
    let proxy = Proxy::of(manifests(&[web], address), &[]);
    for (asked, expected) in [("/something", "/"), ("/SomeThing/", "/"), ("/something/new?a=b", "/new?a=b")] {
        let claimed = Request::get(asked).header("host", HOST).header("x-forwarded-prefix", "/mine");
        let echo = request(proxy.http, claimed).await.echo();
        assert_eq!(echo.path, expected, "{asked}");
        assert!(echo.headers["x-forwarded-prefix"][0].starts_with("/something"), "{:?}", echo.headers);
    }
    for missed in ["/somethingnew", "/else/something/"] {
        assert_eq!(get(proxy.http, HOST, missed).await.status, 404, "{missed}");
    }
}

#[tokio::test]
async fn regular_expressions_are_tried_by_length_after_exact_paths() {
    let paths = [
        ("ImplementationSpecific", "/foo/[a-z]+", "letters"),
        ("ImplementationSpecific", "/foo/[0-9]{1,8}$", "digits"),
        ("Prefix", "/foo", "prefix"),
        ("Exact", "/foo/abc", "exact"),
        ("ImplementationSpecific", "/look(?=ahead)", "prefix"),
        ("Prefix", "/text(.*)", "prefix"),
    ];
    let web = ingress("web", HOST, &paths, json!({}));
    let mut objects = vec![annotated(web, &[("nginx.ingress.kubernetes.io/use-regex", "true")])];
    let (_web, address) = echo_pod("web-1");
    let names = ["letters", "digits", "prefix", "exact"];
    let pods = names.map(|name| (name, echo_pod(&format!("{name}-1"))));
    for (name, (_, address)) in &pods {
        objects.push(service(name));
        objects.push(pod(name, &format!("{name}-1"), *address));
    }
    let proxy = Proxy::of(manifests(&objects, address), &[]);
    for (asked, expected) in [
        ("/foo/abc", Some("exact-1")),
        ("/foo/ABC", Some("letters-1")),
        ("/foo/abc1", Some("letters-1")),
        ("/foo/12", Some("digits-1")),
        ("/foo/12/", Some("prefix-1")),
        ("/foo", Some("prefix-1")),
        ("/x/foo/abc", None),
        ("/lookahead", None),
        ("/textual", None),
        ("/text(.*)/x", Some("prefix-1")),
    ] {
        assert_eq!(get(proxy.http, HOST, asked).await.pod(), expected, "{asked}");
    }
    let (_, page) = proxy.page("/routes").await;
    assert!(page.contains("spec.rules[0].http.paths[4].path") && page.contains("look-around"), "{page}");
    assert!(page.contains("spec.rules[0].http.paths[5].pathType"), "{page}");
}

#[tokio::test]
async fn hostile_regular_expressions_cost_others_nothing() {
    let (_pod, address) = echo_pod("web-1");
    let bombs = ["/(a|aa|a*)*b", "/(a{1000}){1000}", "/(", "/a)|(b", "/\\1", "/(?i)(?x) # c", "/[\\w\\W]{99}"];
    let mut paths: Vec<(&str, &str, &str)> = bombs.map(|bomb| ("ImplementationSpecific", bomb, "web")).into();
    let mut many = String::new();
    for number in 0..2000 {
        writeln!(many, "/x{number}[a-z]{{50}}").unwrap();
    }
    paths.extend(many.lines().map(|path| ("ImplementationSpecific", path, "web")));
    let bad = ingress("bad", "bad.example.com", &paths, json!({}));
    let bad = annotated(bad, &[("nearside.dev/use-regex", "true"), ("nearside.dev/rewrite-target", "/$host")]);
    let proxy = Proxy::of(manifests(&[bad, route("web", HOST, json!({}))], address), &[]);
    let long = format!("/{}", "a".repeat(8000));
    assert_eq!(get(proxy.http, "bad.example.com", &long).await.status, 404, "too long for any expression");
    assert_eq!(get(proxy.http, "bad.example.com", "/aaab").await.pod(), Some("web-1"), "the good ones are served");
    assert_eq!(get(proxy.http, HOST, &long).await.pod(), Some("web-1"));
    let (_, page) = proxy.page("/routes").await;
    assert!(page.contains("too large together") || page.contains("more problems are not listed"), "{page}");
}
