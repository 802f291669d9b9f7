//! The grammars of annotations as tables: a value that is understood is followed without a word, any other is told in the
//! words of its owner's object, and the default holds.

use super::support::client::get_tls;
use super::support::manifests::{annotated, pod, route, service};
use super::support::{Manifests, Proxy, Scripted, echo_pod, request};
use http::Request;
use nearside_loadtest::certificates::TestCa;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

const HAPROXY: &str = "haproxy.router.openshift.io/";

fn host(row: usize) -> String {
    format!("g{row}.example.com")
}

fn named(row: usize, mut route: Value) -> Value {
    route["metadata"]["name"] = json!(format!("g{row}"));
    route["metadata"]["uid"] = json!(format!("g{row}"));
    route["spec"]["to"]["name"] = json!("web");
    route
}

#[tokio::test]
async fn each_value_is_understood_or_told_and_no_object_is_refused_for_it() {
    let long = "1".repeat(70_000);
    let table: [(&str, &[&str], &[&str]); 10] = [
        (
            "haproxy.router.openshift.io/disable_cookies",
            &["1", "t", "T", "TRUE", "true", "True", "0", "f", "F", "FALSE", "false", "False"],
            &["yes", "tRUE", " true", "true ", "", "2"],
        ),
        (
            "haproxy.router.openshift.io/timeout",
            &["1", "30s", "500ms", "100us", "5m", "1h", "2d", "2147483648", "99999999999d"],
            &["0", "05s", "1.5s", "1m30s", "-1s", "1S", "s", " 1s", "1s ", "1 s", "", &long],
        ),
        ("haproxy.router.openshift.io/timeout-tunnel", &["10s"], &["0s", "ten"]),
        (
            "haproxy.router.openshift.io/balance",
            &["roundrobin", "leastconn", "source", "random"],
            &["RoundRobin", "first", "", "random(2)", "source\n"],
        ),
        ("haproxy.router.openshift.io/pod-concurrent-connections", &["0", "7"], &["-1", "1.5", "many", ""]),
        ("router.openshift.io/haproxy.health.check.interval", &["5s", "200"], &["0s", "soon"]),
        (
            "haproxy.router.openshift.io/set-forwarded-headers",
            &["append", "replace", "if-none", "never"],
            &["Append", ""],
        ),
        ("router.openshift.io/cookie_name", &["a", "My_cookie-1"], &["a b", "a=b", "a;b", "", "ä"]),
        ("router.openshift.io/cookie-same-site", &["Lax", "Strict", "None"], &["lax", "Lax; Secure", ""]),
        ("haproxy.router.openshift.io/rewrite-target", &["/", "/a/b", "/it's-(v1)"], &["a", "/a\nb", "", "/a#b"]),
    ];
    understood_or_told(&table).await;
}

#[tokio::test]
async fn values_of_ingress_nginx_have_its_units_and_what_has_no_effect_is_told() {
    let nginx = |name: &str| format!("nginx.ingress.kubernetes.io/{name}");
    let table: [(&str, &[&str], &[&str]); 15] = [
        ("proxy-read-timeout", &["60", "1"], &["0", "60s", "1.5", "-1", ""]),
        ("proxy-send-timeout", &["60"], &["60s", "forever"]),
        ("proxy-connect-timeout", &["5"], &["5s", ""]),
        ("proxy-body-size", &["1m", "0", "512k", "1G", "1024"], &["1mb", "-1", "m", "1.5m"]),
        ("proxy-buffering", &["off"], &["on", "maybe"]),
        ("proxy-request-buffering", &["off"], &["on", "maybe"]),
        ("limit-rate", &["10", "0"], &["10k", "-1"]),
        ("limit-connections", &["5"], &["many", "-1"]),
        ("limit-rps", &["5"], &["5/s", ""]),
        ("load-balance", &["round_robin", "ewma"], &["least_conn", ""]),
        ("upstream-hash-by", &["$request_uri", "$remote_addr-$host"], &["$nothing", "fixed", "$"]),
        ("affinity", &["cookie"], &["ip", ""]),
        ("session-cookie-max-age", &["60"], &["1h", "-1"]),
        ("server-snippet", &[], &["deny all;"]),
        ("no-such-annotation", &[], &["x"]),
    ];
    let names: Vec<String> = table.iter().map(|(name, ..)| nginx(name)).collect();
    let table: Vec<_> = names.iter().zip(table).map(|(name, (_, good, bad))| (name.as_str(), good, bad)).collect();
    understood_or_told(&table).await;
}

