//! How clients keep their pod: the affinity cookie, its name, value and attributes, and what becomes of it.

use super::support::client::{Reply, get_tls};
use super::support::manifests::{annotated, ingress, ingress_class, pod, pod_on, route, service, terminating};
use super::support::pods::{echo_pod_with, read_header};
use super::support::{Manifests, Proxy, Scripted, echo_pod, eventually, get, request};
use http::Request;
use nearside_loadtest::certificates::TestCa;
use serde_json::{Value, json};
use std::net::SocketAddr;
use tokio::io::AsyncWriteExt;

const HOST: &str = "web.example.com";
/// md5 of " shop:web".
const NAME: &str = "4376cfb81fc9447e2fc4f7b5ba62dff0";

fn cookies(reply: &Reply) -> Vec<&str> {
    reply.headers.get_all("set-cookie").iter().map(|field| field.to_str().unwrap()).collect()
}

/// Name, value and attributes of the one cookie that a reply sets.
fn cookie(reply: &Reply) -> (String, String, String) {
    let [cookie] = cookies(reply)[..] else { panic!("one cookie: {:?}", reply.headers) };
    let (pair, attributes) = cookie.split_once("; ").unwrap();
    let (name, value) = pair.split_once('=').unwrap();
    assert!(value.len() == 32 && value.bytes().all(|byte| byte.is_ascii_hexdigit()), "{cookie}");
    (name.to_owned(), value.to_owned(), attributes.to_owned())
}

async fn get_with(proxy: SocketAddr, cookies: &str) -> Reply {
    request(proxy, Request::get("/").header("host", HOST).header("cookie", cookies)).await
}

#[tokio::test]
async fn the_cookie_is_that_of_the_openshift_router_for_each_termination() {
    let ca = TestCa::new("any").unwrap();
    let identity = ca.identity(&[HOST]).unwrap();
    let (_plain, plain) = echo_pod("web-1");
    let (_tls, tls) = echo_pod_with("web-1", Some(ca.identity(&[HOST]).unwrap().server().unwrap()));
    let secure = "path=/; HttpOnly; Secure; SameSite=None";
    for (termination, policy, address, annotations, expected) in [
        ("", "", plain, &[][..], Some((NAME, "path=/; HttpOnly"))),
        ("edge", "Allow", plain, &[], Some((NAME, "path=/; HttpOnly"))),
        ("edge", "Redirect", plain, &[], Some((NAME, secure))),
        ("reencrypt", "None", tls, &[], Some((NAME, secure))),
        ("edge", "None", plain, &[("router.openshift.io/cookie_name", "my_c-1")], Some(("my_c-1", secure))),
        ("edge", "None", plain, &[("router.openshift.io/cookie_name", "a b;")], Some((NAME, secure))),
        (
            "edge",
            "None",
            plain,
            &[("router.openshift.io/cookie-same-site", "Strict")],
            Some((NAME, "path=/; HttpOnly; Secure; SameSite=Strict")),
        ),
        ("edge", "None", plain, &[("router.openshift.io/cookie-same-site", "strict")], Some((NAME, secure))),
        ("edge", "Allow", plain, &[("router.openshift.io/cookie-same-site", "Lax")], Some((NAME, "path=/; HttpOnly"))),
        ("edge", "None", plain, &[("haproxy.router.openshift.io/disable_cookies", "true")], None),
        ("edge", "None", plain, &[("haproxy.router.openshift.io/disable_cookies", "yes")], Some((NAME, secure))),
    ] {
        let spec = match termination {
            "" => json!({}),
            termination => json!({ "tls": {
                "termination": termination, "insecureEdgeTerminationPolicy": policy,
                "certificate": identity.certificate, "key": identity.key
            } }),
        };
        let web = annotated(route("web", HOST, spec), annotations);
        let manifests = Manifests::with(&[web, service("web"), pod("web", "web-1", address)]);
        let proxy = Proxy::start(&manifests, &[]);
        let reply = match termination {
            "" => get(proxy.http, HOST, "/").await,
            _ => get_tls(proxy.https, &ca, HOST, "/").await.unwrap(),
        };
        assert_eq!(reply.status, 200);
        let found = expected.map(|_| cookie(&reply));
        let found = found.as_ref().map(|(name, _, attributes)| (name.as_str(), attributes.as_str()));
        assert_eq!(found, expected, "{termination} {policy} {annotations:?}");
        assert_eq!(cookies(&reply).len(), usize::from(expected.is_some()));
    }
}

