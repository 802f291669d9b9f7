//! `nearside-controller explain`: what it says of requests, on a directory and on a cluster.

use crate::command::{Answered, Files, answer, json};
use crate::objects::{addresses, app_pod, cluster, created, ingress, node, route, service, slice};
use crate::process::Cluster;
use nearside_loadtest::api::{ObjectRef, Options};
use nearside_loadtest::certificates::TestCa;
use nearside_routing::HostPattern;
use nearside_routing::placement::dns_endpoint_name;
use serde_json::{Value, json};

const HOST: &str = "video.example.com";

/// A host of two Routes, one of them over TLS with a certificate for its aliases, a pod on the first node, and a claim that
/// came too late.
fn objects() -> Vec<Value> {
    let authority = TestCa::new("test").unwrap();
    let leaf = authority.identity(&["*.example.com"]).unwrap();
    let mut whole = created(route("shop", "all", HOST, "web"), "2026-01-01T00:00:00Z");
    whole["spec"]["tls"] = json!({
        "termination": "edge", "insecureEdgeTerminationPolicy": "Redirect",
        "certificate": leaf.certificate, "key": leaf.key, "caCertificate": authority.certificate(),
    });
    let mut live = created(route("shop", "live", HOST, "web"), "2026-01-02T00:00:00Z");
    live["spec"]["path"] = "/live".into();
    live["spec"]["tls"] = json!({"termination": "edge"});
    live["metadata"]["annotations"] = json!({"haproxy.router.openshift.io/ip_allowlist": "10.0.0.0/8"});
    let late = created(route("other", "late", HOST, "web"), "2026-01-03T00:00:00Z");
    [cluster(), vec![service("shop", "web"), app_pod("shop", "web", 1, true), whole, live, late]].concat()
}

fn manifests() -> Files {
    let manifests = Files::new();
    manifests.write("all.yaml", &objects());
    manifests
}

fn explain(manifests: &Files, arguments: &[&str]) -> Answered {
    answer(&[&["explain", "--manifests", manifests.path()], arguments].concat(), &[])
}

fn explained(manifests: &Files, arguments: &[&str]) -> (Option<i32>, Value) {
    json(&explain(manifests, &[arguments, &["-o", "json"]].concat()))
}

#[test]
fn the_rule_that_answers_is_named_with_its_pods_nodes_and_certificate() {
    let manifests = manifests();
    let (code, said) = explained(&manifests, &["https://video.example.com/live/1"]);
    assert_eq!((code, &said["verdict"]["served"]), (Some(0), &json!(true)), "{said:#}");
    let rules = said["rules"].as_array().unwrap();
    assert_eq!((&rules[0]["object"], &rules[0]["answers"]), (&json!("Route shop/live"), &json!(true)), "{said:#}");
    assert!(rules[1]["why"].as_str().unwrap().contains("Route shop/live has a more specific path"), "{said:#}");
    let certificate = &said["tls"]["certificate"];
    assert_eq!(certificate["source"], "spec.tls.certificate of Route shop/all", "{said:#}");
    assert_eq!((&certificate["coversHost"], &certificate["coversAliases"]), (&json!(true), &json!(true)), "{said:#}");
    assert_eq!(said["placement"], json!({"basis": "AllServices", "nodes": ["n1"]}), "{said:#}");
    assert_eq!(said["services"][0]["endpoints"][0]["pod"], "web-1", "{said:#}");
    let nodes = said["nodes"].as_array().unwrap();
    assert_eq!(nodes[0]["pods"][0]["pod"], "web-1", "{said:#}");
    for node in &nodes[1..] {
        assert_eq!(node["status"], 307, "{said:#}");
        let location = node["location"].as_str().unwrap();
        assert!(location.starts_with("https://video--") && location.ends_with(".example.com/live/1"), "{location}");
    }
    let policies = said["policies"].to_string();
    assert!(policies.contains("lists of addresses"), "{policies}");
}

