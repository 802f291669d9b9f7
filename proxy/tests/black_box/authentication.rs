//! Authentication that an object asks for by annotation.

mod basic;
mod external;
mod together;

use super::support::client::{Reply, request};
use super::support::manifests::{annotated, ingress, ingress_class, pod, service};
use super::support::{Manifests, Proxy, echo_pod, get};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::Request;
use serde_json::{Value, json};

/// An Ingress for a host with annotations of ingress-nginx, by their names without prefix.
fn guarded(name: &str, host: &str, annotations: &[(&str, &str)]) -> Value {
    let names: Vec<String> =
        annotations.iter().map(|(name, _)| format!("nginx.ingress.kubernetes.io/{name}")).collect();
    let annotations: Vec<(&str, &str)> =
        names.iter().zip(annotations).map(|(name, (_, value))| (name.as_str(), *value)).collect();
    annotated(ingress(name, host, &[("Prefix", "/", "web")], json!({})), &annotations)
}

/// What asks for a user of the Secret `users`.
const BASIC: [(&str, &str); 2] = [("auth-type", "basic"), ("auth-secret", "users")];

/// A Secret of the namespace `shop`.
fn secret(name: &str, entries: &[(&str, &str)]) -> Value {
    let entries: serde_json::Map<String, Value> =
        entries.iter().map(|(name, value)| ((*name).to_owned(), STANDARD.encode(value).into())).collect();
    json!({ "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
            "metadata": { "namespace": "shop", "name": name }, "data": entries })
}

/// A request that gives a user and a password, as `user:password`.
fn with(host: &str, path: &str, pair: Option<&str>) -> http::request::Builder {
    let request = Request::get(path).header("host", host);
    match pair {
        Some(pair) => request.header("authorization", format!("Basic {}", STANDARD.encode(pair))),
        None => request,
    }
}

async fn ask(proxy: &Proxy, host: &str, pair: Option<&str>) -> Reply {
    request(proxy.http, with(host, "/", pair)).await
}

/// Ann, whose password is `secret`.
const ANN: &str = "ann:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=";

#[tokio::test]
async fn an_object_that_asks_for_what_is_not_offered_is_refused_and_never_served_openly() {
    let (_pod, address) = echo_pod("web-1");
    let mut objects =
        vec![ingress_class(), service("web"), pod("web", "web-1", address), secret("users", &[("auth", ANN)])];
    let asking = [
        &[("auth-type", "digest"), ("auth-secret", "users")][..],
        &[("auth-type", "basic")],
        &[("auth-type", "basic"), ("auth-secret", "other/users")],
        &[("auth-type", "basic"), ("auth-secret", "users"), ("auth-snippet", "allow all;")],
        &[("auth-proxy-set-headers", "shop/headers")],
        &[("auth-type", "basic"), ("auth-secret", "users"), ("auth-secret-type", "auth-files")],
    ];
    for (number, annotations) in asking.iter().enumerate() {
        objects.push(guarded(&format!("g{number}"), &format!("g{number}.example.com"), annotations));
    }
    objects.push(guarded("open", "open.example.com", &[]));
    let proxy = Proxy::of(Manifests::with(&objects), &[]);
    for (number, annotations) in asking.iter().enumerate() {
        let refused = ask(&proxy, &format!("g{number}.example.com"), Some("ann:secret")).await;
        assert_eq!((refused.status, refused.pod()), (503, None), "{annotations:?}");
    }
    assert_eq!(get(proxy.http, "open.example.com", "/").await.pod(), Some("web-1"));
    let (_, page) = proxy.page("/routes").await;
    assert_eq!(page.matches("requests are refused with 503").count(), asking.len(), "{page}");
}
