//! Bad objects beside good ones: each costs only itself, and the status, an Event or a log names the object and the field.

use crate::objects::{annotated, edge, ingress, route, secret, service, with_tls};
use crate::stage::{Source, Stage};
use nearside_loadtest::api::ObjectRef;
use serde_json::{Value, json};
use std::fs;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_bad_object_is_named_and_the_good_ones_are_served_from_the_api() {
    let stage = each_bad_object_is_named(Source::Api).await;
    // Whoever looks at the object with kubectl finds the same.
    for (name, reason, field) in REJECTED {
        let message = stage.until_event("Route", name, reason).await;
        assert!(message.contains(field), "{name}: {message}");
    }
    let hostless =
        stage.objects.api().get(ObjectRef::new("route.openshift.io/v1", "Route", "shop", "hostless")).unwrap();
    if hostless["spec"]["host"].is_string() {
        // OpenShift's API gives a Route without host a name of its own, which is outside of our zone.
        let parts = ["hostless-shop.", "spec.endpoints[0].dnsName", "none of the served zones"];
        stage.until_logged("dns-sync", &parts).await;
    } else {
        a_route_without_host_is_named(&stage).await;
    }
    let message = stage.until_event("Route", "annotation", "InvalidAnnotation").await;
    assert!(message.contains("nearside.dev/on-miss") && message.contains("bounce"), "{message}");
    let message = stage.until_event("Ingress", "secret", "CertificateNotUsable").await;
    assert!(message.contains("broken-tls"), "{message}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_bad_object_is_named_and_the_good_ones_are_served_from_manifests() {
    let stage = each_bad_object_is_named(Source::Manifests).await;
    a_route_without_host_is_named(&stage).await;
}

async fn a_route_without_host_is_named(stage: &Stage) {
    stage.until_admitted("shop", "hostless", "False", "NoHostValue").await;
    for program in ["controller", "proxy-n1"] {
        stage.until_logged(program, &["Route shop/hostless", "spec.host", "NoHostValue"]).await;
    }
}

async fn each_bad_object_is_named(source: Source) -> Stage {
    let stage = Stage::start(source, 1, |stage| {
        stage.put_all(&[service("web"), service("empty"), secret("broken-tls", "no certificate", "no key")]);
        stage.run_pod("web", 1, "n1");
        stage.put(&pod_without_address());
        stage.put_all(&[
            route("before", "before.apps.example.com", "web"),
            route("empty", "empty.apps.example.com", "empty"),
        ]);
        let mut broken = edge(&stage.ca.identity(&["certificate.apps.example.com"]).unwrap());
        broken["certificate"] =
            json!("-----BEGIN CERTIFICATE-----\nbm90IGEgY2VydGlmaWNhdGU=\n-----END CERTIFICATE-----\n");
        stage.put(&with_tls(route("certificate", "certificate.apps.example.com", "web"), broken));
        let external = |name: &str| json!({"termination": "edge", "externalCertificate": {"name": name}});
        stage.put(&with_tls(route("missing", "missing.apps.example.com", "web"), external("nowhere")));
        stage.put(&with_tls(route("unusable", "unusable.apps.example.com", "web"), external("broken-tls")));
        let mut hostless = route("hostless", "", "web");
        hostless["spec"].as_object_mut().unwrap().remove("host");
        stage.put(&hostless);
        stage.put(&annotated(
            route("annotation", "annotation.apps.example.com", "web"),
            "nearside.dev/on-miss",
            "bounce",
        ));
        let mut with_secret = ingress("secret", "secret.apps.example.com", &[("/", "Prefix", "web")]);
        with_secret["spec"]["tls"] = json!([{"hosts": ["secret.apps.example.com"], "secretName": "broken-tls"}]);
        stage.put(&with_secret);
        stage.put(&route("zafter", "after.apps.example.com", "web"));
    })
    .await;

    for (name, reason, field) in REJECTED {
        let message = stage.until_admitted("shop", name, "False", reason).await;
        assert!(message.contains(field), "{name}: {message}");
        let object = format!("Route shop/{name}");
        for program in ["controller", "proxy-n1"] {
            stage.until_logged(program, &[&object, field, reason]).await;
        }
        let record = stage.ask("n1", &format!("http://{name}.apps.example.com/")).await;
        assert_eq!(record.status, Some(404), "{name} is served: {record:?}");
    }
    for program in ["controller", "proxy-n1"] {
        stage.until_logged(program, &["Route shop/annotation", "nearside.dev/on-miss", "InvalidAnnotation"]).await;
        stage.until_logged(program, &["Ingress shop/secret", "spec.tls", "CertificateNotUsable"]).await;
    }
    // What is only half bad is served without that half.
    stage.until_logged("proxy-n1", &["Pod shop/web-nowhere", "status.podIP"]).await;
    let default = stage.ask("n1", "https://secret.apps.example.com/").await;
    assert!(default.failure.as_ref().is_some_and(|failure| failure.contains("UnknownIssuer")), "{default:?}");
    for host in ["before", "after", "annotation"] {
        stage.until_published(&format!("{host}.apps.example.com"), &["n1"]).await;
        for _ in 0..4 {
            // A pod without an address is Ready and cannot be asked; nothing may be lost to it.
            let record = stage.fetch(&format!("http://{host}.apps.example.com/")).await;
            assert!(record.status == Some(200) && record.pod.as_deref() == Some("web-1"), "{host}: {record:?}");
        }
    }
    let placed = async || stage.condition("shop", "empty", "nearside.dev/Placed");
    stage.until("a Service without pods is told", placed, |condition| condition["reason"] == "NoReadyPods").await;
    assert_eq!(stage.ask("n1", "http://empty.apps.example.com/").await.status, Some(503));
    stage
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn huge_objects_and_names_cost_only_themselves() {
    let long = format!("{}.apps.example.com", "a.".repeat(150));
    let stage = Stage::start(Source::Manifests, 1, |stage| {
        stage.put_all(&[service("web"), route("good", "good.apps.example.com", "web"), route("long", &long, "web")]);
        let fat = route("fat", "fat.apps.example.com", "web");
        stage.put(&annotated(fat, "example.com/blob", &"x".repeat(1 << 20)));
        stage.put(&ingress("long", &format!("{}.apps.example.com", "b".repeat(300)), &[("/", "Prefix", "web")]));
        stage.run_pod("web", 1, "n1");
    })
    .await;
    for host in ["good", "fat"] {
        stage.until_published(&format!("{host}.apps.example.com"), &["n1"]).await;
        stage.until_served("n1", &format!("http://{host}.apps.example.com/")).await;
    }
    let message = stage.until_admitted("shop", "long", "False", "InvalidHost").await;
    assert!(message.len() < 1000, "{message}");
    stage.until_logged("controller", &["Route shop/long", "spec.host", "InvalidHost"]).await;
    stage.until_logged("controller", &["Ingress shop/long", "host", "InvalidHost"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_object_of_the_api_is_served() {
    let stage = Stage::start(Source::Api, 1, |stage| {
        stage.put_all(&[service("web"), route("good", "good.apps.example.com", "web")]);
        let identity = stage.ca.identity(&["fat.apps.example.com"]).unwrap();
        let mut fat = secret("fat", &identity.certificate, &identity.key);
        fat["metadata"]["annotations"]["example.com/blob"] = json!("x".repeat(200_000));
        fat["data"]["padding"] = json!("QUJD".repeat(200_000));
        stage.put(&fat);
        let tls = json!({"termination": "edge", "externalCertificate": {"name": "fat"}});
        stage.put(&with_tls(route("fat", "fat.apps.example.com", "web"), tls));
        stage.run_pod("web", 1, "n1");
    })
    .await;
    stage.until_served("n1", "https://fat.apps.example.com/").await;
    stage.until_served("n1", "http://good.apps.example.com/").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_cut_keeps_its_last_good_objects_and_is_named_with_the_line() {
    let stage = Stage::start(Source::Manifests, 1, |stage| {
        stage.put_all(&[service("web"), route("good", "good.apps.example.com", "web")]);
        fs::write(stage.objects.manifests().join(FILE), two_routes("first", "second")).unwrap();
        stage.run_pod("web", 1, "n1");
    })
    .await;
    for host in ["first", "second"] {
        stage.until_served("n1", &format!("http://{host}.apps.example.com/")).await;
    }
    let path = stage.objects.manifests().join(FILE);
    let whole = two_routes("third", "fourth");
    // In the middle of the second Route's quoted host.
    let cut = whole.find("fourth.apps").unwrap() + 3;
    fs::write(&path, &whole[..cut]).unwrap();
    let line = whole[..cut].lines().count();
    for program in ["proxy-n1", "controller"] {
        let logged = stage.until_logged(program, &[FILE, "line "]).await;
        let named: usize =
            logged.split("line ").nth(1).unwrap().split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap();
        assert!(named <= line + 1 && named > line / 2, "line {line} is cut: {logged}");
    }
    for host in ["good", "first", "second"] {
        let record = stage.ask("n1", &format!("http://{host}.apps.example.com/")).await;
        assert_eq!(record.status, Some(200), "{record:?}");
    }

    fs::write(&path, whole).unwrap();
    for host in ["third", "fourth", "good"] {
        stage.until_served("n1", &format!("http://{host}.apps.example.com/")).await;
    }
    stage.until_status("n1", "http://first.apps.example.com/", 404).await;
}

/// A Ready pod of the application `web` that has no address.
fn pod_without_address() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"namespace": "shop", "name": "web-nowhere", "labels": {"app": "web"}, "uid": "00000000-0000-4000-8000-00000000ffff"},
        "spec": {"nodeName": "n1", "containers": [{"name": "server", "image": "nearside.invalid/pod:lab"}]},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
    })
}

fn two_routes(one: &str, other: &str) -> String {
    [one, other]
        .map(|name| {
            format!(
                "apiVersion: route.openshift.io/v1
kind: Route
metadata:
  namespace: shop
  name: {name}
spec:
  host: \"{name}.apps.example.com\"
  to:
    kind: Service
    name: web
"
            )
        })
        .join("---\n")
}

/// Routes that are refused: name, reason, and what the message names.
const REJECTED: [(&str, &str, &str); 3] = [
    ("certificate", "ExtendedValidationFailed", "spec.tls.certificate"),
    ("missing", "ExternalCertificateGetFailed", "nowhere"),
    ("unusable", "ExternalCertificateValidationFailed", "broken-tls"),
];
const FILE: &str = "two-routes.yaml";
