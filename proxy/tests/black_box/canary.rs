//! Canaries: which requests reach the pods of an Ingress that stands beside another, and what is told of those that cannot.

use super::support::client::{Reply, request};
use super::support::manifests::{annotated, ingress, ingress_class, pod, pod_on, service};
use super::support::pods::Refusing;
use super::support::{Manifests, Proxy, echo_pod, eventually, get};
use http::Request;
use serde_json::{Value, json};
use std::net::SocketAddr;

const HOST: &str = "web.example.com";
const NGINX: &str = "nginx.ingress.kubernetes.io/";

/// The main Ingress, to the Service `web`.
fn main_rule(annotations: &[(&str, &str)]) -> Value {
    spelled(NGINX, ingress("web", HOST, &[("Prefix", "/", "web")], json!({})), annotations)
}

/// A canary beside it, to the Service `new`.
fn canary(prefix: &str, annotations: &[(&str, &str)]) -> Value {
    let annotations = [&[("canary", "true")], annotations].concat();
    spelled(prefix, ingress("new", HOST, &[("Prefix", "/", "new")], json!({})), &annotations)
}

fn spelled(prefix: &str, object: Value, annotations: &[(&str, &str)]) -> Value {
    let names: Vec<String> = annotations.iter().map(|(name, _)| format!("{prefix}{name}")).collect();
    let annotations: Vec<_> = names.iter().zip(annotations).map(|(name, (_, value))| (name.as_str(), *value)).collect();
    annotated(object, &annotations)
}

fn manifests(objects: &[Value], web: SocketAddr, new: SocketAddr) -> Manifests {
    let both = [service("web"), service("new"), pod("web", "web-1", web), pod("new", "new-1", new)];
    Manifests::with(&[&[ingress_class()], &both[..], objects].concat())
}

async fn ask(proxy: &Proxy, headers: &[(&str, &str)]) -> Reply {
    let get = Request::get("/").header("host", HOST);
    request(proxy.http, headers.iter().fold(get, |request, (name, value)| request.header(*name, *value))).await
}

#[tokio::test]
async fn a_header_counts_more_than_a_cookie_and_that_more_than_the_weight() {
    let ((_web, web), (_new, new)) = (echo_pod("web-1"), echo_pod("new-1"));
    let (by_header, by_cookie) = (("canary-by-header", "X-Canary"), ("canary-by-cookie", "canary"));
    let (always, never) = (("x-canary", "always"), ("x-canary", "never"));
    let (eu, stored) = (("x-canary", "eu"), ("cookie", "a=b; canary=always"));
    let stored_never = ("cookie", "canary=never");
    let value = ("canary-by-header-value", "eu");
    let pattern = ("canary-by-header-pattern", "^e.$");
    let all = ("canary-weight", "100");
    for (prefix, annotations, sent, expected) in [
        (NGINX, &[by_header, by_cookie][..], &[always, stored_never][..], "new-1"),
        (NGINX, &[by_header, by_cookie, all], &[never, stored], "web-1"),
        (NGINX, &[by_header, by_cookie], &[eu, stored], "new-1"),
        (NGINX, &[by_header, by_cookie, all], &[eu, stored_never], "web-1"),
        (NGINX, &[by_header, by_cookie], &[eu], "web-1"),
        (NGINX, &[by_header, by_cookie, all], &[eu], "new-1"),
        (NGINX, &[by_header, value], &[eu], "new-1"),
        (NGINX, &[by_header, value], &[always], "web-1"),
        (NGINX, &[by_header, value, pattern], &[("x-canary", "es")], "web-1"),
        (NGINX, &[by_header, pattern], &[("x-canary", "es")], "new-1"),
        (NGINX, &[by_header, pattern], &[("x-canary", "east")], "web-1"),
        (NGINX, &[by_header, ("canary-by-header-pattern", "(a")], &[always], "web-1"),
        ("nearside.dev/", &[by_header, by_cookie], &[always], "new-1"),
        ("nearside.dev/", &[all], &[], "new-1"),
    ] {
        let manifests = manifests(&[main_rule(&[]), canary(prefix, annotations)], web, new);
        let proxy = Proxy::start(&manifests, &[]);
        assert_eq!(ask(&proxy, sent).await.pod(), Some(expected), "{annotations:?} {sent:?}");
    }
}

