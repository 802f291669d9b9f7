//! The rules of both specifications on hosts, paths and ports as tables: each row is one rule, one request, and whether a pod
//! answers.

use super::support::manifests::{annotated, ingress, ingress_class, pod, route, service, service_with};
use super::support::{Manifests, Proxy, echo_pod, get};
use serde_json::{Value, json};

/// A rule to the Service `web` under a name of its own.
fn to_web(mut route: Value, name: &str) -> Value {
    route["metadata"]["name"] = json!(name);
    route["metadata"]["uid"] = json!(name);
    route["spec"]["to"]["name"] = json!("web");
    route
}

async fn problems(proxy: &Proxy, object: &str) -> String {
    let (_, page) = proxy.page("/routes").await;
    serde_json::from_str::<Value>(&page).unwrap()["problems"][object].to_string()
}

#[tokio::test]
async fn a_route_path_speaks_of_these_requests_and_not_of_those() {
    let (_pod, address) = echo_pod("web-1");
    let table: [(&str, &[&str], &[&str]); 12] = [
        ("", &["/", "/x", "/x/y?q", "//", "/%2F"], &[]),
        ("/", &["/", "/x"], &[]),
        ("//", &["/", "/x"], &[]),
        (
            "/sub",
            &["/sub", "/sub/", "/sub/x", "/sub?q", "/x/../sub", "/%73ub"],
            &["/subpar", "/", "/Sub", "/x/sub", "/sub%2Fx"],
        ),
        ("/sub/", &["/sub/", "/sub/x", "/sub//"], &["/sub", "/subx", "/sub/../x"]),
        ("/a.b", &["/a.b", "/a.b/c"], &["/axb", "/a/b"]),
        ("/a+(b)|c$", &["/a+(b)|c$", "/a+(b)|c$/x"], &["/ab", "/aab", "/c"]),
        ("/[a-z]*", &["/[a-z]*/x"], &["/abc", "/"]),
        ("/%41b", &["/Ab", "/%41b/c", "/A%62"], &["/ab", "/%2541b"]),
        ("/x%2fy", &["/x%2Fy", "/x%2fy/z"], &["/x/y"]),
        ("/caf%C3%A9", &["/caf%c3%a9", "/caf%C3%A9/x"], &["/cafe"]),
        ("/a/./b/../c", &["/a/c", "/a/c/d"], &["/a/b", "/a/b/c"]),
    ];
    let host = |row: usize| format!("p{row}.example.com");
    let rule = |(row, (path, ..)): (usize, &(&str, &[&str], &[&str]))| {
        to_web(route("web", &host(row), json!({ "path": path })), &format!("p{row}"))
    };
    let mut objects: Vec<Value> = table.iter().enumerate().map(rule).collect();
    objects.extend([service("web"), pod("web", "web-1", address)]);
    let proxy = Proxy::of(Manifests::with(&objects), &[]);
    for (row, (path, matching, missing)) in table.iter().enumerate() {
        for (asked, status) in matching.iter().map(|path| (path, 200)).chain(missing.iter().map(|path| (path, 404))) {
            assert_eq!(get(proxy.http, &host(row), asked).await.status, status, "{path:?} and {asked}");
        }
    }
}

#[tokio::test]
async fn of_several_paths_of_a_host_the_longest_answers_and_equal_ones_are_one_claim() {
    let paths = ["", "/foo", "/foo/", "/foo/bar", "/foobar"];
    let pods: Vec<_> = (0..paths.len()).map(|number| echo_pod(&format!("w{number}-1"))).collect();
    let mut objects = Vec::new();
    for (number, path) in paths.iter().enumerate() {
        let name = format!("w{number}");
        objects.push(route(&name, "a.example.com", json!({ "path": path })));
        objects.extend([service(&name), pod(&name, &format!("{name}-1"), pods[number].1)]);
    }
    let mut second = to_web(route("web", "a.example.com", json!({ "path": "/" })), "second");
    second["metadata"]["creationTimestamp"] = json!("2026-02-01T00:00:00Z");
    objects.push(second);
    let proxy = Proxy::of(Manifests::with(&objects), &[]);
    for (path, expected) in [
        ("/", "w0-1"),
        ("/fo", "w0-1"),
        ("/foo", "w1-1"),
        ("/foo/", "w2-1"),
        ("/foo/x", "w2-1"),
        ("/foo/bar", "w3-1"),
        ("/foo/bar/x", "w3-1"),
        ("/foo/barx", "w2-1"),
        ("/foobar", "w4-1"),
        ("/foobarx", "w0-1"),
    ] {
        assert_eq!(get(proxy.http, "a.example.com", path).await.pod(), Some(expected), "{path}");
    }
    let told = problems(&proxy, "Route shop/second").await;
    assert!(told.contains("route w0 already exposes a.example.com and is older"), "{told}");
}