#[tokio::test]
async fn a_client_stays_at_its_pod_whatever_the_algorithm_and_the_weights_say() {
    let (_a, a) = echo_pod("a-1");
    let (_b, b) = echo_pod("b-1");
    let alternate = |name: &str, weight: u16| json!({ "kind": "Service", "name": name, "weight": weight });
    let with = |a: u16| json!({ "to": alternate("a", a), "alternateBackends": [alternate("b", 10)] });
    let manifests = Manifests::with(&[
        route("web", HOST, with(10)),
        service("a"),
        service("b"),
        pod("a", "a-1", a),
        pod("b", "b-1", b),
    ]);
    let proxy = Proxy::start(&manifests, &[]);
    let replies = [get(proxy.http, HOST, "/").await, get(proxy.http, HOST, "/").await];
    let at_a = replies.iter().find(|reply| reply.pod() == Some("a-1")).expect("pods take turns");
    let (name, value, _) = cookie(at_a);
    assert_eq!(at_a.header("cache-control"), Some("private"), "no cache gives it to others");
    manifests.put(&route("web", HOST, with(0)));
    eventually("a gets no new clients", || async {
        let (one, two) = (get(proxy.http, HOST, "/").await, get(proxy.http, HOST, "/").await);
        (one.pod() == Some("b-1") && two.pod() == Some("b-1")).then_some(())
    })
    .await;
    for _ in 0..6 {
        let reply = get_with(proxy.http, &format!("first=1; {name}={value}; {name}=old; last=2")).await;
        assert_eq!((reply.pod(), cookies(&reply).len()), (Some("a-1"), 0), "{:?}", reply.headers);
        assert_eq!(reply.header("cache-control"), None);
        assert_eq!(reply.echo().headers["cookie"], ["first=1; last=2"], "the pod sees only what is its own");
    }
    let alone = get_with(proxy.http, &format!("{name}={value}")).await;
    assert!(!alone.echo().headers.contains_key("cookie"));
}

#[tokio::test]
async fn a_client_whose_pod_is_gone_or_elsewhere_gets_another_and_is_told() {
    let (_one, one) = echo_pod("web-1");
    let (_two, two) = echo_pod("web-2");
    let first = pod("web", "web-1", one);
    let manifests = Manifests::with(&[
        route("web", HOST, json!({})),
        service("web"),
        first.clone(),
        pod_on("n2", "web", "web-2", two),
    ]);
    let proxy = Proxy::start(&manifests, &[]);
    let (name, gone, _) = cookie(&get(proxy.http, HOST, "/").await);
    manifests.put(&pod("web", "web-2", two));
    manifests.remove(&first);
    let reply = eventually("the other pod is asked", || async {
        let reply = get_with(proxy.http, &format!("{name}={gone}")).await;
        (reply.pod() == Some("web-2")).then_some(reply)
    })
    .await;
    let (_, elsewhere, _) = cookie(&reply);
    assert_ne!(gone, elsewhere);
    manifests.put(&first);
    manifests.put(&pod_on("n2", "web", "web-2", two));
    let reply = eventually("the pod is on another node now", || async {
        let reply = get_with(proxy.http, &format!("{name}={elsewhere}")).await;
        (reply.pod() == Some("web-1")).then_some(reply)
    })
    .await;
    assert_eq!(cookie(&reply).1, gone, "the same pod has the same value");
    for unknown in ["", "x", &"0".repeat(32), &"f".repeat(5000)] {
        assert_eq!(cookie(&get_with(proxy.http, &format!("{name}={unknown}")).await).1, gone, "{unknown:?}");
    }
}

#[tokio::test]
async fn a_client_whose_pod_cannot_be_reached_gets_another_at_once() {
    let (server, one) = echo_pod("web-1");
    let manifests = Manifests::with(&[route("web", HOST, json!({})), service("web"), pod("web", "web-1", one)]);
    let proxy = Proxy::start(&manifests, &[]);
    let (name, value, _) = cookie(&get(proxy.http, HOST, "/").await);
    let (_two, two) = echo_pod("web-2");
    manifests.put(&pod("web", "web-2", two));
    eventually("there is another pod", || async { proxy.page("/routes").await.1.contains("web-2").then_some(()) })
        .await;
    // The pod ends and the API does not know yet.
    drop(server);
    let reply = get_with(proxy.http, &format!("{name}={value}")).await;
    assert_eq!((reply.status, reply.pod()), (200, Some("web-2")));
    assert_ne!(cookie(&reply).1, value);
}

