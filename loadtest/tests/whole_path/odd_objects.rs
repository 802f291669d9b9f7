//! Objects that an API server accepts and nobody sane would write: each is served or refused with a reason, and nothing else
//! waits for it. Sizes are what a server lets through.

use crate::objects::{annotated, ingress, route, secret, service, with_tls};
use crate::stage::{Source, Stage};
use serde_json::{Value, json};

/// A Route that is made after all the others is served and published, whatever came before it.
async fn nothing_else_is_delayed(stage: &Stage, name: &str) {
    let host = format!("{name}.apps.example.com");
    stage.put(&route(name, &host, "web"));
    stage.until_served("n1", &format!("http://{host}/")).await;
    stage.until_published(&host, &["n1"]).await;
}

/// A stage with a pod of `web`.
async fn stage(source: Source) -> Stage {
    Stage::start(source, 1, |stage| {
        stage.put_all(&[service("web"), route("before", "before.apps.example.com", "web")]);
        stage.run_pod("web", 1, "n1");
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_paths_rules_and_annotations_are_served() {
    let stage = stage(Source::Api).await;
    let paths: Vec<String> = (0..300).map(|number| format!("/p{number}")).collect();
    let paths: Vec<(&str, &str, &str)> = paths.iter().map(|path| (path.as_str(), "Prefix", "web")).collect();
    stage.put(&ingress("paths", "paths.apps.example.com", &paths));
    let mut many = ingress("rules", "h0.apps.example.com", &[("/", "Prefix", "web")]);
    let rule = many["spec"]["rules"][0].clone();
    let rules = (0..1000).map(|number| {
        let mut rule = rule.clone();
        rule["host"] = format!("h{number}.apps.example.com").into();
        rule
    });
    many["spec"]["rules"] = rules.collect::<Vec<Value>>().into();
    stage.put(&many);
    // What an API server takes: 256 KiB of annotations together.
    let fat = annotated(route("fat", "fat.apps.example.com", "web"), "example.com/blob", &"é\u{202e}x".repeat(40_000));
    stage.put(&fat);
    nothing_else_is_delayed(&stage, "after").await;
    for url in
        ["paths.apps.example.com/p299/x", "h0.apps.example.com/", "h999.apps.example.com/", "fat.apps.example.com/"]
    {
        stage.until_served("n1", &format!("http://{url}")).await;
    }
    for host in ["paths", "h0", "h999", "fat"] {
        stage.until_published(&format!("{host}.apps.example.com"), &["n1"]).await;
    }
    assert_eq!(stage.ask("n1", "http://paths.apps.example.com/p300").await.status, Some(404));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_that_lead_in_circles_end_at_the_first_step() {
    let stage = stage(Source::Api).await;
    let named = |name: &str| format!("{name}.apps.example.com");
    let alias = |name: &str, other: &str| {
        let one = ingress(name, &named(name), &[("/", "Prefix", "web")]);
        annotated(one, "nginx.ingress.kubernetes.io/server-alias", &named(other))
    };
    stage.put_by_age(&alias("left", "right"), &alias("right", "left")).await;
    let circle = route("circle", &named("circle"), "web");
    stage.put(&annotated(circle, "nearside.dev/permanent-redirect", "http://circle.apps.example.com$request_uri"));
    // Backends beside each other that are the same one, without weight and with all of it.
    let mut itself = route("itself", &named("itself"), "web");
    itself["spec"]["to"]["weight"] = 0.into();
    itself["spec"]["alternateBackends"] = json!([{"kind": "Service", "name": "web", "weight": 256}]);
    let mut nobody = route("nobody", &named("nobody"), "web");
    nobody["spec"]["to"]["weight"] = 0.into();
    let long = "r".repeat(253);
    stage.put_all(&[itself, nobody, route(&long, &named("long"), "web")]);
    nothing_else_is_delayed(&stage, "after").await;
    for name in ["left", "right", "itself", "long"] {
        stage.until_served("n1", &format!("http://{}/", named(name))).await;
        stage.until_published(&named(name), &["n1"]).await;
    }
    let redirected = stage.until_status("n1", "http://circle.apps.example.com/a", 301).await;
    assert!(redirected.pod.is_none(), "the proxy answers, once: {redirected:?}");
    stage.until_status("n1", "http://nobody.apps.example.com/", 503).await;
    stage.until_admitted("shop", &long, "True", "").await;
    stage.until_event("Ingress", "right", "HostAlreadyClaimed").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn services_of_every_odd_kind_are_refused_by_nobody_and_answer_503() {
    let stage = stage(Source::Api).await;
    let odd = |name: &str, spec: Value| {
        stage.put(&json!({"apiVersion": "v1", "kind": "Service", "metadata": {"namespace": "shop", "name": name}, "spec": spec}));
        stage.put(&route(name, &format!("{name}.apps.example.com"), name));
    };
    let port = json!([{"name": "main", "port": 80, "targetPort": 8080, "protocol": "TCP"}]);
    odd("headless", json!({"clusterIP": "None", "selector": {"app": "web"}, "ports": port}));
    odd("portless", json!({"clusterIP": "None", "selector": {"app": "web"}}));
    odd("external", json!({"type": "ExternalName", "externalName": "www.example.org", "ports": port}));
    odd("selectorless", json!({"ports": port}));
    odd("datagrams", json!({"selector": {"app": "web"}, "ports": [{"name": "main", "port": 53, "protocol": "UDP"}]}));
    odd(
        "wrongname",
        json!({"selector": {"app": "web"}, "ports": [{"name": "main", "port": 80, "targetPort": "no-such-port"}]}),
    );
    let identity = stage.ca.identity(&["huge.apps.example.com"]).unwrap();
    let mut huge = secret("huge", &identity.certificate, &identity.key);
    // A mebibyte of JSON, nearly.
    huge["data"]["padding"] = "QUJD".repeat(260_000).into();
    stage.put(&huge);
    let tls = json!({"termination": "edge", "externalCertificate": {"name": "huge"}});
    stage.put(&with_tls(route("huge", "huge.apps.example.com", "web"), tls));
    nothing_else_is_delayed(&stage, "after").await;
    stage.until_served("n1", "http://headless.apps.example.com/").await;
    stage.until_served("n1", "https://huge.apps.example.com/").await;
    for name in ["portless", "external", "selectorless", "datagrams", "wrongname"] {
        stage.until_status("n1", &format!("http://{name}.apps.example.com/"), 503).await;
        let placed = async || stage.condition("shop", name, "nearside.dev/Placed");
        stage.until(name, placed, |condition| condition["reason"] == "NoReadyPods").await;
    }
}
