//! A service that decides about requests: what it is told, what clients and pods get of its word, and that without a word of it
//! nobody is let in.

use super::*;
use crate::support::pods::{Refusing, echo_pod_with, read_header};
use crate::support::{Scripted, eventually};
use http_body_util::Full;
use nearside_loadtest::certificates::TestCa;
use nearside_loadtest::pods::PodServer;
use std::sync::{Arc, Mutex};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

const HOST: &str = "web.example.com";

/// A service that answers by what the header of a request holds, and what it was asked.
struct Service {
    server: Scripted,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Service {
    async fn start(answer: impl Fn(&str) -> String + Send + Sync + 'static) -> Self {
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let (log, answer) = (Arc::clone(&asked), Arc::new(answer));
        let server = Scripted::start(move |mut stream| {
            let (log, answer) = (Arc::clone(&log), Arc::clone(&answer));
            async move {
                let header = read_header(&mut stream).await;
                if header.is_empty() {
                    return;
                }
                let text = answer(&header);
                log.lock().unwrap().push(header);
                // Who does not wait for the whole answer is gone.
                drop(stream.write_all(text.as_bytes()).await);
            }
        });
        Self { server: server.await, asked }
    }

    /// Lets in who has the cookie `session=good`.
    async fn by_cookie() -> Self {
        Self::start(|header| {
            let header = header.to_ascii_lowercase();
            match (header.contains("session=good"), header.starts_with("get /forbidden")) {
                (_, true) => answer("403 Forbidden", ""),
                (true, _) => answer("200 OK", "X-User: ann\r\nX-Other: 1\r\nSet-Cookie: fresh=1; Path=/\r\n"),
                _ => answer("401 Unauthorized", "WWW-Authenticate: Bearer realm=\"sso\"\r\nSet-Cookie: csrf=2\r\n"),
            }
        })
        .await
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.server.address)
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn answer(status: &str, fields: &str) -> String {
    format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n{fields}\r\n")
}

fn proxy_of(hosts: &[(&str, &[(&str, &str)])], flags: &[&str]) -> (PodServer, Proxy) {
    let (pod_, address) = echo_pod("web-1");
    let mut objects = vec![ingress_class(), service("web"), pod("web", "web-1", address)];
    objects.push(secret("users", &[("auth", ANN)]));
    for (number, (host, annotations)) in hosts.iter().enumerate() {
        objects.push(guarded(&format!("g{number}"), host, annotations));
    }
    (pod_, Proxy::of(Manifests::with(&objects), flags))
}

fn good(host: &str) -> http::request::Builder {
    Request::get("/").header("host", host).header("cookie", "session=good")
}

#[tokio::test]
async fn the_service_is_told_the_request_and_the_pod_what_the_service_says() {
    let service = Service::by_cookie().await;
    let annotations = [("auth-url", &*service.url("/check?from=$host")), ("auth-response-headers", "X-User, X-None")];
    let (pod, proxy) = proxy_of(&[(HOST, &annotations)], &[]);
    let post = Request::post("/a%2Fb?c=d")
        .header("host", format!("{HOST}:8080"))
        .header("cookie", "session=good")
        .header("x-user", "forged")
        .header("x_user", "forged")
        .header("x-none", "forged")
        .header("x-original-url", "http://forged/")
        .header("x-real-ip", "192.0.2.1")
        .header("x-forwarded-for", "192.0.2.1")
        .header("connection", "x-original-url, x-real-ip, x-user");
    let stream = TcpStream::connect(proxy.http).await.unwrap();
    let reply = crate::support::client::exchange(stream, post.body(Full::from("the body")).unwrap()).await;
    assert_eq!(reply.header("set-cookie"), Some("fresh=1; Path=/"));
    let seen = reply.echo();
    assert_eq!((&*seen.method, &*seen.path), ("POST", "/a%2Fb?c=d"));
    assert_eq!(seen.headers["x-user"], ["ann"]);
    for absent in ["x_user", "x-none", "x-other"] {
        assert!(!seen.headers.contains_key(absent), "{absent}");
    }

    let asked = service.asked().pop().unwrap().to_ascii_lowercase();
    let lines: Vec<&str> = asked.lines().collect();
    assert_eq!(lines[0], "get /check?from=web.example.com http/1.1");
    for line in [
        format!("host: {}", service.server.address),
        "cookie: session=good".into(),
        format!("x-original-url: http://{HOST}:8080/a%2fb?c=d"),
        "x-original-method: post".into(),
        "x-original-uri: /a%2fb?c=d".into(),
        "x-auth-request-redirect: /a%2fb?c=d".into(),
        "x-real-ip: 127.0.0.1".into(),
        "x-forwarded-for: 127.0.0.1".into(),
        "x-forwarded-proto: http".into(),
    ] {
        assert_eq!(lines.iter().filter(|known| **known == line).count(), 1, "{line}: {asked}");
    }
    assert!(!asked.contains("content-length: 8") && !asked.contains("forged/"), "{asked}");

    // Who is not known, and who is not let in.
    let served = pod.requests();
    let unknown = get(proxy.http, HOST, "/").await;
    assert_eq!((unknown.status, unknown.header("www-authenticate")), (401, Some("Bearer realm=\"sso\"")));
    assert_eq!(unknown.header("set-cookie"), Some("csrf=2"));
    assert_eq!(pod.requests(), served);
    assert_eq!(proxy.metric("nearside_authentications_total", "kind=\"external\",result=\"passed\"").await, Some(1.0));
    // The pod's errors carry no cookie of the service, as with nginx.
    let failed = request(proxy.http, good(HOST).uri("/status/404")).await;
    assert_eq!((failed.status, failed.header("set-cookie")), (404, None));
}

#[tokio::test]
async fn clients_are_sent_to_sign_in_or_told_that_they_are_not_let_in() {
    let service = Service::by_cookie().await;
    let (url, forbidden) = (service.url("/"), service.url("/forbidden"));
    let signin = ("auth-signin", "https://login.example.com/start");
    let posting = [("auth-url", &*url), ("auth-method", "POST"), ("auth-request-redirect", "https://$host/home")];
    let (_pod, proxy) = proxy_of(
        &[
            (HOST, &[("auth-url", &url), signin, ("auth-always-set-cookie", "true")]),
            ("closed.example.com", &[("auth-url", &forbidden), signin]),
            ("post.example.com", &posting),
        ],
        &[],
    );
    let request_ = Request::get("/a?b=c&d").header("host", format!("{HOST}:8080"));
    let sent = request(proxy.http, request_).await;
    assert_eq!((sent.status, sent.header("set-cookie")), (302, Some("csrf=2")));
    let place = "https://login.example.com/start?rd=http://web.example.com:8080%2Fa%3Fb%3Dc%26d";
    assert_eq!(sent.header("location"), Some(place));
    let closed = get(proxy.http, "closed.example.com", "/").await;
    assert_eq!((closed.status, closed.header("location"), closed.pod()), (403, None, None));
    let failed = request(proxy.http, good(HOST).uri("/status/404")).await;
    assert_eq!((failed.status, failed.header("set-cookie")), (404, Some("fresh=1; Path=/")), "always");
    assert_eq!(request(proxy.http, good("post.example.com")).await.pod(), Some("web-1"));
    let asked = service.asked().pop().unwrap().to_ascii_lowercase();
    assert!(asked.starts_with("post / http/1.1\r\n") && asked.contains("content-length: 0"), "{asked}");
    assert!(asked.contains("x-auth-request-redirect: https://post.example.com/home"), "{asked}");
}

#[tokio::test]
async fn without_a_word_of_the_service_nobody_is_let_in_and_others_are_served() {
    let odd = Service::start(|header| match header.split(' ').nth(1).unwrap() {
        "/302" => answer("302 Found", "Location: https://login.example.com/\r\n"),
        "/500" => answer("500 Internal Server Error", ""),
        "/404" => answer("404 Not Found", ""),
        "/101" => answer("101 Switching Protocols", ""),
        "/fields" => answer("200 OK", &format!("X-User: {}\r\n", "x".repeat(20_000))),
        "/header" => answer("200 OK", &format!("X-Large: {}\r\n", "x".repeat(2_000_000))),
        "/body" => format!("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n{}", "x".repeat(1_000_000)),
        "/garbage" => "\0\0\0\0".into(),
        "/cut" => "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nx".into(),
        _ => String::new(),
    })
    .await;
    let slow = Scripted::start(|mut stream| async move {
        read_header(&mut stream).await;
        std::future::pending::<()>().await;
    })
    .await;
    let dead = Refusing::new();
    let good_service = Service::by_cookie().await;
    let paths = ["/302", "/500", "/404", "/101", "/fields", "/header", "/body", "/garbage", "/cut", "/nothing"]
        .map(|path| odd.url(path));
    let others = [
        format!("http://{}/", slow.address),
        format!("http://{}/", dead.address()),
        "http://no-such-name.invalid/".into(),
        format!("https://{}/", good_service.server.address),
        "http://$host:99999/".into(),
    ];
    let urls: Vec<&str> = paths.iter().chain(&others).map(|url| &**url).collect();
    let names: Vec<String> = (0..urls.len()).map(|number| format!("g{number}.example.com")).collect();
    let fields = ("auth-response-headers", "X-User");
    let annotations: Vec<[(&str, &str); 2]> = urls.iter().map(|url| [("auth-url", *url), fields]).collect();
    let (url, open) = (good_service.url("/"), "open.example.com");
    let kept = [("auth-url", &*url)];
    let mut hosts: Vec<(&str, &[(&str, &str)])> =
        names.iter().zip(&annotations).map(|(name, annotations)| (name.as_str(), &annotations[..])).collect();
    hosts.extend([(HOST, &kept[..]), (open, &[])]);
    let (_pod, address) = echo_pod("web-1");
    let mut objects = vec![ingress_class(), service("web"), pod("web", "web-1", address)];
    for (number, (host, annotations)) in hosts.iter().enumerate() {
        let mut object = guarded(&format!("g{number}"), host, annotations);
        // Long enough for a machine that is busy, and nothing below waits for more.
        object["metadata"]["annotations"]["nearside.dev/auth-timeout"] = json!("3s");
        objects.push(object);
    }
    let proxy = Proxy::of(Manifests::with(&objects), &[]);
    let asking: Vec<_> = names.iter().map(|name| request(proxy.http, good(name))).collect();
    let refused = futures_of(asking).await;
    for (url, reply) in urls.iter().zip(refused) {
        assert_eq!((reply.status, reply.pod()), (503, None), "{url}");
    }
    assert_eq!(request(proxy.http, good(HOST)).await.pod(), Some("web-1"));
    assert_eq!(get(proxy.http, open, "/").await.pod(), Some("web-1"));
    let unavailable = proxy.metric("nearside_authentications_total", "result=\"unavailable\"").await;
    assert_eq!(unavailable, Some(f64::from(u32::try_from(urls.len()).unwrap())));
}

/// Waits for all at the same time.
async fn futures_of(all: Vec<impl Future<Output = Reply>>) -> Vec<Reply> {
    let mut all: Vec<_> = all.into_iter().map(Box::pin).collect();
    let mut replies: Vec<Option<Reply>> = all.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        for (future, reply) in all.iter_mut().zip(&mut replies) {
            if reply.is_none()
                && let std::task::Poll::Ready(ready) = future.as_mut().poll(context)
            {
                *reply = Some(ready);
            }
        }
        if replies.iter().all(Option::is_some) { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    replies.into_iter().map(Option::unwrap).collect()
}

#[tokio::test]
async fn an_address_that_no_pod_has_is_not_asked() {
    let listener = tokio::net::TcpListener::bind("127.0.0.2:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let (_pod, address) = echo_pod("web-1");
    let objects = [
        ingress_class(),
        service("web"),
        pod("web", "web-1", address),
        guarded("loopback", HOST, &[("auth-url", &url)]),
        guarded("metadata", "metadata.example.com", &[("auth-url", "http://169.254.169.254/latest/meta-data/")]),
    ];
    let manifests = Manifests::with(&objects);
    let proxy = Proxy::start_with(&manifests, &["--allow-endpoints=127.0.0.1/32"]);
    for host in [HOST, "metadata.example.com"] {
        let refused = get(proxy.http, host, "/").await;
        assert_eq!((refused.status, refused.pod()), (503, None), "{host}");
    }
    let nobody = tokio::select! {
        biased;
        _ = listener.accept() => false,
        () = std::future::ready(()) => true,
    };
    assert!(nobody, "it was asked");
}

#[tokio::test]
async fn answers_are_remembered_by_the_key_of_the_object_and_no_longer_than_they_may_be() {
    let service = Service::start(|header| {
        let header = header.to_ascii_lowercase();
        let more = if header.starts_with("get /cookie") { "Set-Cookie: a=b\r\n" } else { "" };
        match header.contains("authorization: good") {
            true => answer("200 OK", &format!("X-User: ann\r\n{more}")),
            false => answer("401 Unauthorized", more),
        }
    })
    .await;
    let (url, cookie) = (service.url("/"), service.url("/cookie"));
    let (key, short) = (("auth-cache-key", "$http_authorization"), ("auth-cache-duration", "200 5m"));
    let user = ("auth-response-headers", "X-User");
    let (_pod, proxy) = proxy_of(
        &[
            ("kept.example.com", &[("auth-url", &url), key, user]),
            ("short.example.com", &[("auth-url", &url), key, short]),
            ("cookie.example.com", &[("auth-url", &cookie), key]),
            ("plain.example.com", &[("auth-url", &url)]),
        ],
        &[],
    );
    let ask = async |host: &str, authorization: &str| {
        let asked = Request::get("/").header("host", host).header("authorization", authorization);
        request(proxy.http, asked).await
    };
    for (host, good, bad) in [
        ("kept.example.com", 1, 1),
        ("short.example.com", 1, 3),
        ("cookie.example.com", 3, 3),
        ("plain.example.com", 3, 3),
    ] {
        for (authorization, status, expected) in [("good", 200, good), ("bad", 401, bad)] {
            let before = service.asked().len();
            for _ in 0..3 {
                let reply = ask(host, authorization).await;
                assert_eq!(reply.status, status, "{host} {authorization}");
                if host.starts_with("kept") && status == 200 {
                    assert_eq!(reply.echo().headers["x-user"], ["ann"], "also where it is remembered");
                }
            }
            assert_eq!(service.asked().len() - before, expected, "{host} {authorization}");
        }
    }
}

#[tokio::test]
async fn the_service_may_stand_behind_the_same_proxy_and_who_guards_it_by_itself_is_stopped() {
    let service_ = Service::by_cookie().await;
    let (_pod, address) = echo_pod("web-1");
    let check = ingress("check", "localhost", &[("Prefix", "/check", "check")], json!({}));
    let objects = [
        ingress_class(),
        service("web"),
        pod("web", "web-1", address),
        service("check"),
        pod("check", "check-1", service_.server.address),
        guarded("web", "localhost", &[("auth-url", "http://$http_host/check")]),
        check,
    ];
    let mut looping = guarded("loop", HOST, &[]);
    let manifests = Manifests::with(&objects);
    let proxy = Proxy::start(&manifests, &[]);
    let port = proxy.http.port();
    let through = async |cookie: &str| {
        let asked = Request::get("/").header("host", format!("localhost:{port}")).header("cookie", cookie);
        request(proxy.http, asked).await
    };
    assert_eq!(through("session=good").await.pod(), Some("web-1"));
    assert_eq!(through("session=bad").await.status, 401);

    looping["metadata"]["annotations"] = json!({
        "nginx.ingress.kubernetes.io/auth-url": format!("http://localhost:{port}/looping"),
    });
    looping["spec"]["rules"][0] = json!({ "host": "localhost", "http": { "paths": [{
        "path": "/looping", "pathType": "Prefix", "backend": { "service": { "name": "web", "port": { "name": "http" } } }
    }] } });
    manifests.put(&looping);
    eventually("it is taken in", || async {
        let asked =
            Request::get("/looping").header("host", format!("localhost:{port}")).header("cookie", "session=good");
        (request(proxy.http, asked).await.status == 503).then_some(())
    })
    .await;
    eventually("the access log", || async {
        let lines = proxy.access_log();
        let looped = lines.iter().filter(|line| line["path"] == "/looping" && line["status"] == 503).count();
        (looped == 2).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_password_and_a_service_are_both_asked_or_either() {
    let service = Service::by_cookie().await;
    let url = service.url("/");
    let both = [&BASIC[..], &[("auth-url", &*url)]].concat();
    let either = [&both[..], &[("satisfy", "any")]].concat();
    let (_pod, proxy) = proxy_of(&[("both.example.com", &both), ("either.example.com", &either)], &[]);
    for (password, cookie, of_both, of_either) in
        [(true, true, 200, 200), (true, false, 401, 200), (false, true, 401, 200), (false, false, 401, 401)]
    {
        for (host, expected) in [("both.example.com", of_both), ("either.example.com", of_either)] {
            let mut asked = with(host, "/", password.then_some("ann:secret"));
            if cookie {
                asked = asked.header("cookie", "session=good");
            }
            assert_eq!(request(proxy.http, asked).await.status, expected, "{host} {password} {cookie}");
        }
    }
}

#[tokio::test]
async fn a_service_over_tls_is_verified() {
    let ca = TestCa::new("services").unwrap();
    let (_service, address) = echo_pod_with("auth-1", Some(ca.identity(&["localhost"]).unwrap().server().unwrap()));
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), ca.certificate()).unwrap();
    let flag = format!("--destination-ca={}", file.path().display());
    let url = format!("https://localhost:{}/", address.port());
    let ask = async |flags: &[&str]| {
        let (_pod, proxy) = proxy_of(&[(HOST, &[("auth-url", &url)])], flags);
        request(proxy.http, good(HOST)).await.status
    };
    assert_eq!(ask(&[]).await, 503, "a CA that nobody knows");
    assert_eq!(ask(&[&flag]).await, 200);
}
