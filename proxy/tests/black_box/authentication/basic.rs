//! Users and passwords of a Secret: who is let in, what pods learn, how a Secret that changes is followed.

use super::*;
use crate::support::client::{connect_tls, get_tls, raw};
use crate::support::eventually;
use crate::support::manifests::route;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use nearside_loadtest::certificates::TestCa;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const HOST: &str = "web.example.com";

fn objects(address: SocketAddr, annotations: &[(&str, &str)], secret: Value) -> Vec<Value> {
    vec![ingress_class(), guarded("web", HOST, annotations), service("web"), pod("web", "web-1", address), secret]
}

#[tokio::test]
async fn a_user_is_let_in_by_the_password_and_nobody_else_is() {
    let (pod, address) = echo_pod("web-1");
    let users = "# users of the shop\nann:$apr1$abcdefgh$h9FWgUz3n9YxylKLlR5SQ/\n\
                 bob:$2y$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW\r\n\
                 cleo:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n\
                 dan:$5$saltsalt$0IyaXrmV7.sGNS6tirgqHLqX/G.FBvgkYA.lpPdS5sA\n\
                 eve:$6$abc$IdWKNKTJEb8LxY7CGg8YBXlvtfZzFw7Mp/r6niK9YB2mdvgY..TKjv1T..8RadRt2qvUHYRLr/TsVArtr91iR1\n";
    let annotations = [("auth-type", "basic"), ("auth-secret", "shop/users"), ("auth-realm", "The \"shop\"")];
    let proxy = Proxy::of(Manifests::with(&objects(address, &annotations, secret("users", &[("auth", users)]))), &[]);
    for user in ["ann", "bob", "cleo", "dan", "eve"] {
        for _ in 0..2 {
            let reply = ask(&proxy, HOST, Some(&format!("{user}:secret"))).await;
            assert_eq!((reply.status, reply.pod()), (200, Some("web-1")), "{user}");
            let told = format!("Basic {}", STANDARD.encode(format!("{user}:secret")));
            assert_eq!(reply.echo().headers["authorization"], [told], "the pod is told as nginx tells it");
        }
        assert_eq!(ask(&proxy, HOST, Some(&format!("{user}:Secret"))).await.status, 401, "{user}");
    }
    let served = pod.requests();
    for pair in [None, Some("zoe:secret"), Some("ann:"), Some(":"), Some(":secret"), Some("ann"), Some("ann:secret:")] {
        let refused = ask(&proxy, HOST, pair).await;
        assert_eq!((refused.status, refused.pod()), (401, None), "{pair:?}");
        let challenge = refused.header("www-authenticate");
        assert_eq!(challenge, Some("Basic realm=\"The \\\"shop\\\"\", charset=\"UTF-8\""));
    }
    let bearer = Request::get("/").header("host", HOST).header("authorization", "Bearer YW5uOnNlY3JldA==");
    assert_eq!(request(proxy.http, bearer).await.status, 401);
    let twice = with(HOST, "/", Some("ann:secret")).header("authorization", "Basic eDp5");
    assert_eq!(request(proxy.http, twice).await.status, 401);
    assert_eq!(pod.requests(), served, "no pod saw any of these");

    assert_eq!(proxy.metric("nearside_authentications_total", "result=\"passed\"").await, Some(10.0));
    assert_eq!(proxy.metric("nearside_authentications_total", "result=\"refused\"").await, Some(14.0));
    let last = |status: u16| proxy.access_log().into_iter().rfind(|line| line["status"] == status).unwrap();
    eventually("the access log", || async { (proxy.access_log().len() >= 24).then_some(()) }).await;
    assert_eq!((&last(200)["user"], &last(401)["user"]), (&json!("eve"), &Value::Null));
    assert_eq!(last(401)["reason"], "unauthorized");
}

#[tokio::test]
async fn a_map_has_a_user_in_each_entry_and_a_route_may_ask_too() {
    let (_pod, address) = echo_pod("web-1");
    let secret = secret("users", &[("ann", "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ="), ("note", "not a hash")]);
    let names = ["nearside.dev/auth-type", "nearside.dev/auth-secret", "nearside.dev/auth-secret-type"];
    let values = names.into_iter().zip(["basic", "users", "auth-map"]).collect::<Vec<_>>();
    let object = annotated(route("web", HOST, json!({})), &values);
    let proxy = Proxy::of(Manifests::with(&[object, service("web"), pod("web", "web-1", address), secret]), &[]);
    assert_eq!(ask(&proxy, HOST, Some("ann:secret")).await.pod(), Some("web-1"));
    assert_eq!(ask(&proxy, HOST, Some("note:not a hash")).await.status, 401);
    let (_, page) = proxy.page("/routes").await;
    assert!(page.contains("CredentialsNotUsable") && !page.contains("not a hash"), "{page}");
}

