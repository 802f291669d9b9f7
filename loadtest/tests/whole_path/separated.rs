//! Proxies without credentials: another process of the node reads the cluster for each. What clients get is the same, whichever of the
//! two dies.

use crate::objects::{annotated, edge, route, secret, service, with_tls};
use crate::sources::{page, until_reads_everything};
use crate::stage::{Source, Stage, ZONE};
use crate::traffic::{HOST, Traffic, arrives, serving_on};
use rustix::process::Signal;
use serde_json::{Value, json};

/// An Ingress whose clients are asked for a password.
fn guarded(host: &str) -> Value {
    let backend = json!({"service": {"name": "web", "port": {"number": 80}}});
    let ingress = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"namespace": "shop", "name": "guarded"},
        "spec": {"ingressClassName": "nearside", "rules": [{"host": host, "http": {"paths": [
            {"path": "/", "pathType": "Prefix", "backend": backend}]}}]},
    });
    let ingress = annotated(ingress, "nginx.ingress.kubernetes.io/auth-type", "basic");
    annotated(ingress, "nginx.ingress.kubernetes.io/auth-secret", "users")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_without_credentials_serves_what_another_process_reads_whichever_of_them_dies() {
    let mut stage = Stage::lay(Source::Api, 2).await;
    stage.separates_credentials = true;
    let mut stage = serving_on(stage).await;
    let traffic = Traffic::start(&stage);
    until_reads_everything(&stage, "proxy-n1").await;
    // A certificate in a Secret, one in a Route, and passwords, which are read one by one.
    let host = |name: &str| format!("{name}.{ZONE}");
    let identity = stage.ca.identity(&["*.apps.example.com"]).unwrap();
    stage.put(&secret("certificate", &identity.certificate, &identity.key));
    stage.put(&with_tls(route("secure", &host("secure"), "web"), edge(&identity)));
    let users = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"namespace": "shop", "name": "users"}, "type": "Opaque",
        // ann:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=
        "data": {"auth": "YW5uOntTSEF9NWVuNkc2TWV6UnJvVDNYS3FrZFBPbVkvQmZRPQ=="},
    });
    stage.put(&users);
    stage.put(&guarded(&host("guarded")));
    stage.until_served("n1", &format!("https://{}/", host("secure"))).await;
    stage.until_status("n1", &format!("http://{}/", host("guarded")), 401).await;
    // The reader dies: the proxy serves on, and says so.
    stage.readers["n1"].signal(Signal::KILL);
    stage.until("that is told", async || page(&stage, "proxy-n1").await, |page| page.contains("FeedUnavailable")).await;
    traffic.next(&stage, 40).await;
    stage.put(&route("meanwhile", &host("meanwhile"), "web"));
    stage.start_reader("n1");
    arrives(&stage, "meanwhile").await;
    until_reads_everything(&stage, "proxy-n1").await;
    traffic.next(&stage, 20).await;
    traffic.stop().await;
    // The proxy dies: the next one gets everything again.
    stage.programs.remove("proxy-n1").unwrap().kill().await;
    stage.start_proxy("n1");
    stage.ready().await;
    stage.until_served("n1", &format!("https://{}/", host("secure"))).await;
    stage.until_status("n1", &format!("http://{}/", host("guarded")), 401).await;
    stage.assert_nothing_crossed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_reads_for_a_proxy_ends_after_it() {
    let mut stage = Stage::lay(Source::Api, 1).await;
    stage.separates_credentials = true;
    stage.put_all(&[service("web"), route("web", HOST, "web")]);
    stage.run_pod("web", 1, "n1");
    stage.start_programs();
    stage.ready().await;
    stage.until_served("n1", &format!("http://{HOST}/")).await;
    let mut reader = stage.readers.remove("n1").unwrap();
    // Both are told to end at once, as by a kubelet; what DNS says is still to be read by the proxy.
    reader.signal(Signal::TERM);
    let proxy = stage.programs.remove("proxy-n1").unwrap();
    assert_eq!(proxy.terminate(crate::stage::PATIENCE).await.unwrap().code(), Some(0));
    assert_eq!(reader.ended(crate::stage::PATIENCE).await.unwrap().code(), Some(0));
}