#[tokio::test]
async fn a_canary_gets_exactly_its_share_over_connections_and_changes_of_the_table() {
    let ((_web, web), (_new, new)) = (echo_pod("web-1"), echo_pod("new-1"));
    let manifests = manifests(&[main_rule(&[]), canary(NGINX, &[("canary-weight", "20")])], web, new);
    let proxy = Proxy::start(&manifests, &[]);
    let mut canaries = 0;
    for number in 0..25 {
        if number % 5 == 2 {
            let name = format!("more-{number}");
            manifests.put(&ingress(&name, &format!("{name}.example.com"), &[("Prefix", "/", "web")], json!({})));
            eventually("the table has changed", || async {
                (get(proxy.http, &format!("{name}.example.com"), "/").await.status == 200).then_some(())
            })
            .await;
        }
        canaries += usize::from(ask(&proxy, &[]).await.pod() == Some("new-1"));
    }
    assert_eq!(canaries, 5);
    manifests.put(&canary(NGINX, &[("canary-weight", "1"), ("canary-weight-total", "4")]));
    eventually("a quarter is for the canary", || async {
        let mut pods = Vec::new();
        for _ in 0..8 {
            pods.push(ask(&proxy, &[]).await.pod() == Some("new-1"));
        }
        (pods.iter().filter(|canary| **canary).count() == 2).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_canary_without_pods_here_or_whose_pods_cannot_be_reached_leaves_its_requests_to_the_main_rule() {
    let ((_web, web), (_new, new)) = (echo_pod("web-1"), echo_pod("new-1"));
    let refusing = Refusing::new();
    let rules = [main_rule(&[]), canary(NGINX, &[("canary-by-header", "x-canary"), ("canary-weight", "50")])];
    let manifests = manifests(&rules, web, refusing.address());
    let proxy = Proxy::start(&manifests, &[]);
    for _ in 0..6 {
        assert_eq!(ask(&proxy, &[("x-canary", "always")]).await.pod(), Some("web-1"));
    }
    manifests.put(&pod_on("other-node", "new", "new-1", new));
    for _ in 0..4 {
        assert_eq!(ask(&proxy, &[]).await.pod(), Some("web-1"), "a pod of another node is not asked");
    }
    manifests.put(&pod("new", "new-1", new));
    eventually("the canary answers", || async {
        (ask(&proxy, &[("x-canary", "always")]).await.pod() == Some("new-1")).then_some(())
    })
    .await;
    let metric = "nearside_http_requests_total";
    assert!(proxy.metric(metric, "route=\"new\"").await.is_some_and(|count| count > 0.0), "it is counted as its own");
}

#[tokio::test]
async fn a_client_that_keeps_its_pod_stays_on_its_side_unless_the_canary_says_otherwise() {
    let ((_web, web), (_new, new)) = (echo_pod("web-1"), echo_pod("new-1"));
    let by_header = ("canary-by-header", "x-canary");
    for (behavior, main_stays, canary_stays) in
        [(None, "web-1", "new-1"), (Some("sticky"), "web-1", "new-1"), (Some("legacy"), "new-1", "web-1")]
    {
        let behavior = behavior.map(|behavior| ("affinity-canary-behavior", behavior));
        let annotations: Vec<_> = [by_header].into_iter().chain(behavior).collect();
        let manifests = manifests(&[main_rule(&[("affinity", "cookie")]), canary(NGINX, &annotations)], web, new);
        let proxy = Proxy::start(&manifests, &[]);
        for (word, other, first, then) in
            [("never", "always", "web-1", main_stays), ("always", "never", "new-1", canary_stays)]
        {
            let reply = ask(&proxy, &[("x-canary", word)]).await;
            assert_eq!(reply.pod(), Some(first), "{behavior:?}");
            let cookie = reply.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
            assert!(cookie.starts_with("INGRESSCOOKIE="), "{cookie}");
            let again = ask(&proxy, &[("x-canary", word), ("cookie", &cookie)]).await;
            assert_eq!((again.pod(), again.header("set-cookie")), (Some(first), None), "{behavior:?}");
            let next = ask(&proxy, &[("x-canary", other), ("cookie", &cookie)]).await;
            assert_eq!(next.pod(), Some(then), "{behavior:?} {word}");
            assert!(!next.echo().headers.contains_key("cookie"), "the cookie is the router's, on either side");
        }
    }
}

#[tokio::test]
async fn the_main_rule_says_everything_but_who_answers_and_what_cannot_be_is_told() {
    let ((_web, web), (_new, new)) = (echo_pod("web-1"), echo_pod("new-1"));
    let all = ("canary-weight", "100");
    let main = main_rule(&[("upstream-vhost", "main.example.com"), ("denylist-source-range", "192.0.2.0/24")]);
    let mut second = canary(NGINX, &[all]);
    second["metadata"]["name"] = json!("second");
    second["metadata"]["creationTimestamp"] = json!("2026-03-01T00:00:00Z");
    let mut lonely = canary(NGINX, &[all]);
    lonely["metadata"]["name"] = json!("lonely");
    lonely["spec"]["rules"][0]["host"] = json!("lonely.example.com");
    let beside = canary(NGINX, &[all, ("upstream-vhost", "new.example.com"), ("denylist-source-range", "127.0.0.0/8")]);
    let manifests = manifests(&[main, beside, second, lonely], web, new);
    let proxy = Proxy::start(&manifests, &[]);
    let reply = ask(&proxy, &[]).await;
    assert_eq!((reply.pod(), &reply.echo().headers["host"][..]), (Some("new-1"), &["main.example.com".to_owned()][..]));
    assert_eq!(get(proxy.http, "lonely.example.com", "/").await.status, 404);
    let (_, page) = proxy.page("/routes").await;
    let page: Value = serde_json::from_str(&page).unwrap();
    let told = |name: &str| page["problems"][format!("Ingress shop/{name}")].to_string();
    assert!(told("new").contains("has no effect on a canary") && told("new").contains("upstream-vhost"), "{page}");
    assert!(told("second").contains("ingress new is the canary of this rule already"), "{page}");
    assert!(told("lonely").contains("there is no main rule"), "{page}");
    assert_eq!(told("web"), "null");
    assert_eq!(page["hosts"][HOST]["rules"][0]["canary"]["source"], "Ingress shop/new");
}