/// Gives each value to a Route of its own: the first ones are understood, the others told, and every Route is served.
async fn understood_or_told(table: &[(&str, &[&str], &[&str])]) {
    let (_pod, address) = echo_pod("web-1");
    let rows: Vec<(&str, &str, bool)> = table
        .iter()
        .flat_map(|(name, good, bad)| {
            good.iter().map(|value| (*name, *value, true)).chain(bad.iter().map(|value| (*name, *value, false)))
        })
        .collect();
    let objects = rows
        .iter()
        .enumerate()
        .map(|(row, (name, value, _))| annotated(named(row, route("web", &host(row), json!({}))), &[(name, value)]));
    let mut objects: Vec<Value> = objects.collect();
    objects.extend([service("web"), pod("web", "web-1", address)]);
    let proxy = Proxy::of(Manifests::with(&objects), &[]);
    let (_, page) = proxy.page("/routes").await;
    let page: Value = serde_json::from_str(&page).unwrap();
    let mut wrong = Vec::new();
    for (row, (name, value, understood)) in rows.iter().enumerate() {
        let shown: String = value.chars().take(40).collect();
        let told = page["problems"][format!("Route shop/g{row}")].to_string();
        if (told == "null") != *understood || !(told == "null" || told.contains(name)) {
            wrong.push(format!("{name}: {shown:?}: {told}"));
        }
        let reply = request(proxy.http, Request::get("/").header("host", host(row))).await;
        assert_eq!(reply.pod(), Some("web-1"), "{name}: {shown:?}");
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test]
async fn strict_transport_security_is_sent_as_written_where_it_follows_the_grammar() {
    let pod_address = answering().await;
    let ca = TestCa::new("operator").unwrap();
    let identity = ca.identity(&["*.example.com"]).unwrap();
    let files = tempfile::tempdir().unwrap();
    std::fs::write(files.path().join("tls.crt"), &identity.certificate).unwrap();
    std::fs::write(files.path().join("tls.key"), &identity.key).unwrap();
    let flags = [
        format!("--default-cert={}", files.path().join("tls.crt").display()),
        format!("--default-key={}", files.path().join("tls.key").display()),
    ];
    let table = [
        ("max-age=31536000", true),
        ("max-age=0", true),
        ("max-age=\"600\"", true),
        ("max-age = 600 ; includeSubDomains ; preload", true),
        ("preload;includeSubDomains;max-age=600", true),
        ("MAX-AGE=600;INCLUDESUBDOMAINS", true),
        ("", false),
        ("includeSubDomains", false),
        ("max-age", false),
        ("max-age=", false),
        ("max-age=-1", false),
        ("max-age=1.5", false),
        ("max-age=\"600", false),
        ("max-age=600;", false),
        ("max-age=600;max-age=700", false),
        ("max-age=600;report-uri=x", false),
        ("max-age=600, preload", false),
        ("max-age=600\r\nSet-Cookie: a=b", false),
    ];
    let tls = json!({ "tls": { "termination": "edge" } });
    let objects = table.iter().enumerate().map(|(row, (value, _))| {
        annotated(named(row, route("web", &host(row), tls.clone())), &[(&*format!("{HAPROXY}hsts_header"), *value)])
    });
    let mut objects: Vec<Value> = objects.collect();
    objects.extend([service("web"), pod("web", "web-1", pod_address.address)]);
    let proxy = Proxy::of(Manifests::with(&objects), &[&*flags[0], &*flags[1]]);
    for (row, (value, valid)) in table.iter().enumerate() {
        let reply = get_tls(proxy.https, &ca, &host(row), "/").await.unwrap();
        let expected = if *valid { *value } else { "max-age=1" };
        assert_eq!(reply.header("strict-transport-security"), Some(expected), "{value:?}");
        assert_eq!(reply.header("set-cookie").filter(|cookie| cookie.starts_with("a=")), None, "{value:?}");
    }
}

/// A pod that says `Strict-Transport-Security` itself.
async fn answering() -> Scripted {
    Scripted::start(|mut stream| async move {
        super::support::pods::read_header(&mut stream).await;
        let answer =
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nStrict-Transport-Security: max-age=1\r\nConnection: close\r\n\r\n";
        drop(stream.write_all(answer.as_bytes()).await);
    })
    .await
}

#[tokio::test]
async fn header_values_follow_their_language_and_anything_else_is_told_and_left_out() {
    let (_pod, address) = echo_pod("web-1");
    let long = "v".repeat(16_385);
    let table = [
        ("text; with \"quotes\" and \\", Some("text; with \"quotes\" and \\")),
        ("100%%", Some("100%")),
        ("%%[req.hdr(x-two)]", Some("%[req.hdr(x-two)]")),
        ("%[req.hdr(X-Two)]", Some("Second")),
        ("<%[req.hdr(x-two),lower]>", Some("<second>")),
        ("%[req.hdr(x-two),base64]", Some("U2Vjb25k")),
        ("%[req.hdr(x-two),lower,base64]", Some("c2Vjb25k")),
        ("%{+Q}[req.hdr(x-two)]", Some("\"Second\"")),
        ("%{+Q,-Q}[req.hdr(x-two)]", Some("Second")),
        ("%{+Q,+E}[req.hdr(x-odd)]", Some("\"a\\\"b\\]\"")),
        ("%{+X}[req.hdr(x-two)]", Some("Second")),
        ("%[req.hdr(x-list)]", Some("z")),
        ("%[req.hdr(x-none)]", Some("")),
        ("a%[ssl_c_der,base64]b", Some("ab")),
        ("%[req.hdr(x-two)]%[req.hdr(host),lower]", Some("Secondweb.example.com")),
        ("%", None),
        ("50%", None),
        ("%x", None),
        ("%[", None),
        ("%[req.hdr(x-two)", None),
        ("%[req.hdr()]", None),
        ("%[req.hdr(a b)]", None),
        ("%[res.hdr(x-two)]", None),
        ("%[req.hdr(x-two),upper]", None),
        ("%[req.hdr(x-two),]", None),
        ("%[ssl_c_der,hex]", None),
        ("%[src]", None),
        ("%[env(PATH)]", None),
        ("%{}[req.hdr(x-two)]", None),
        ("%{+Z}[req.hdr(x-two)]", None),
        ("%{+Q}req.hdr(x-two)", None),
        ("%ci", None),
        ("a\r\nX-Injected: 1", None),
        ("a\tb", None),
        ("", None),
        (long.as_str(), None),
    ];
    let lists: Vec<Vec<Value>> = table
        .chunks(20)
        .enumerate()
        .map(|(list, rows)| {
            let item = |(row, (value, _)): (usize, &(&str, Option<&str>))| {
                json!({ "name": format!("x-row-{list}-{row}"), "action": { "type": "Set", "set": { "value": value } } })
            };
            rows.iter().enumerate().map(item).collect()
        })
        .collect();
    // A list has at most 20 items, so each list is of a Route of its own.
    let objects = lists.iter().enumerate().map(|(list, items)| {
        let spec = json!({ "httpHeaders": { "actions": { "request": items } }, "path": format!("/{list}") });
        named(list, route("web", "web.example.com", spec))
    });
    let mut objects: Vec<Value> = objects.collect();
    objects.extend([service("web"), pod("web", "web-1", address)]);
    let proxy = Proxy::of(Manifests::with(&objects), &[]);
    let (_, page) = proxy.page("/routes").await;
    let page: Value = serde_json::from_str(&page).unwrap();
    for (list, rows) in table.chunks(20).enumerate() {
        let asked = Request::get(format!("/{list}")).header("host", "web.example.com").header("x-two", "first");
        let asked = asked.header("x-two", "Second").header("x-odd", "a\"b]").header("x-list", "x, y,z");
        let headers = request(proxy.http, asked).await.echo().headers;
        let told = page["problems"][format!("Route shop/g{list}")].to_string();
        for (row, (value, expected)) in rows.iter().enumerate() {
            let shown: String = value.chars().take(40).collect();
            let found = headers.get(&format!("x-row-{list}-{row}")).and_then(|lines| lines.first());
            assert_eq!(found.map(String::as_str), *expected, "{shown:?}");
            let field = format!("spec.httpHeaders.actions.request[{row}]");
            assert_eq!(told.contains(&field), expected.is_none(), "{shown:?}: {told}");
        }
        assert!(!headers.contains_key("x-injected"));
    }
}