#[test]
fn what_came_too_late_is_told_with_its_reason() {
    let (_, said) = explained(&manifests(), &["https://video.example.com/"]);
    let problem = &said["problems"][0];
    assert_eq!(problem["object"], "Route other/late", "{said:#}");
    assert_eq!((&problem["reason"], &problem["rejected"]), (&json!("HostAlreadyClaimed"), &json!(true)), "{said:#}");
}

#[test]
fn plain_http_a_foreign_client_and_an_unknown_host_get_what_the_proxies_give_them() {
    let manifests = manifests();
    let (code, said) = explained(&manifests, &["http://video.example.com/a?b"]);
    assert_eq!(code, Some(0), "{said:#}");
    assert!(said["verdict"]["text"].as_str().unwrap().contains("302"), "{said:#}");
    assert_eq!(said["nodes"][0]["location"], "https://video.example.com/a?b", "{said:#}");
    for (arguments, status) in [
        (&["https://video.example.com/live/", "--client=192.0.2.1"][..], 403),
        (&["http://video.example.com/live/"], 404),
        (&["http://nobody.example.com/"], 404),
        (&["http://video.example.com/%00"], 400),
    ] {
        let (code, said) = explained(&manifests, arguments);
        assert_eq!((code, &said["nodes"][0]["status"]), (Some(1), &json!(status)), "{arguments:?}: {said:#}");
    }
    let (code, said) = explained(&manifests, &["https://video.example.com/live/", "--client=10.1.1.1"]);
    assert_eq!(code, Some(0), "{said:#}");
}

#[test]
fn a_canary_is_chosen_by_the_header_that_the_request_brings() {
    let manifests = Files::new();
    let main = ingress("shop", "main", &[(HOST, "/", "web")]);
    let mut canary = ingress("shop", "canary", &[(HOST, "/", "next")]);
    let annotation = |name: &str| format!("nginx.ingress.kubernetes.io/{name}");
    canary["metadata"]["annotations"] =
        json!({annotation("canary"): "true", annotation("canary-by-header"): "X-Canary"});
    let pods = [app_pod("shop", "web", 1, true), app_pod("shop", "next", 1, true)];
    let services = [service("shop", "web"), service("shop", "next")];
    manifests.write("all.yaml", &[cluster(), services.to_vec(), pods.to_vec(), vec![main, canary]].concat());
    let pod = |arguments: &[&str]| {
        let (code, said) = explained(&manifests, &[&["http://video.example.com/", "--node=n1"], arguments].concat());
        assert_eq!(code, Some(0), "{said:#}");
        said["nodes"][0]["pods"][0]["pod"].as_str().unwrap().to_owned()
    };
    assert_eq!(pod(&[]), "web-1");
    assert_eq!(pod(&["-H", "x-canary: always"]), "next-1");
    assert_eq!(pod(&["-H", "X-Canary: never"]), "web-1");
}

#[test]
fn text_and_yaml_say_the_same_as_json() {
    let manifests = manifests();
    let text = explain(&manifests, &["https://video.example.com/live/1"]);
    for wanted in ["served: ", "* Route shop/live", "HostAlreadyClaimed", "AllServices: n1", "n1: [published]"] {
        assert!(text.out.contains(wanted), "{wanted} not in {}", text.out);
    }
    let yaml = explain(&manifests, &["https://video.example.com/live/1", "-o", "yaml"]);
    let yaml: Value = serde_saphyr::from_str(&yaml.out).unwrap();
    assert_eq!(yaml, explained(&manifests, &["https://video.example.com/live/1"]).1);
}

#[test]
fn flags_that_cannot_be_used_are_told_with_exit_code_2() {
    let said = answer(&["explain", "ftp://video.example.com/"], &[]);
    assert_eq!(said.code, Some(2));
    assert!(said.error.contains("URL: ") && said.error.lines().count() == 1, "{}", said.error);
    assert_eq!(answer(&["explain", "--help"], &[]).code, Some(0));
}

