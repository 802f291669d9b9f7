//! Path tricks: whatever a pod may make of a path, the request does not get by the rule that would have refused it, and what everybody
//! reads alike is served.

use super::support::client::raw;
use super::support::manifests::{annotated, pod, route, service};
use super::support::{Manifests, Proxy, echo_pod};
use serde_json::{Value, json};

const HOST: &str = "web.example.com";

/// A Route of the Service `web`.
fn part(name: &str, host: &str, path: &str) -> Value {
    route(name, host, json!({ "path": path, "to": { "kind": "Service", "name": "web" } }))
}

async fn status(proxy: &Proxy, host: &str, path: &str) -> u16 {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    let answer = raw(proxy.http, request.as_bytes()).await;
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn no_trick_with_a_path_gets_by_the_rule_that_refuses_it() {
    let (served, address) = echo_pod("web-1");
    let nobody = [("haproxy.router.openshift.io/ip_allowlist", "192.0.2.1")];
    let proxy = Proxy::of(
        Manifests::with(&[
            part("all", HOST, "/"),
            annotated(part("admin", HOST, "/admin"), &nobody),
            part("public", "public.example.com", "/public"),
            service("web"),
            pod("web", "web-1", address),
        ]),
        &[],
    );
    for path in [
        "/admin",
        "/admin/",
        "/admin/x?y",
        "/./admin",
        "/x/../admin",
        "/x/%2e%2e/admin",
        "/x/.%2E/admin",
        "/%61dmin",
        "/admin/../admin/x",
        "//admin",
        "///admin//x",
        "/x//../admin",
        "/%2fadmin",
        "/%2Fadmin",
        "/admin%2fx",
        "/x%2f..%2fadmin",
        "/x/..%2fadmin",
        "/x%2f../admin",
        "/admin;",
        "/admin;a=b/x",
        "/;/admin",
        "/.;/admin",
        "/x/..;/admin",
        "/x/..;a=b/admin",
        "/x/%2e%2e;/admin",
        "/x/..%3b/admin",
        "/x/%252e%252e/admin",
        "/x/..%252fadmin",
        "/%2561dmin",
        "/x%255c..%255cadmin",
        "/admin%00",
        "/admin%00.png",
        "/admin%2500.png",
        "/x/..%5cadmin",
        "/x\\..\\admin",
        "\\admin",
        "/admin%",
        "/admin%2",
        "/admin%zz",
        "/admin#x",
    ] {
        let status = status(&proxy, HOST, path).await;
        assert!([400, 403].contains(&status), "{path}: {status}");
    }
    // Out of the part of the pod that a rule speaks of.
    for path in [
        "/public/../admin",
        "/public/..%2fadmin",
        "/public/..;/admin",
        "/public//../../admin",
        "/public/%252e%252e/admin",
    ] {
        let status = status(&proxy, "public.example.com", path).await;
        assert!([400, 404].contains(&status), "{path}: {status}");
    }
    assert_eq!(served.requests(), 0, "the pod got none of them");
    for (host, path) in [
        (HOST, "/"),
        (HOST, "/x//y"),
        (HOST, "/wiki/http://x/y"),
        (HOST, "/projects/a%2Fb;v=1/files"),
        (HOST, "/x/100%25"),
        (HOST, "/administrator"),
        (HOST, "/x/admin"),
        (HOST, "/ADMIN"),
        (HOST, "/x?a=//admin&b=..%2fadmin;c"),
        ("public.example.com", "/public//x"),
        ("public.example.com", "/public/a%2Fb"),
        ("public.example.com", "/public;a"),
    ] {
        let status = status(&proxy, host, path).await;
        let refused = path == "/public;a";
        assert_eq!(status, if refused { 404 } else { 200 }, "{path}");
    }
}

#[tokio::test]
async fn a_rule_that_is_written_with_such_signs_is_followed() {
    let (_pod, address) = echo_pod("web-1");
    let proxy = Proxy::of(
        Manifests::with(&[
            part("odd", HOST, "/x%2Fy"),
            part("params", HOST, "/a;b"),
            service("web"),
            pod("web", "web-1", address),
        ]),
        &[],
    );
    for (path, expected) in [("/x%2fy/z", 200), ("/x/y", 404), ("/a;b/c", 200), ("/a/c", 404)] {
        assert_eq!(status(&proxy, HOST, path).await, expected, "{path}");
    }
}