#[tokio::test]
async fn a_host_is_compared_without_case_port_and_final_dot_and_a_wildcard_is_one_label() {
    let wildcard = |path: &str| json!({ "wildcardPolicy": "Subdomain", "path": path });
    let hosts = [
        ("exact", "www.example.com", json!({})),
        ("wild", "any.apps.example.com", wildcard("")),
        ("deep", "any.apps.example.com", wildcard("/deep")),
        ("own", "own.apps.example.com", json!({ "path": "/own" })),
        ("long", "any.own.apps.example.com", wildcard("")),
    ];
    let pods: Vec<_> = hosts.iter().map(|(name, ..)| (*name, echo_pod(&format!("{name}-1")))).collect();
    let mut objects: Vec<Value> = hosts.into_iter().map(|(name, host, more)| route(name, host, more)).collect();
    for (name, (_, address)) in &pods {
        objects.extend([service(name), pod(name, &format!("{name}-1"), *address)]);
    }
    let proxy = Proxy::of(Manifests::with(&objects), &["--allow-wildcard-routes"]);
    for (host, path, expected) in [
        ("www.example.com", "/", Some("exact-1")),
        ("WWW.Example.COM", "/", Some("exact-1")),
        ("www.example.com:8080", "/", Some("exact-1")),
        ("www.example.com.", "/", Some("exact-1")),
        ("www.example.com.:443", "/", Some("exact-1")),
        ("www.example.com..", "/", None),
        ("ww.example.com", "/", None),
        ("x.www.example.com", "/", None),
        ("a.apps.example.com", "/", Some("wild-1")),
        ("A.APPS.example.com.:80", "/deep/er", Some("deep-1")),
        ("apps.example.com", "/", None),
        ("a.b.apps.example.com", "/", None),
        (".apps.example.com", "/", None),
        ("own.apps.example.com", "/own", Some("own-1")),
        ("own.apps.example.com", "/deep", Some("deep-1")),
        ("own.apps.example.com", "/", Some("wild-1")),
        ("x.own.apps.example.com", "/", Some("long-1")),
    ] {
        assert_eq!(get(proxy.http, host, path).await.pod(), expected, "{host}{path}");
    }
}

#[tokio::test]
async fn a_target_port_is_the_number_of_the_pod_or_the_name_of_the_service_port() {
    let ((_first, first), (_second, second)) = (echo_pod("first"), echo_pod("second"));
    let mut both = service_with("web", json!({ "targetPort": "one" }));
    both["spec"]["ports"].as_array_mut().unwrap().extend([
        json!({ "name": "admin", "port": 81, "targetPort": second.port() }),
        json!({ "name": "dns", "port": 53, "protocol": "UDP", "targetPort": first.port() }),
    ]);
    let mut both_pods = pod("web", "web-1", first);
    both_pods["spec"]["containers"][0]["ports"] =
        json!([{ "name": "one", "containerPort": first.port() }, { "name": "two", "containerPort": second.port() }]);
    let table: [(Value, &[&str]); 10] = [
        (json!(first.port()), &["first"]),
        (json!(second.port().to_string()), &["second"]),
        (json!("http"), &["first"]),
        (json!("admin"), &["second"]),
        (json!(80), &[]),
        (json!("81"), &[]),
        (json!("one"), &[]),
        (json!("HTTP"), &[]),
        (json!("dns"), &[]),
        (Value::Null, &["first", "second"]),
    ];
    let host = |row: usize| format!("t{row}.example.com");
    let mut objects = vec![both, both_pods];
    for (row, (port, _)) in table.iter().enumerate() {
        let spec = if port.is_null() { json!({}) } else { json!({ "port": { "targetPort": port } }) };
        let more = [("haproxy.router.openshift.io/balance", "roundrobin")];
        objects.push(annotated(to_web(route("web", &host(row), spec), &format!("t{row}")), &more));
    }
    let proxy = Proxy::of(Manifests::with(&objects), &[]);
    for (row, (port, expected)) in table.iter().enumerate() {
        let mut found = std::collections::BTreeSet::new();
        for _ in 0..4 {
            let reply = get(proxy.http, &host(row), "/").await;
            assert_eq!(reply.status, if expected.is_empty() { 503 } else { 200 }, "{port}");
            found.extend(reply.pod().map(ToOwned::to_owned));
        }
        assert_eq!(found.iter().map(String::as_str).collect::<Vec<_>>(), *expected, "{port}");
    }
}

