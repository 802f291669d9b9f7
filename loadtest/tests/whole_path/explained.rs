//! What `nearside-controller explain` says of each node against what that node does: no word of it may be wrong.

use crate::objects::{annotated, edge, ingress, route, service, with_tls};
use crate::stage::{Source, Stage};
use http::{HeaderName, HeaderValue};
use nearside_loadtest::client::Call;
use nearside_loadtest::lab::cluster::ROUTER_NAMESPACE;
use nearside_loadtest::programs;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::process::Command;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_node_does_what_explain_says_of_it() {
    let stage = Stage::start(Source::Manifests, 2, |stage| {
        stage.put_all(&[service("web"), service("next"), service("empty")]);
        let named = |name: &str| format!("{name}.apps.example.com");
        let wildcard = edge(&stage.ca.identity(&["*.apps.example.com"]).unwrap());
        let own = edge(&stage.ca.identity(&[&named("own")]).unwrap());
        let mut redirecting = wildcard.clone();
        redirecting["insecureEdgeTerminationPolicy"] = "Redirect".into();
        let passthrough = json!({"termination": "passthrough"});
        let mut deep = route("deep", &named("plain"), "web");
        deep["spec"]["path"] = "/deep".into();
        let deep = annotated(deep, "nearside.dev/on-miss", "reject");
        let listed = annotated(route("listed", &named("listed"), "web"), "nearside.dev/ip-allowlist", "192.0.2.1");
        let sent = annotated(
            route("sent", &named("sent"), "web"),
            "nearside.dev/temporal-redirect",
            "https://example.org$request_uri",
        );
        let secret = annotated(route("secret", &named("secret"), "web"), "nearside.dev/auth-secret", "nowhere");
        let secret = annotated(secret, "nearside.dev/auth-type", "basic");
        let canary =
            annotated(ingress("canary", &named("main"), &[("/", "Prefix", "next")]), "nearside.dev/canary", "true");
        stage.put_all(&[
            route("plain", &named("plain"), "web"),
            deep,
            with_tls(route("covered", &named("covered"), "web"), redirecting),
            with_tls(route("own", &named("own"), "web"), own),
            with_tls(route("through", &named("through"), "web"), passthrough),
            route("empty", &named("empty"), "empty"),
            listed,
            sent,
            secret,
            ingress("main", &named("main"), &[("/", "Prefix", "web")]),
            annotated(canary, "nearside.dev/canary-by-header", "x-canary"),
        ]);
        stage.run_pod("web", 1, "n1");
        stage.run_pod("next", 1, "n1");
    })
    .await;
    for host in ["plain", "covered", "own", "main", "empty"] {
        let nodes: &[&str] = if host == "empty" { &["n1", "n2"] } else { &["n1"] };
        stage.until_published(&format!("{host}.apps.example.com"), nodes).await;
    }
    // The proxies read the records when they are written; from then on they redirect.
    stage.until_status("n2", "http://plain.apps.example.com/", 307).await;
    for url in [
        "http://plain.apps.example.com/",
        "http://plain.apps.example.com/deep/x",
        "http://plain.apps.example.com/%2e%2e/deep",
        "https://plain.apps.example.com/",
        "http://covered.apps.example.com/a?b=c",
        "https://covered.apps.example.com/a?b=c",
        "http://own.apps.example.com/",
        "https://own.apps.example.com/",
        "http://through.apps.example.com/",
        "https://through.apps.example.com/",
        "http://empty.apps.example.com/",
        "http://listed.apps.example.com/",
        "http://sent.apps.example.com/a",
        "http://secret.apps.example.com/",
        "http://main.apps.example.com/",
        "http://nobody.apps.example.com/",
        "http://plain.apps.example.com/%00",
    ] {
        agree(&stage, url, &[]).await;
    }
    agree(&stage, "http://main.apps.example.com/", &[("x-canary", "always")]).await;
}

async fn agree(stage: &Stage, url: &str, headers: &[(&'static str, &'static str)]) {
    let said = explain(stage, url, headers);
    for node in said["nodes"].as_array().unwrap() {
        let name = node["node"].as_str().unwrap();
        let mut call = Call::get(url);
        for (field, value) in headers {
            call.headers.insert(HeaderName::from_static(field), HeaderValue::from_static(value));
        }
        let record = stage.ask_with(name, call).await;
        let pods: BTreeSet<&str> =
            node["pods"].as_array().into_iter().flatten().map(|pod| pod["pod"].as_str().unwrap()).collect();
        let status = node["status"].as_u64().map(|status| u16::try_from(status).unwrap());
        let context = format!("{url} on {name}: explained as {node:#}, and it is {record:?}");
        if url.starts_with("https://") && record.status.is_none() {
            // A certificate that the client does not trust, or no connection at all, is nothing that is said of a node's answer.
            let trusted = said["tls"]["certificate"]["coversHost"] == json!(true);
            assert!(!trusted, "{context}");
            continue;
        }
        match pods.is_empty() {
            false => {
                assert_eq!(record.status, Some(200), "{context}");
                assert!(pods.contains(record.pod.as_deref().unwrap_or_default()), "{context}");
            }
            true => assert_eq!(record.status, status, "{context}"),
        }
        if let Some(location) = node["location"].as_str() {
            let real = record.headers.get("location").and_then(|value| value.to_str().ok()).unwrap_or_default();
            // The lab's proxies listen on ports of their own, which a client names and a question need not.
            let bare = |url: &str| url.replace(":8080", "").replace(":8443", "");
            assert_eq!(bare(location), bare(real), "{context}");
        }
    }
}

fn explain(stage: &Stage, url: &str, headers: &[(&str, &str)]) -> Value {
    let objects = stage.objects.manifests().display().to_string();
    let records = stage.objects.manifests().with_file_name("out").join("dnsendpoints").display().to_string();
    let mut command = Command::new(programs::binary("nearside-controller").unwrap());
    command.args([
        "explain",
        url,
        "-o",
        "json",
        "--allow-wildcard-routes",
        &format!("--namespace={ROUTER_NAMESPACE}"),
        "--client=198.18.0.101",
    ]);
    command.args(["--manifests", &objects, "--manifests", &records, "--allow-endpoints=127.0.0.0/8"]);
    for (name, value) in headers {
        command.arg("-H").arg(format!("{name}: {value}"));
    }
    let output = command.output().unwrap();
    let said = serde_json::from_slice(&output.stdout);
    said.unwrap_or_else(|error| panic!("{url}: {error}: {}", String::from_utf8_lossy(&output.stderr)))
}
