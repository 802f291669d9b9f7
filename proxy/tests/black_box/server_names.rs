//! Which rule a TLS connection belongs to, and what plain HTTP gets beside it: exact hosts and wildcards of every termination
//! against each other, and rules that shield their paths from the redirects of broader ones.

use super::support::client::get_tls;
use super::support::manifests::{pod, route, service};
use super::support::pods::echo_pod_with;
use super::support::{Manifests, Proxy, echo_pod, get};
use nearside_loadtest::certificates::TestCa;
use serde_json::{Value, json};

const EXACT: &str = "x.apps.example.com";
const OTHER: &str = "y.apps.example.com";

/// A Route to the Service `NAME`, with its own certificate where the proxy ends TLS.
fn terminated(name: &str, termination: &str, ca: &TestCa, wildcard: bool) -> Value {
    let pair = ca.identity(&[EXACT, OTHER]).unwrap();
    let mut tls = json!({ "termination": termination });
    if termination != "passthrough" {
        (tls["certificate"], tls["key"]) = (json!(pair.certificate), json!(pair.key));
    }
    let policy = if wildcard { "Subdomain" } else { "None" };
    route(name, EXACT, json!({ "tls": tls, "wildcardPolicy": policy }))
}

#[tokio::test]
async fn an_exact_host_comes_before_the_wildcard_above_it_whatever_the_terminations_of_both() {
    let (of_exact, of_wild) = (TestCa::new("exact").unwrap(), TestCa::new("wild").unwrap());
    let server = |ca: &TestCa| Some(ca.identity(&[EXACT, OTHER]).unwrap().server().unwrap());
    let ((_p1, exact_tls), (_p2, wild_tls)) =
        (echo_pod_with("exact-1", server(&of_exact)), echo_pod_with("wild-1", server(&of_wild)));
    let ((_p3, exact_plain), (_p4, wild_plain)) = (echo_pod("exact-1"), echo_pod("wild-1"));
    let terminations = ["edge", "reencrypt", "passthrough"];
    for exact in terminations {
        for wild in terminations {
            let address = |termination: &str, plain, tls| if termination == "edge" { plain } else { tls };
            let objects = [
                terminated("exact", exact, &of_exact, false),
                terminated("wild", wild, &of_wild, true),
                service("exact"),
                service("wild"),
                pod("exact", "exact-1", address(exact, exact_plain, exact_tls)),
                pod("wild", "wild-1", address(wild, wild_plain, wild_tls)),
            ];
            let proxy = Proxy::of(Manifests::with(&objects), &["--allow-wildcard-routes"]);
            let reply = get_tls(proxy.https, &of_exact, EXACT, "/").await.unwrap();
            assert_eq!(reply.pod(), Some("exact-1"), "{exact} below {wild}");
            let reply = get_tls(proxy.https, &of_wild, OTHER, "/").await.unwrap();
            assert_eq!(reply.pod(), Some("wild-1"), "{wild} above {exact}");
            assert!(get_tls(proxy.https, &of_wild, EXACT, "/").await.is_err(), "{exact} below {wild}");
        }
    }
}

#[tokio::test]
async fn a_rule_without_redirect_shields_its_paths_from_a_broader_one_also_of_a_wildcard() {
    let (_web, web) = echo_pod("web-1");
    let with = |policy: &str, path: &str, wildcard: &str| {
        json!({
            "path": path, "wildcardPolicy": wildcard,
            "tls": { "termination": "edge", "insecureEdgeTerminationPolicy": policy }
        })
    };
    let plain = |path: &str| json!({ "path": path });
    let rows = [
        ("all", "a.example.com", with("Redirect", "", "None")),
        ("open", "a.example.com", with("Allow", "/open", "None")),
        ("none", "a.example.com", with("None", "/none", "None")),
        ("plain", "a.example.com", plain("/plain")),
        ("again", "a.example.com", with("Redirect", "/open/again", "None")),
        ("wild", "any.apps.example.com", with("Redirect", "", "Subdomain")),
        ("own", "own.apps.example.com", with("None", "/own", "None")),
        ("below", "own.apps.example.com", plain("/plain")),
    ];
    let mut objects: Vec<Value> = rows
        .into_iter()
        .map(|(name, host, more)| {
            let mut object = route("web", host, more);
            (object["metadata"]["name"], object["metadata"]["uid"]) = (json!(name), json!(name));
            object
        })
        .collect();
    objects.extend([service("web"), pod("web", "web-1", web)]);
    let proxy = Proxy::of(Manifests::with(&objects), &["--allow-wildcard-routes"]);
    for (host, path, status) in [
        ("a.example.com", "/", 302),
        ("a.example.com", "/opened", 302),
        ("a.example.com", "/open/x", 200),
        ("a.example.com", "/open/again/x", 302),
        ("a.example.com", "/none", 404),
        ("a.example.com", "/plain", 200),
        ("x.apps.example.com", "/own", 302),
        ("own.apps.example.com", "/own", 404),
        ("own.apps.example.com", "/plain", 200),
        ("own.apps.example.com", "/else", 302),
    ] {
        let reply = get(proxy.http, host, path).await;
        assert_eq!(reply.status, status, "{host}{path}");
        let location = format!("https://{host}{path}");
        assert_eq!(reply.header("location"), (status == 302).then_some(&*location), "{host}{path}");
    }
}
