//! Authentication that an object asks for and that is not offered.

use super::support::manifests::{annotated, ingress, ingress_class, pod, service};
use super::support::{Manifests, Proxy, echo_pod, get};
use serde_json::json;

#[tokio::test]
async fn an_ingress_that_asks_for_authentication_is_refused_and_never_served_openly() {
    let (_pod, address) = echo_pod("web-1");
    let web = |name: &str, host: &str| ingress(name, host, &[("Prefix", "/", "web")], json!({}));
    let guarded =
        annotated(web("guarded", "guarded.example.com"), &[("nginx.ingress.kubernetes.io/auth-type", "basic")]);
    let objects =
        [ingress_class(), guarded, web("open", "open.example.com"), service("web"), pod("web", "web-1", address)];
    let proxy = Proxy::of(Manifests::with(&objects), &[]);
    let refused = get(proxy.http, "guarded.example.com", "/").await;
    assert_eq!((refused.status, refused.pod()), (503, None));
    assert_eq!(get(proxy.http, "open.example.com", "/").await.pod(), Some("web-1"));
    let (_, page) = proxy.page("/routes").await;
    assert!(page.contains("asks for authentication"), "{page}");
}
