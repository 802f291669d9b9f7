//! The matching rules of Routes and Ingresses over the wire, each with its near misses.

use crate::objects::{ingress, route, service};
use crate::stage::{Source, Stage};
use nearside_loadtest::client::Call;
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn routes_match_whole_path_segments_and_one_label_of_a_wildcard_from_the_api() {
    routes_match(Source::Api).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn routes_match_whole_path_segments_and_one_label_of_a_wildcard_from_manifests() {
    routes_match(Source::Manifests).await;
}

async fn routes_match(source: Source) {
    let stage = stage(source, &["root", "api", "deep", "wild"], || {
        let with_path = |name: &str, host: &str, path: &str| {
            let mut route = route(name, host, name);
            route["spec"]["path"] = json!(path);
            route
        };
        let mut wildcard = route("wild", "any.wild.apps.example.com", "wild");
        wildcard["spec"]["wildcardPolicy"] = json!("Subdomain");
        vec![
            route("root", "paths.apps.example.com", "root"),
            with_path("api", "paths.apps.example.com", "/api"),
            with_path("deep", "deep.apps.example.com", "/a/b/"),
            wildcard,
        ]
    })
    .await;
    check(
        &stage,
        &[
            ("paths.apps.example.com/api", "api"),
            ("paths.apps.example.com/api/", "api"),
            ("paths.apps.example.com/api/x?q=/", "api"),
            ("paths.apps.example.com/apix", "root"),
            ("paths.apps.example.com/ap", "root"),
            ("paths.apps.example.com/API", "root"),
            ("PATHS.apps.example.com/api", "api"),
            ("deep.apps.example.com/a/b/", "deep"),
            ("deep.apps.example.com/a/b/c", "deep"),
            ("deep.apps.example.com/a/b", ""),
            ("deep.apps.example.com/a/bc", ""),
            ("deep.apps.example.com/", ""),
            ("one.wild.apps.example.com/", "wild"),
            ("any.wild.apps.example.com/", "wild"),
            ("two.one.wild.apps.example.com/", ""),
            ("wild.apps.example.com/", ""),
            ("paths.apps.example.com.evil.example/", ""),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ingresses_match_exact_prefix_wildcard_and_default_from_the_api() {
    ingresses_match(Source::Api).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ingresses_match_exact_prefix_wildcard_and_default_from_manifests() {
    ingresses_match(Source::Manifests).await;
}

async fn ingresses_match(source: Source) {
    let stage = stage(source, &["exact", "prefix", "wild", "rest"], || {
        let paths = [("/e", "Exact", "exact"), ("/p", "Prefix", "prefix"), ("/p/long", "Prefix", "exact")];
        let mut default = ingress("default", "", &[]);
        default["spec"] = json!({
            "ingressClassName": "nearside",
            "defaultBackend": {"service": {"name": "rest", "port": {"number": 80}}},
        });
        vec![
            ingress("shop", "shop.apps.example.com", &paths),
            ingress("wild", "*.wild.apps.example.com", &[("/", "Prefix", "wild")]),
            default,
        ]
    })
    .await;
    check(
        &stage,
        &[
            ("shop.apps.example.com/e", "exact"),
            ("shop.apps.example.com/e?x", "exact"),
            ("shop.apps.example.com/p", "prefix"),
            ("shop.apps.example.com/p/", "prefix"),
            ("shop.apps.example.com/p/x", "prefix"),
            ("shop.apps.example.com/p/long/x", "exact"),
            ("shop.apps.example.com/p/longer", "prefix"),
            ("one.wild.apps.example.com/x", "wild"),
            // The default backend takes every host that no rule names.
            ("two.one.wild.apps.example.com/", "rest"),
            ("wild.apps.example.com/", "rest"),
            ("unknown.apps.example.com/", "rest"),
        ],
    )
    .await;
    for near_miss in ["/e/", "/e/x", "/E", "/px", "/"] {
        let record = stage.ask("n1", &format!("http://shop.apps.example.com{near_miss}")).await;
        let pod = record.pod.as_deref().unwrap_or("");
        assert!(!pod.starts_with("exact") && !pod.starts_with("prefix"), "{near_miss}: {record:?}");
    }
}

/// A stage of one node with a Service and a pod for each of `apps`.
async fn stage(source: Source, apps: &[&str], objects: impl FnOnce() -> Vec<Value>) -> Stage {
    Stage::start(source, 1, |stage| {
        for app in apps {
            stage.put(&service(app));
            stage.run_pod(app, 1, "n1");
        }
        stage.put_all(&objects());
    })
    .await
}

/// Each URL is answered by a pod of the app, or with 404 where none is named.
async fn check(stage: &Stage, expected: &[(&str, &str)]) {
    for (url, app) in expected {
        let record = stage.ask_with("n1", Call::get(&format!("http://{url}"))).await;
        if app.is_empty() {
            assert_eq!((record.status, &record.pod), (Some(404), &None), "{url}: {record:?}");
        } else {
            assert_eq!(record.pod, Some(format!("{app}-1")), "{url}: {record:?}");
            assert!(record.status == Some(200) && record.by_own_node(), "{url}: {record:?}");
        }
    }
}
