//! Which pods are passed over because they fail, and how those that come back are eased in.

use super::support::client::get_tls;
use super::support::manifests::{annotated, pod, route, service};
use super::support::pods::{Refusing, echo_pod_with, read_header};
use super::support::{Manifests, Proxy, Scripted, echo_pod, eventually, get};
use nearside_loadtest::certificates::TestCa;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tokio::io::AsyncWriteExt;

const HOST: &str = "web.example.com";

/// A pod that closes its first connections without an answer, each after it has read a request.
async fn cutting(count: usize) -> Scripted {
    let connections = Arc::new(AtomicUsize::new(0));
    Scripted::start(move |mut stream| {
        let number = connections.fetch_add(1, Ordering::Relaxed);
        async move {
            read_header(&mut stream).await;
            if number >= count {
                drop(stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok").await);
            }
        }
    })
    .await
}

/// A pod that serves whatever its health, which `/healthz` tells.
struct Checked {
    pod: Scripted,
    healthy: Arc<AtomicBool>,
    /// Requests for anything else.
    served: Arc<AtomicUsize>,
}

impl Checked {
    async fn start(healthy: bool) -> Self {
        let (healthy, served) = (Arc::new(AtomicBool::new(healthy)), Arc::<AtomicUsize>::default());
        let shared = (Arc::clone(&healthy), Arc::clone(&served));
        let pod = Scripted::start(move |mut stream| {
            let (healthy, served) = shared.clone();
            async move {
                let asked = read_header(&mut stream).await;
                let checked = asked.starts_with("GET /healthz ");
                if !checked {
                    served.fetch_add(1, Ordering::Relaxed);
                }
                let status = if checked && !healthy.load(Ordering::Relaxed) { "503 Sick" } else { "200 OK" };
                let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
                drop(stream.write_all(answer.as_bytes()).await);
            }
        })
        .await;
        Self { pod, healthy, served }
    }

    fn served(&self) -> usize {
        self.served.load(Ordering::Relaxed)
    }
}

const OFTEN: (&str, &str) = ("router.openshift.io/haproxy.health.check.interval", "100ms");
const HTTP: (&str, &str) = ("nearside.dev/health-check-path", "/healthz");

/// Waits until a pod is up or down by its checks.
async fn is_up(proxy: &Proxy, pod: &str, up: bool) {
    let label = format!("pod=\"{pod}\"");
    eventually(&format!("{pod} is up: {up}"), || async {
        (proxy.metric("nearside_endpoint_up", &label).await == Some(f64::from(u8::from(up)))).then_some(())
    })
    .await;
}

fn web(annotations: &[(&str, &str)], pods: Vec<Value>) -> Vec<Value> {
    let mut objects = pods;
    objects.extend([annotated(route("web", HOST, json!({})), annotations), service("web")]);
    objects
}

async fn statuses(proxy: &Proxy, count: usize) -> Vec<u16> {
    let mut statuses = Vec::new();
    for _ in 0..count {
        statuses.push(get(proxy.http, HOST, "/").await.status);
    }
    statuses
}

#[tokio::test]
async fn a_pod_that_cannot_be_reached_is_passed_over_after_three_attempts() {
    let (_pod, address) = echo_pod("web-1");
    let gone = Refusing::new();
    let manifests = Manifests::with(&[
        route("web", HOST, json!({})),
        service("web"),
        pod("web", "web-1", address),
        pod("web", "web-2", gone.address()),
    ]);
    let proxy = Proxy::start(&manifests, &["--balance=roundrobin"]);
    assert_eq!(statuses(&proxy, 30).await, [200; 30], "each was retried at the other pod");
    assert_eq!(proxy.metric("nearside_upstream_connect_failures_total", "").await, Some(3.0));
    assert_eq!(proxy.metric("nearside_endpoint_ejections_total", "").await, Some(1.0));
}

#[tokio::test]
async fn a_pod_that_cuts_requests_off_is_passed_over_after_three_of_them() {
    let (_pod, address) = echo_pod("web-1");
    let cutting = cutting(usize::MAX).await;
    let manifests = Manifests::with(&[
        route("web", HOST, json!({})),
        service("web"),
        pod("web", "web-1", address),
        pod("web", "web-2", cutting.address),
    ]);
    let proxy = Proxy::start(&manifests, &["--balance=roundrobin"]);
    let statuses = statuses(&proxy, 30).await;
    assert_eq!(statuses.iter().filter(|status| **status == 502).count(), 3, "{statuses:?}");
    assert_eq!(statuses[10..], [200; 20]);
}

#[tokio::test]
async fn the_last_pod_of_a_service_is_asked_whatever_it_does() {
    let cutting = cutting(5).await;
    let manifests =
        Manifests::with(&[route("web", HOST, json!({})), service("web"), pod("web", "web-1", cutting.address)]);
    let proxy = Proxy::start(&manifests, &[]);
    assert_eq!(statuses(&proxy, 7).await, [502, 502, 502, 502, 502, 200, 200]);
}

#[tokio::test]
async fn a_pod_that_has_just_come_gets_a_small_share_where_the_route_asks_for_it() {
    for (annotations, expected) in [(&[][..], 32..=32), (&[("nearside.dev/slow-start", "1h")], 1..=4)] {
        let (_one, one) = echo_pod("web-1");
        let (new, two) = echo_pod("web-2");
        let web = annotated(route("web", HOST, json!({})), annotations);
        let manifests = Manifests::with(&[web, service("web"), pod("web", "web-1", one)]);
        let proxy = Proxy::start(&manifests, &["--balance=roundrobin"]);
        manifests.put(&pod("web", "web-2", two));
        eventually("the new pod is there", || async { proxy.page("/routes").await.1.contains("web-2").then_some(()) })
            .await;
        statuses(&proxy, 64).await;
        assert!(expected.contains(&new.requests()), "{annotations:?}: {}", new.requests());
    }
}

#[tokio::test]
async fn a_pod_that_fails_its_checks_gets_no_requests_until_it_passes_them_again() {
    let (well, sick) = (Checked::start(true).await, Checked::start(false).await);
    let pods = vec![pod("web", "web-1", well.pod.address), pod("web", "web-2", sick.pod.address)];
    let manifests = Manifests::with(&web(&[OFTEN, HTTP], pods));
    let proxy = Proxy::start(&manifests, &["--balance=roundrobin"]);
    is_up(&proxy, "web-2", false).await;
    let before = sick.served();
    assert_eq!(statuses(&proxy, 10).await, [200; 10]);
    let other = route("other", "other.example.com", json!({ "to": { "kind": "Service", "name": "web" } }));
    // With a check of the same kind it shares the results.
    manifests.put(&annotated(other, &[OFTEN, HTTP]));
    eventually("the table changes", || async {
        (get(proxy.http, "other.example.com", "/").await.status == 200).then_some(())
    })
    .await;
    assert_eq!(statuses(&proxy, 10).await, [200; 10]);
    assert_eq!(sick.served(), before, "what checks have found outlives a change of the table");
    sick.healthy.store(true, Ordering::Relaxed);
    is_up(&proxy, "web-2", true).await;
    let before = sick.served();
    statuses(&proxy, 10).await;
    assert_eq!(sick.served() - before, 5, "by turns again");
    assert!(proxy.metric("nearside_endpoint_checks_total", "check=\"http\",result=\"failed\"").await.unwrap() >= 3.0);
}

#[tokio::test]
async fn a_connection_is_enough_unless_the_route_says_more() {
    let (_well, well) = echo_pod("web-1");
    let gone = Refusing::new();
    let pods = vec![pod("web", "web-1", well), pod("web", "web-2", gone.address())];
    let proxy = Proxy::start(&Manifests::with(&web(&[], pods)), &["--check-interval=100ms", "--balance=roundrobin"]);
    is_up(&proxy, "web-2", false).await;
    is_up(&proxy, "web-1", true).await;
    assert_eq!(statuses(&proxy, 10).await, [200; 10]);
    assert_eq!(proxy.metric("nearside_upstream_connect_failures_total", "").await, Some(0.0), "it is never tried");
    assert_eq!(proxy.metric("nearside_endpoint_up", "check=\"tcp\"").await, Some(1.0));
}

#[tokio::test]
async fn with_reencryption_the_handshake_is_checked() {
    let (ca, other) = (TestCa::new("pods").unwrap(), TestCa::new("others").unwrap());
    let (_well, well) = echo_pod_with("web-1", Some(ca.identity(&["any.invalid"]).unwrap().server().unwrap()));
    let (_wrong, wrong) = echo_pod_with("web-2", Some(other.identity(&["any.invalid"]).unwrap().server().unwrap()));
    let identity = ca.identity(&[HOST]).unwrap();
    let tls = json!({ "tls": {
        "termination": "reencrypt", "certificate": identity.certificate, "key": identity.key,
        "destinationCACertificate": ca.certificate()
    } });
    let manifests = Manifests::with(&[
        annotated(route("web", HOST, tls), &[OFTEN]),
        service("web"),
        pod("web", "web-1", well),
        pod("web", "web-2", wrong),
    ]);
    let proxy = Proxy::start(&manifests, &["--balance=roundrobin"]);
    is_up(&proxy, "web-2", false).await;
    is_up(&proxy, "web-1", true).await;
    for _ in 0..6 {
        assert_eq!(get_tls(proxy.https, &ca, HOST, "/").await.unwrap().pod(), Some("web-1"));
    }
    assert_eq!(proxy.metric("nearside_upstream_connect_failures_total", "").await, Some(0.0));
}

#[tokio::test]
async fn where_all_pods_are_down_all_are_asked_and_a_service_that_is_up_comes_first() {
    let (one, two, other) = (Checked::start(false).await, Checked::start(false).await, Checked::start(true).await);
    let pods = vec![pod("web", "web-1", one.pod.address), pod("web", "web-2", two.pod.address)];
    let manifests = Manifests::with(&web(&[OFTEN, HTTP], pods));
    let proxy = Proxy::start(&manifests, &["--balance=roundrobin"]);
    is_up(&proxy, "web-1", false).await;
    is_up(&proxy, "web-2", false).await;
    assert_eq!(statuses(&proxy, 4).await, [200; 4], "better than nothing");
    let alternate = json!({ "alternateBackends": [{ "kind": "Service", "name": "other", "weight": 1 }] });
    manifests.put(&service("other"));
    manifests.put(&pod("other", "other-1", other.pod.address));
    manifests.put(&annotated(route("web", HOST, alternate), &[OFTEN, HTTP]));
    is_up(&proxy, "other-1", true).await;
    let before = one.served() + two.served();
    assert_eq!(statuses(&proxy, 6).await, [200; 6]);
    assert_eq!((one.served() + two.served() - before, other.served()), (0, 6), "the share of a Service that is down");
}

#[tokio::test]
async fn a_pod_without_an_alternative_is_not_checked_nor_any_pod_where_checks_are_off() {
    let (one, two) = (Checked::start(true).await, Checked::start(true).await);
    let first = pod("web", "web-1", one.pod.address);
    let manifests = Manifests::with(&web(&[OFTEN], vec![first.clone(), pod("web", "web-2", two.pod.address)]));
    let proxy = Proxy::start(&manifests, &["--check-interval=0s"]);
    is_up(&proxy, "web-1", true).await;
    manifests.remove(&first);
    eventually("the last pod is not checked", || async {
        proxy.metric("nearside_endpoint_up", "").await.is_none().then_some(())
    })
    .await;
    assert_eq!(statuses(&proxy, 2).await, [200; 2]);
    manifests.put(&first);
    is_up(&proxy, "web-1", true).await;
    manifests.put(&route("web", HOST, json!({})));
    eventually("the flag holds without the annotation", || async {
        proxy.metric("nearside_endpoint_up", "").await.is_none().then_some(())
    })
    .await;
}

/// A pod that answers every request with these bytes, and counts them.
async fn answering(answer: &'static str) -> (Scripted, Arc<AtomicUsize>) {
    let asked = Arc::<AtomicUsize>::default();
    let counted = Arc::clone(&asked);
    let pod = Scripted::start(move |mut stream| {
        let counted = Arc::clone(&counted);
        async move {
            // A check of the proxy's is a connection without a request.
            if read_header(&mut stream).await.is_empty() {
                return;
            }
            counted.fetch_add(1, Ordering::Relaxed);
            drop(stream.write_all(answer.as_bytes()).await);
        }
    })
    .await;
    (pod, asked)
}

#[tokio::test]
async fn another_pod_is_asked_only_after_what_the_route_lists_and_only_where_that_is_safe() {
    const SICK: &str = "HTTP/1.1 503 Sick\r\nContent-Length: 4\r\nConnection: close\r\n\r\nsick";
    const WORDS: &str = "nginx.ingress.kubernetes.io/proxy-next-upstream";
    const TRIES: &str = "nginx.ingress.kubernetes.io/proxy-next-upstream-tries";
    for (annotations, method, answer, expected) in [
        (vec![(WORDS, "error http_503")], "GET", SICK, 200),
        (vec![(WORDS, "error http_503")], "POST", SICK, 503),
        (vec![(WORDS, "error http_503"), (TRIES, "1")], "GET", SICK, 503),
        (vec![(WORDS, "error timeout")], "GET", SICK, 503),
        (vec![(WORDS, "non_idempotent http_503")], "GET", SICK, 503),
        (vec![], "GET", SICK, 503),
        (vec![(WORDS, "error")], "GET", "", 200),
        (vec![(WORDS, "error")], "POST", "", 502),
        (vec![(WORDS, "off")], "GET", "", 502),
        (vec![], "GET", "", 502),
    ] {
        let (bad, asked) = answering(answer).await;
        let (_good, good) = echo_pod("web-2");
        let pods = vec![pod("web", "web-1", bad.address), pod("web", "web-2", good)];
        let proxy = Proxy::start(&Manifests::with(&web(&annotations, pods)), &["--balance=roundrobin"]);
        let mut seen = Vec::new();
        // By turns, one of two requests goes to the bad pod.
        for _ in 0..2 {
            let asked = http::Request::builder().method(method).uri("/").header("host", HOST);
            seen.push(super::support::request(proxy.http, asked).await.status);
        }
        seen.sort_unstable();
        assert_eq!(seen, [200, expected], "{annotations:?} {method} {answer:?}");
        // A second attempt takes a turn as well, so that the bad pod's may come again.
        let most = if expected == 200 { 2 } else { 1 };
        let asked = asked.load(Ordering::Relaxed);
        assert!((1..=most).contains(&asked), "{annotations:?} {method} {answer:?}: {asked}");
    }
}

#[tokio::test]
async fn where_every_pod_fails_the_client_gets_the_answer_of_the_last() {
    const SICK: &str = "HTTP/1.1 503 Sick\r\nContent-Length: 4\r\nConnection: close\r\n\r\nsick";
    let ((one, first), (two, second)) = (answering(SICK).await, answering(SICK).await);
    let pods = vec![pod("web", "web-1", one.address), pod("web", "web-2", two.address)];
    let proxy = Proxy::start(&Manifests::with(&web(&[("nearside.dev/retry-on", "http_503")], pods)), &[]);
    let reply = get(proxy.http, HOST, "/").await;
    assert_eq!((reply.status, reply.text().as_str()), (503, "sick"));
    assert_eq!((first.load(Ordering::Relaxed), second.load(Ordering::Relaxed)), (1, 1));
}

#[tokio::test]
async fn where_every_pod_fails_pods_get_hardly_more_than_clients_ask_for() {
    const SICK: &str = "HTTP/1.1 503 Sick\r\nContent-Length: 4\r\nConnection: close\r\n\r\nsick";
    const OFFERED: usize = 200;
    for (answer, words, status) in [(SICK, "http_503", 503), ("", "error", 502)] {
        let pods = [answering(answer).await, answering(answer).await, answering(answer).await];
        let objects =
            pods.iter().enumerate().map(|(number, (sick, _))| pod("web", &format!("w{number}"), sick.address));
        let objects = web(&[("nearside.dev/retry-on", words)], objects.collect());
        let proxy = Proxy::start(&Manifests::with(&objects), &["--check-interval=0s"]);
        assert_eq!(statuses(&proxy, OFFERED).await, [status; OFFERED], "{words}");
        let asked: usize = pods.iter().map(|(_, asked)| asked.load(Ordering::Relaxed)).sum();
        assert!((OFFERED + 10..=OFFERED * 6 / 5).contains(&asked), "{words}: {asked} requests for {OFFERED}");
        let refused = proxy.metric("nearside_limit_exceeded_total", "limit=\"retries\"").await.unwrap();
        assert!(refused >= (OFFERED / 2) as f64, "{words}: {refused}");
    }
}