#[tokio::test]
async fn a_terminating_pod_keeps_its_clients_and_gets_no_new_ones() {
    let (_old, old) = echo_pod("web-1");
    let (_new, new) = echo_pod("web-2");
    let ending = pod("web", "web-1", old);
    let manifests = Manifests::with(&[route("web", HOST, json!({})), service("web"), ending.clone()]);
    let proxy = Proxy::start(&manifests, &[]);
    let (name, value, _) = cookie(&get(proxy.http, HOST, "/").await);
    manifests.put(&pod("web", "web-2", new));
    manifests.put(&terminating(ending));
    eventually("new clients go elsewhere", || async {
        for _ in 0..8 {
            if get(proxy.http, HOST, "/").await.pod() != Some("web-2") {
                return None;
            }
        }
        Some(())
    })
    .await;
    for _ in 0..4 {
        assert_eq!(get_with(proxy.http, &format!("{name}={value}")).await.pod(), Some("web-1"));
    }
}

#[tokio::test]
async fn a_pod_cannot_set_the_cookie_of_the_router_and_its_caching_rules_stay() {
    for (fields, control) in [
        ("Cache-Control: public, max-age=60\r\n", vec!["public, max-age=60", "private"]),
        ("Cache-Control: no-store\r\n", vec!["no-store"]),
    ] {
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n{fields}Set-Cookie: own=1; path=/x\r\n\
             Set-Cookie: {NAME}=forged; path=/\r\n\r\nok"
        );
        let scripted = Scripted::start(move |mut stream| {
            let answer = answer.clone();
            async move {
                read_header(&mut stream).await;
                drop(stream.write_all(answer.as_bytes()).await);
            }
        })
        .await;
        let web = pod("web", "web-1", scripted.address);
        let proxy = Proxy::start(&Manifests::with(&[route("web", HOST, json!({})), service("web"), web]), &[]);
        let reply = get(proxy.http, HOST, "/").await;
        let set = cookies(&reply);
        assert!(set.len() == 2 && set[0] == "own=1; path=/x" && set[1].starts_with(NAME), "{set:?}");
        assert!(!set[1].contains("forged"));
        let found: Vec<_> =
            reply.headers.get_all("cache-control").iter().map(|field| field.to_str().unwrap()).collect();
        assert_eq!(found, control);
    }
}

#[tokio::test]
async fn an_ingress_has_a_cookie_only_where_it_asks_for_one() {
    let (_pod, address) = echo_pod("web-1");
    let paths = [("Prefix", "/", "web")];
    let nginx = |name: &str| format!("nginx.ingress.kubernetes.io/{name}");
    let (affinity, cookie_name) = (nginx("affinity"), nginx("session-cookie-name"));
    let (path, age, same_site) =
        (nginx("session-cookie-path"), nginx("session-cookie-max-age"), nginx("session-cookie-samesite"));
    for (annotations, expected) in [
        (vec![], None),
        (vec![(&*cookie_name, "route")], None),
        (vec![(&*affinity, "cookie")], Some(("INGRESSCOOKIE", "path=/; HttpOnly"))),
        (vec![("nearside.dev/affinity", "cookie")], Some((NAME, "path=/; HttpOnly"))),
        (
            vec![
                (&*affinity, "cookie"),
                (&*cookie_name, "route"),
                (&*path, "/shop"),
                (&*age, "172800"),
                (&*same_site, "Lax"),
            ],
            Some(("route", "path=/shop; HttpOnly; SameSite=Lax; Max-Age=172800")),
        ),
    ] {
        let web: Value = annotated(ingress("web", HOST, &paths, json!({})), &annotations);
        let manifests = Manifests::with(&[web, ingress_class(), service("web"), pod("web", "web-1", address)]);
        let proxy = Proxy::start(&manifests, &[]);
        let reply = get(proxy.http, HOST, "/").await;
        assert_eq!(reply.status, 200);
        let found = expected.map(|_| cookie(&reply));
        let found = found.as_ref().map(|(name, _, attributes)| (name.as_str(), attributes.as_str()));
        assert_eq!((found, cookies(&reply).len()), (expected, usize::from(expected.is_some())), "{annotations:?}");
    }
}

#[tokio::test]
async fn the_operator_can_name_the_cookie_of_all_routes() {
    let (_pod, address) = echo_pod("web-1");
    let manifests = Manifests::with(&[route("web", HOST, json!({})), service("web"), pod("web", "web-1", address)]);
    let proxy = Proxy::start(&manifests, &["--cookie-name=sticky"]);
    assert_eq!(cookie(&get(proxy.http, HOST, "/").await).0, "sticky");
}