#[tokio::test]
async fn a_cluster_is_read_once_and_nothing_is_written() {
    let cluster = Cluster::new().await;
    cluster.seed(objects());
    cluster.seed([slice("shop", "web", &[1])]);
    let controller = cluster.controller("controller").await;
    controller.until("published", addresses(&[1]), || cluster.published(HOST)).await;
    assert_eq!(controller.terminate().await, Some(0));
    let before = cluster.writes();
    let kubeconfig = cluster.kubeconfig();
    let arguments = ["explain", "https://video.example.com/", "--namespace=nearside", "-o", "json"];
    let said = tokio::task::spawn_blocking(move || answer(&arguments, &[("KUBECONFIG", &kubeconfig)])).await.unwrap();
    let (code, said) = json(&said);
    assert_eq!(code, Some(0), "{said:#}");
    assert_eq!(said["nodes"][0]["pods"][0]["address"], "10.0.1.7:8080", "{said:#}");
    let dns = &said["dns"];
    assert_eq!(
        (&dns["exists"], &dns["generation"], &dns["wanted"]),
        (&json!(true), &json!("1"), &json!([])),
        "{said:#}"
    );
    assert_eq!(said["warnings"], json!([]), "{said:#}");
    assert_eq!(cluster.writes(), before);
}

#[tokio::test]
async fn what_keeps_records_from_being_found_and_nodes_in_them_is_told() {
    let cluster = Cluster::new().await;
    cluster.seed(objects());
    cluster.seed([slice("shop", "web", &[1, 2])]);
    let controller = cluster.controller("controller").await;
    controller.until("published", addresses(&[1, 2]), || cluster.published(HOST)).await;
    // What stands there is not changed any more.
    assert_eq!(controller.terminate().await, Some(0));
    let name = dns_endpoint_name(&HostPattern::parse(HOST).unwrap());
    let endpoint = ObjectRef::new("externaldns.k8s.io/v1alpha1", "DNSEndpoint", "nearside", &name);
    let conflict = json!({"conditions": [{"type": "Applied", "status": "False", "observedGeneration": 1, "reason": "Conflict",
        "message": "the name belongs to external-dns", "lastTransitionTime": "2026-01-01T00:00:00Z"}]});
    cluster.api.patch_status(endpoint, conflict).unwrap();
    let first = ObjectRef::new("v1", "Node", "", "n1");
    cluster.api.patch(first, json!({"metadata": {"annotations": {"nearside.dev/drain": "true"}}})).unwrap();
    cluster.seed([node(2, false), slice("shop", "web", &[1, 3])]);
    let kubeconfig = cluster.kubeconfig();
    let said = tokio::task::spawn_blocking(move || {
        let arguments = ["explain", "https://video.example.com/", "--namespace=nearside"];
        let environment = [("KUBECONFIG", kubeconfig.as_str())];
        (json(&answer(&[&arguments[..], &["-o", "json"]].concat(), &environment)), answer(&arguments, &environment))
    });
    let ((_, said), text) = said.await.unwrap();
    assert_eq!(said["dns"]["trouble"], "Applied: Conflict: the name belongs to external-dns", "{said:#}");
    let kept = |node: usize| said["nodes"][node]["kept"].as_str().unwrap_or_default().to_owned();
    assert!(kept(0).contains("until those that take its place are seen"), "{said:#}");
    assert!(kept(1).contains("not Ready") && said["nodes"][1]["published"] == json!(true), "{said:#}");
    assert_eq!(kept(2), "", "{said:#}");
    for wanted in ["the name belongs to external-dns", "while its router answers probes"] {
        assert!(text.out.contains(wanted), "{wanted} not in {}", text.out);
    }
}

#[tokio::test]
async fn a_cluster_that_cannot_be_reached_is_one_clear_line() {
    let cluster = Cluster::with(Options::default()).await;
    cluster.api.faults().refuse_connections().await;
    let kubeconfig = cluster.kubeconfig();
    let said = tokio::task::spawn_blocking(move || {
        answer(&["explain", "http://a.example.com/", "--timeout=1"], &[("KUBECONFIG", &kubeconfig)])
    });
    let said = said.await.unwrap();
    assert_eq!(said.code, Some(3), "{}", said.error);
    assert!(said.out.is_empty() && said.error.lines().count() == 1, "{}", said.error);
    assert!(said.error.contains("routes") && said.error.contains("cannot be reached"), "{}", said.error);
}
