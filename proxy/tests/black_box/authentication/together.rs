//! Authentication together with other settings: lists of addresses, cross-origin requests, redirects, limits.

use super::*;
use std::net::SocketAddr;

/// Names without prefix, and values.
type Written<'w> = &'w [(&'w str, &'w str)];

fn proxy_of(address: SocketAddr, hosts: &[(&str, Written<'_>)]) -> Proxy {
    let mut objects =
        vec![ingress_class(), service("web"), pod("web", "web-1", address), secret("users", &[("auth", ANN)])];
    for (name, annotations) in hosts {
        let annotations = [&BASIC[..], *annotations].concat();
        objects.push(guarded(name, &format!("{name}.example.com"), &annotations));
    }
    Proxy::of(Manifests::with(&objects), &[])
}

#[tokio::test]
async fn satisfy_says_whether_the_address_the_password_or_both_must_be_known() {
    let (_pod, address) = echo_pod("web-1");
    let here = ("allowlist-source-range", "127.0.0.0/8");
    let elsewhere = ("allowlist-source-range", "192.0.2.0/24");
    let denied = ("denylist-source-range", "127.0.0.0/8");
    let not_denied = ("denylist-source-range", "192.0.2.0/24");
    let (any, all) = (("satisfy", "any"), ("satisfy", "all"));
    // With a password, and without.
    let cases: [(&str, Written<'_>, u16, u16); 9] = [
        ("a", &[here], 200, 401),
        ("b", &[elsewhere], 403, 403),
        ("c", &[here, all], 200, 401),
        ("d", &[here, any], 200, 200),
        ("e", &[elsewhere, any], 200, 401),
        ("f", &[any], 200, 401),
        ("g", &[denied, any], 200, 401),
        ("h", &[not_denied, any], 200, 401),
        ("i", &[here, ("satisfy", "either")], 200, 401),
    ];
    let hosts: Vec<(&str, Written<'_>)> = cases.iter().map(|(name, annotations, ..)| (*name, *annotations)).collect();
    let proxy = proxy_of(address, &hosts);
    for (name, annotations, with, without) in cases {
        let host = format!("{name}.example.com");
        assert_eq!(ask(&proxy, &host, Some("ann:secret")).await.status, with, "{annotations:?}");
        assert_eq!(ask(&proxy, &host, None).await.status, without, "{annotations:?}");
    }
    assert!(proxy.page("/routes").await.1.contains("is not one of all, any"));
}

#[tokio::test]
async fn a_list_of_addresses_is_asked_about_the_client_behind_a_trusted_proxy() {
    let (_pod, address) = echo_pod("web-1");
    let objects = [
        ingress_class(),
        service("web"),
        pod("web", "web-1", address),
        secret("users", &[("auth", ANN)]),
        guarded(
            "web",
            "a.example.com",
            &[&BASIC[..], &[("allowlist-source-range", "127.0.0.0/8"), ("satisfy", "any")]].concat(),
        ),
    ];
    let proxy = Proxy::of(Manifests::with(&objects), &["--trusted-proxies=127.0.0.1"]);
    let behind = |client: &str| with("a.example.com", "/", None).header("x-forwarded-for", client);
    assert_eq!(request(proxy.http, behind("127.0.0.9")).await.status, 200);
    assert_eq!(
        request(proxy.http, behind("192.0.2.1")).await.status,
        401,
        "the proxy's own address lets nobody else in"
    );
}

#[tokio::test]
async fn preflights_and_redirects_are_answered_before_anybody_is_asked() {
    let (_pod, address) = echo_pod("web-1");
    let proxy = proxy_of(
        address,
        &[
            ("cors", &[("enable-cors", "true")]),
            ("plain", &[]),
            ("moved", &[("permanent-redirect", "https://elsewhere.example.com/")]),
            ("rooted", &[("app-root", "/app")]),
        ],
    );
    let preflight = |host: &str| {
        let request = Request::options("/").header("host", host).header("origin", "https://page.example.org");
        request.header("access-control-request-method", "PUT")
    };
    // A browser sends no password with a preflight (Fetch standard); it learns what it may do, and nothing else.
    assert_eq!(request(proxy.http, preflight("cors.example.com")).await.status, 204);
    let refused = ask(&proxy, "cors.example.com", None).await;
    assert_eq!((refused.status, refused.header("access-control-allow-origin")), (401, Some("*")));
    assert_eq!(request(proxy.http, preflight("plain.example.com")).await.status, 401);
    assert_eq!(ask(&proxy, "moved.example.com", None).await.status, 301);
    assert_eq!(ask(&proxy, "rooted.example.com", None).await.status, 302);
    assert_eq!(request(proxy.http, with("rooted.example.com", "/app", None)).await.status, 401);
}

#[tokio::test]
async fn limits_on_requests_count_guesses() {
    let (_pod, address) = echo_pod("web-1");
    let proxy = proxy_of(address, &[("limited", &[("limit-rpm", "2"), ("limit-burst-multiplier", "1")])]);
    let mut statuses = Vec::new();
    for _ in 0..4 {
        statuses.push(ask(&proxy, "limited.example.com", Some("ann:guess")).await.status);
    }
    assert_eq!(statuses.first(), Some(&401));
    assert!(statuses.contains(&429), "{statuses:?}");
}
