//! How requests spread over the pods of a route: algorithms, weights, and what outlives a change of the table.

use super::support::client::{exchange, get_tls};
use super::support::manifests::{annotated, ingress, ingress_class, pod, route, service};
use super::support::pods::{echo_pod_with, read_header};
use super::support::{Manifests, Proxy, Scripted, echo_pod, eventually, get, request};
use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use nearside_loadtest::certificates::TestCa;
use nearside_loadtest::pods::PodServer;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::AsyncReadExt;
use tokio::net::TcpSocket;
use tokio::sync::Semaphore;

const HOST: &str = "web.example.com";
const BALANCE: &str = "haproxy.router.openshift.io/balance";

/// Echo pods `NAME-1` to `NAME-COUNT` of a Service, and the objects of it.
fn pods(name: &str, count: usize) -> (Vec<PodServer>, Vec<Value>) {
    let started = (1..=count).map(|number| (format!("{name}-{number}"), echo_pod(&format!("{name}-{number}"))));
    let (servers, mut objects): (Vec<_>, Vec<_>) =
        started.map(|(pod_name, (server, address))| (server, pod(name, &pod_name, address))).unzip();
    objects.push(service(name));
    (servers, objects)
}

/// Who answers each of so many requests, each on a connection of its own.
async fn answers(proxy: &Proxy, count: usize) -> Vec<String> {
    let mut answers = Vec::new();
    for _ in 0..count {
        answers.push(get(proxy.http, HOST, "/").await.pod().unwrap().to_owned());
    }
    answers
}

fn counts(answers: &[String]) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for answer in answers {
        *counts.entry(answer.as_str()).or_default() += 1;
    }
    counts
}

async fn served(proxy: &Proxy, host: &str) {
    eventually("the change is there", || async { (get(proxy.http, host, "/").await.status == 200).then_some(()) })
        .await;
}

#[tokio::test]
async fn turns_are_exact_over_connections_and_go_on_when_the_table_changes() {
    let (_servers, mut objects) = pods("web", 3);
    objects.push(annotated(route("web", HOST, json!({})), &[(BALANCE, "roundrobin")]));
    let manifests = Manifests::with(&objects);
    let proxy = Proxy::start(&manifests, &[]);
    let first = answers(&proxy, 7).await;
    assert_eq!(first[..3].iter().collect::<BTreeSet<_>>().len(), 3, "each pod has a turn: {first:?}");
    assert_eq!((&first[..3], &first[6]), (&first[3..6], &first[0]), "in the same order");
    manifests.put(&route("other", "other.example.com", json!({ "to": { "kind": "Service", "name": "web" } })));
    served(&proxy, "other.example.com").await;
    assert_eq!(answers(&proxy, 2).await, first[1..3], "another route changes nothing");
    manifests.put(&annotated(
        route("web", HOST, json!({ "path": "/" })),
        &[(BALANCE, "roundrobin"), ("nearside.dev/on-miss", "reject")],
    ));
    let (_fourth, address) = echo_pod("web-4");
    manifests.put(&pod("web", "web-4", address));
    eventually("the fourth pod has a turn", || async {
        answers(&proxy, 1).await.contains(&"web-4".into()).then_some(())
    })
    .await;
    drop(answers(&proxy, 8).await);
    assert!(counts(&answers(&proxy, 8).await).values().all(|count| *count == 2), "four pods, two turns each");
}

#[tokio::test]
async fn weighted_services_have_exact_shares_and_their_pods_equal_ones() {
    let (_a, mut objects) = pods("a", 2);
    let (_b, more) = pods("b", 1);
    let (_none, none) = pods("none", 1);
    objects.extend(more.into_iter().chain(none));
    let alternate = |name: &str, weight: u16| json!({ "kind": "Service", "name": name, "weight": weight });
    objects.push(route(
        "a",
        HOST,
        json!({
            "to": alternate("a", 50),
            "alternateBackends": [alternate("b", 150), alternate("none", 0), alternate("away", 256)]
        }),
    ));
    objects.push(service("away"));
    let proxy = Proxy::start(&Manifests::with(&objects), &[]);
    let answers = answers(&proxy, 16).await;
    assert_eq!(counts(&answers), BTreeMap::from([("a-1", 2), ("a-2", 2), ("b-1", 12)]));
}

#[tokio::test]
async fn the_pod_with_the_fewest_connections_is_asked() {
    let asked = Arc::new(Semaphore::new(0));
    let noted = Arc::clone(&asked);
    let busy = Scripted::start(move |mut stream| {
        let noted = Arc::clone(&noted);
        async move {
            read_header(&mut stream).await;
            noted.add_permits(1);
            // Holds the request.
            drop(stream.read_u8().await);
        }
    })
    .await;
    let manifests = Manifests::with(&[
        annotated(route("web", HOST, json!({})), &[(BALANCE, "leastconn")]),
        service("web"),
        pod("web", "web-1", busy.address),
    ]);
    let proxy = Proxy::start(&manifests, &[]);
    let http = proxy.http;
    let held: Vec<_> = (0..4).map(|_| tokio::spawn(async move { get(http, HOST, "/").await })).collect();
    drop(asked.acquire_many(4).await.unwrap());
    let (_echo, address) = echo_pod("web-2");
    manifests.put(&pod("web", "web-2", address));
    eventually("there is another pod", || async { proxy.page("/routes").await.1.contains("web-2").then_some(()) })
        .await;
    for _ in 0..10 {
        assert_eq!(get(proxy.http, HOST, "/").await.pod(), Some("web-2"));
    }
    held.iter().for_each(tokio::task::JoinHandle::abort);
}