#[tokio::test]
async fn a_secret_that_changes_counts_at_once_and_without_it_nobody_is_served() {
    let (_pod, address) = echo_pod("web-1");
    let manifests = Manifests::with(&objects(address, &BASIC, secret("users", &[("auth", ANN)])));
    let proxy = Proxy::start(&manifests, &[]);
    let status = async |pair: &'static str| ask(&proxy, HOST, Some(pair)).await.status;
    assert_eq!(status("ann:secret").await, 200);
    manifests.put(&secret("users", &[("auth", &ANN.replace("ann", "bob"))]));
    eventually("the new user", || async { (status("bob:secret").await == 200).then_some(()) }).await;
    assert_eq!(status("ann:secret").await, 401, "what was remembered of the old one does not count");
    manifests.put(&secret("users", &[("auth", "ann:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=")]));
    eventually("the new password", || async { (status("ann:password").await == 200).then_some(()) }).await;
    assert_eq!(status("ann:secret").await, 401);

    manifests.remove(&secret("users", &[]));
    eventually("nobody is served", || async { (status("ann:password").await == 503).then_some(()) }).await;
    let refused = ask(&proxy, HOST, None).await;
    assert_eq!((refused.status, refused.pod(), refused.header("www-authenticate")), (503, None, None));
    assert!(proxy.page("/routes").await.1.contains("there is no Secret users"));
    manifests.put(&secret("users", &[("auth", ANN)]));
    eventually("it is back", || async { (status("ann:secret").await == 200).then_some(()) }).await;
    assert!(!proxy.page("/routes").await.1.contains("CredentialsNotUsable"));
}

#[tokio::test]
async fn hostile_lines_let_nobody_in_and_cost_nobody_else_anything() {
    let (_pod, address) = echo_pod("web-1");
    let manifests = Manifests::with(&objects(address, &BASIC, secret("users", &[("auth", ANN)])));
    manifests.put(&guarded("other", "other.example.com", &[("auth-type", "basic"), ("auth-secret", "others")]));
    manifests.put(&secret("others", &[("auth", ANN)]));
    let proxy = Proxy::start(&manifests, &[]);
    let long = format!("ann:{{SHA}}{}", "A".repeat(300_000));
    let many = "ann:$2y$31$aaaa\n".repeat(20_000);
    for (number, text) in [
        "ann:secret",
        "ann:{PLAIN}secret",
        "ann:rqXexS6ZhobKA",
        "ann:$2y$31$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW",
        "ann:$6$rounds=999999999$a$IdWKNKTJEb8LxY7CGg8YBXlvtfZzFw7Mp/r6niK9YB2mdvgY..TKjv1T..8RadRt2qvUHYRLr/TsVArtr91iR1",
        "ann:$apr1$$",
        "ann:{SHA}\u{2028}\0\u{1f600}",
        ":::\n::\n:\n\0\n$\n",
        &long,
        &many,
    ]
    .into_iter()
    .enumerate()
    {
        // Another user that can be asked shows that the Secret was taken in.
        let marker = format!("m{number}:{{SHA}}5en6G6MezRroT3XKqkdPOmY/BfQ=");
        manifests.put(&secret("users", &[("auth", &format!("{text}\n{marker}\n"))]));
        let pair = format!("m{number}:secret");
        eventually("it was taken in", || async { (ask(&proxy, HOST, Some(&pair)).await.status == 200).then_some(()) }).await;
        for password in ["secret", "{PLAIN}secret", "", &text[text.len().min(4)..text.len().min(40)]] {
            let refused = ask(&proxy, HOST, Some(&format!("ann:{password}"))).await;
            assert_eq!((refused.status, refused.pod()), (401, None), "{text:.40}");
        }
        assert!(proxy.page("/routes").await.1.contains("CredentialsNotUsable"), "{text:.40}");
    }
    assert_eq!(ask(&proxy, "other.example.com", Some("ann:secret")).await.pod(), Some("web-1"));
    let huge = format!("ann:{}", "x".repeat(16_000));
    assert_eq!(ask(&proxy, HOST, Some(&huge)).await.status, 401, "a password has a length");
}