#[tokio::test]
async fn the_paths_of_an_ingress_match_as_the_table_of_the_specification_says() {
    let (_pod, address) = echo_pod("web-1");
    let table = [
        ("Prefix", "/", "/any/path", true),
        ("Exact", "/foo", "/foo", true),
        ("Exact", "/foo", "/bar", false),
        ("Exact", "/foo", "/foo/", false),
        ("Exact", "/foo/", "/foo", false),
        ("Exact", "/foo/", "/foo/", true),
        ("Exact", "/foo", "/FOO", false),
        ("Prefix", "/foo", "/foo", true),
        ("Prefix", "/foo", "/foo/", true),
        ("Prefix", "/foo/", "/foo", true),
        ("Prefix", "/foo/", "/foo/", true),
        ("Prefix", "/foo", "/Foo", false),
        ("Prefix", "/aaa/bb", "/aaa/bbb", false),
        ("Prefix", "/aaa/bbb", "/aaa/bbb", true),
        ("Prefix", "/aaa/bbb/", "/aaa/bbb", true),
        ("Prefix", "/aaa/bbb", "/aaa/bbb/", true),
        ("Prefix", "/aaa/bbb", "/aaa/bbb/ccc", true),
        ("Prefix", "/aaa/bbb", "/aaa/bbbxyz", false),
        ("ImplementationSpecific", "/foo", "/foo/bar", true),
        ("ImplementationSpecific", "/foo", "/foobar", false),
        ("ImplementationSpecific", "", "/any", true),
    ];
    let host = |row: usize| format!("i{row}.example.com");
    let rules = table
        .iter()
        .enumerate()
        .map(|(row, (kind, path, ..))| ingress(&format!("i{row}"), &host(row), &[(*kind, *path, "web")], json!({})));
    let mut objects: Vec<Value> = rules.collect();
    objects.extend([ingress_class(), service("web"), pod("web", "web-1", address)]);
    let proxy = Proxy::of(Manifests::with(&objects), &[]);
    for (row, (kind, path, asked, matches)) in table.into_iter().enumerate() {
        let status = get(proxy.http, &host(row), asked).await.status;
        assert_eq!(status, if matches { 200 } else { 404 }, "{kind} {path} and {asked}");
    }
}

#[tokio::test]
async fn of_several_paths_of_an_ingress_the_longest_answers_exact_first_and_the_default_backend_last() {
    let names = ["root", "aaa", "bbb", "exact", "prefix", "slash", "rest", "any"];
    let pods: Vec<_> = names.iter().map(|name| (*name, echo_pod(&format!("{name}-1")))).collect();
    let backend = |name: &str| json!({ "service": { "name": name, "port": { "number": 80 } } });
    let tree = [("Prefix", "/", "root"), ("Prefix", "/aaa", "aaa"), ("Prefix", "/aaa/bbb", "bbb")];
    let mixed = [("Prefix", "/foo", "prefix"), ("Exact", "/foo", "exact"), ("Prefix", "/foo/bar/", "slash")];
    let mut any = ingress("any", "none", &[("Prefix", "/any", "any")], json!({}));
    any["spec"]["rules"][0].as_object_mut().unwrap().remove("host");
    let mut objects = vec![
        ingress_class(),
        ingress("tree", "tree.example.com", &tree, json!({})),
        ingress("mixed", "mixed.example.com", &mixed, json!({ "defaultBackend": backend("rest") })),
        ingress("bare", "bare.example.com", &[("Prefix", "/only", "root")], json!({})),
        any,
    ];
    for (name, (_, address)) in &pods {
        objects.extend([service(name), pod(name, &format!("{name}-1"), *address)]);
    }
    let proxy = Proxy::of(Manifests::with(&objects), &[]);
    for (host, path, expected) in [
        ("tree.example.com", "/ccc", Some("root-1")),
        ("tree.example.com", "/aaa/ccc", Some("aaa-1")),
        ("tree.example.com", "/aaa/bbb/ccc", Some("bbb-1")),
        ("mixed.example.com", "/foo", Some("exact-1")),
        ("mixed.example.com", "/foo/", Some("prefix-1")),
        ("mixed.example.com", "/foo/bar", Some("slash-1")),
        ("mixed.example.com", "/else", Some("rest-1")),
        ("bare.example.com", "/only/this", Some("root-1")),
        ("bare.example.com", "/else", None),
        ("other.example.com", "/any", Some("any-1")),
        ("192.0.2.7", "/any/x", Some("any-1")),
        ("[2001:db8::7]:8080", "/any", Some("any-1")),
        ("other.example.com", "/else", None),
        ("bare.example.com", "/any", None),
    ] {
        assert_eq!(get(proxy.http, host, path).await.pod(), expected, "{host}{path}");
    }
}