/// Who answers a client at this address.
async fn answer_for(proxy: SocketAddr, client: u8) -> String {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from(([127, 0, 0, client], 0))).unwrap();
    let request = Request::get("/").header("host", HOST).body(Full::<Bytes>::default()).unwrap();
    exchange(socket.connect(proxy).await.unwrap(), request).await.pod().unwrap().to_owned()
}

#[tokio::test]
async fn a_client_keeps_its_pod_by_its_address_while_others_come_and_go() {
    let (_servers, mut objects) = pods("web", 3);
    objects.push(annotated(route("web", HOST, json!({})), &[(BALANCE, "source")]));
    let manifests = Manifests::with(&objects);
    let proxy = Proxy::start(&manifests, &[]);
    let mut before = Vec::new();
    for client in 1..=24 {
        let pod = answer_for(proxy.http, client).await;
        assert_eq!(answer_for(proxy.http, client).await, pod, "the same client");
        before.push(pod);
    }
    assert_eq!(before.iter().collect::<BTreeSet<_>>().len(), 3, "clients spread");
    manifests.remove(&objects[0]);
    eventually("the first pod is gone", || async {
        let client = 1 + u8::try_from(before.iter().position(|pod| pod == "web-1").unwrap()).unwrap();
        (answer_for(proxy.http, client).await != "web-1").then_some(())
    })
    .await;
    for (client, pod) in (1..).zip(before) {
        let now = answer_for(proxy.http, client).await;
        assert!(now == pod || pod == "web-1", "client {client} moved from {pod} to {now}");
    }
}

#[tokio::test]
async fn requests_spread_by_a_key_of_their_own() {
    let (_servers, mut objects) = pods("web", 3);
    let paths = [("Prefix", "/", "web")];
    objects.extend([
        ingress_class(),
        annotated(
            ingress("web", HOST, &paths, json!({})),
            &[("nginx.ingress.kubernetes.io/upstream-hash-by", "$request_uri$http_x_user")],
        ),
    ]);
    let proxy = Proxy::start(&Manifests::with(&objects), &[]);
    let mut answered = BTreeSet::new();
    for number in 0..24 {
        let ask = |user: &str| {
            let asked = Request::get(format!("/segment/{number}?x")).header("host", HOST).header("x-user", user);
            request(proxy.http, asked)
        };
        let pod = ask("me").await.pod().unwrap().to_owned();
        assert_eq!(ask("me").await.pod(), Some(&*pod));
        answered.insert(pod);
    }
    assert_eq!(answered.len(), 3);
}

#[tokio::test]
async fn connections_passed_through_keep_their_pod_unless_told_otherwise() {
    let ca = TestCa::new("pod").unwrap();
    let tls = ca.identity(&[HOST]).unwrap().server().unwrap();
    let (_one, one) = echo_pod_with("web-1", Some(Arc::clone(&tls)));
    let (_two, two) = echo_pod_with("web-2", Some(tls));
    let manifests = Manifests::with(&[
        route("web", HOST, json!({ "tls": { "termination": "passthrough" } })),
        service("web"),
        pod("web", "web-1", one),
        pod("web", "web-2", two),
    ]);
    for (flags, expected) in [
        (&[][..], 1),
        (&["--balance=roundrobin"], 2),
        (&["--balance=roundrobin", "--tcp-balance=source"], 1),
        (&["--tcp-balance=roundrobin"], 2),
    ] {
        let proxy = Proxy::start(&manifests, flags);
        let mut answered = BTreeSet::new();
        for _ in 0..6 {
            answered.insert(get_tls(proxy.https, &ca, HOST, "/").await.unwrap().pod().unwrap().to_owned());
        }
        assert_eq!(answered.len(), expected, "{flags:?}: {answered:?}");
    }
}

#[tokio::test]
async fn an_algorithm_that_does_not_exist_leaves_the_default_and_is_told() {
    let (_servers, mut objects) = pods("web", 2);
    objects.push(annotated(route("web", HOST, json!({})), &[(BALANCE, "first\r\n${x}")]));
    let proxy = Proxy::start(&Manifests::with(&objects), &["--balance=roundrobin"]);
    assert_eq!(counts(&answers(&proxy, 4).await).into_values().collect::<Vec<_>>(), [2, 2]);
    assert!(proxy.page("/routes").await.1.contains("is not one of roundrobin, leastconn, source, random"));
}