#[tokio::test]
async fn guesses_at_one_tenants_costly_passwords_hold_up_no_other_tenant() {
    let (_pod, address) = echo_pod("web-1");
    let costly = "ann:$2y$10$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW";
    let mut objects = objects(address, &BASIC, secret("users", &[("auth", costly)]));
    let of_calm = [
        guarded("calm", "calm.example.com", &BASIC),
        secret("users", &[("auth", ANN)]),
        service("web"),
        pod("web", "web-1", address),
    ];
    objects.extend(of_calm.into_iter().map(|mut object| {
        object["metadata"]["namespace"] = json!("calm");
        object
    }));
    let proxy = Arc::new(Proxy::of(Manifests::with(&objects), &[]));
    let ended = Arc::new(AtomicUsize::new(0));
    let guesses: Vec<_> = (0..20)
        .map(|number| {
            let (proxy, ended) = (Arc::clone(&proxy), Arc::clone(&ended));
            tokio::spawn(async move {
                let status = ask(&proxy, HOST, Some(&format!("ann:guess{number}"))).await.status;
                ended.fetch_add(1, Ordering::Relaxed);
                status
            })
        })
        .collect();
    eventually("guesses are verified", || async { (ended.load(Ordering::Relaxed) > 0).then_some(()) }).await;
    assert_eq!(ask(&proxy, "calm.example.com", Some("ann:secret")).await.pod(), Some("web-1"));
    assert!(ended.load(Ordering::Relaxed) < guesses.len(), "it did not wait for all of the others");
    for guess in guesses {
        assert!(matches!(guess.await.unwrap(), 401 | 503));
    }
}

#[tokio::test]
async fn a_password_is_asked_for_over_tls_alone_where_plain_http_is_redirected() {
    let (_pod, address) = echo_pod("web-1");
    let annotations = [("auth-type", "basic"), ("auth-secret", "users"), ("force-ssl-redirect", "true")];
    let ca = TestCa::new("ca").unwrap();
    let identity = ca.identity(&[HOST, "open.example.com"]).unwrap();
    let tls = json!({ "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
                      "metadata": { "namespace": "shop", "name": "tls" },
                      "stringData": { "tls.crt": identity.certificate, "tls.key": identity.key } });
    let mut objects = objects(address, &annotations, secret("users", &[("auth", ANN)]));
    objects[1]["spec"]["tls"] = json!([{ "hosts": [HOST], "secretName": "tls" }]);
    let mut open = guarded("open", "open.example.com", &[]);
    open["spec"]["tls"] = json!([{ "hosts": ["open.example.com"], "secretName": "tls" }]);
    objects.extend([tls, open]);
    let proxy = Proxy::of(Manifests::with(&objects), &[]);
    let redirected = ask(&proxy, HOST, None).await;
    assert_eq!((redirected.status, redirected.header("www-authenticate")), (308, None));
    assert_eq!(redirected.header("location"), Some("https://web.example.com/"));
    assert_eq!(get_tls(proxy.https, &ca, HOST, "/").await.unwrap().status, 401);

    // One HTTP/2 connection for both hosts, as browsers make them: each request is asked for itself.
    let stream = connect_tls(proxy.https, &ca, "open.example.com", &["h2"]).await.unwrap();
    let builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    for (host, pair, expected) in [
        ("open.example.com", None, 200),
        (HOST, None, 401),
        (HOST, Some("ann:secret"), 200),
        (HOST, None, 401),
        (HOST, Some("ann:wrong"), 401),
    ] {
        let mut request = Request::get(format!("https://{host}/"));
        if let Some(pair) = pair {
            request = request.header("authorization", format!("Basic {}", STANDARD.encode(pair)));
        }
        let response = sender.send_request(request.body(Empty::<bytes::Bytes>::new()).unwrap()).await.unwrap();
        assert_eq!(response.status(), expected, "{host} {pair:?}");
        drop(response.into_body().collect().await);
    }
}

#[tokio::test]
async fn an_upgrade_to_websocket_is_asked_for_a_password_as_well() {
    let (_pod, address) = echo_pod("web-1");
    let proxy = Proxy::of(Manifests::with(&objects(address, &BASIC, secret("users", &[("auth", ANN)]))), &[]);
    let upgrade = |more: &str| {
        format!(
            "GET /ws HTTP/1.1\r\nHost: {HOST}\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}\r\n"
        )
    };
    let refused = raw(proxy.http, upgrade("").as_bytes()).await;
    assert!(refused.starts_with("HTTP/1.1 401 "), "{refused}");
    let mut stream = tokio::net::TcpStream::connect(proxy.http).await.unwrap();
    let allowed = upgrade(&format!("Authorization: Basic {}\r\n", STANDARD.encode("ann:secret")));
    tokio::io::AsyncWriteExt::write_all(&mut stream, allowed.as_bytes()).await.unwrap();
    let head = crate::support::client::read_until(&mut stream, "\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
}
