//! Requests that come to a node without the pod: sent on to a node's alias, once, and only where a client may follow.

use crate::objects::{annotated, edge, route, secure_service, service, with_tls};
use crate::stage::{Source, Stage};
use nearside_loadtest::client::{Call, Client, Record};
use serde_json::json;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_is_sent_to_the_alias_of_a_node_that_holds_the_pod_from_the_api() {
    a_client_is_sent_to_the_alias(Source::Api).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_is_sent_to_the_alias_of_a_node_that_holds_the_pod_from_manifests() {
    a_client_is_sent_to_the_alias(Source::Manifests).await;
}

async fn a_client_is_sent_to_the_alias(source: Source) {
    let stage = only_on_n2(source, |stage| stage.put(&route("web", HOST, "web"))).await;
    let sent = stage.until_status("n1", &format!("http://{HOST}/media/4096?x=1"), 307).await;
    let location = location(&sent);
    let alias = host_of(&location);
    assert!(alias.starts_with("web--") && alias.ends_with(".apps.example.com"), "{location}");
    assert!(location.ends_with("/media/4096?x=1"), "{location}");
    stage.until_published(&alias, &["n2"]).await;

    // Exactly what a browser does that starts at the wrong node and finds the alias in DNS.
    let followed = stage.fetch(&location).await;
    assert_eq!((followed.status, followed.pod.as_deref(), followed.redirects), (Some(200), Some("web-1"), 0));
    assert!(followed.by_own_node() && followed.contacted.as_deref() == Some("n2"), "{followed:?}");
    assert_eq!(followed.bytes, 4096);
    stage.assert_nothing_crossed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_stale_records_the_second_node_refuses_instead_of_sending_on() {
    let mut stage = only_on_n2(Source::Api, |stage| {
        stage.put(&route("web", HOST, "web"));
        stage.run_pod("web", 3, "n3");
    })
    .await;
    stage.until_published(HOST, &["n2", "n3"]).await;
    stage.until_status("n1", URL, 307).await;
    // Nobody corrects the records any more.
    stage.programs.remove("controller").unwrap().kill().await;
    stage.cluster.kill_pod("shop", "web-1").unwrap();
    stage.cluster.kill_pod("shop", "web-3").unwrap();
    for node in ["n2", "n3"] {
        let look = async || stage.ask(node, URL).await;
        stage.until("the pod is gone", look, |record| record.status != Some(200)).await;
    }

    // Every node still sends on, to aliases that nothing stands behind; whoever follows is refused there.
    let mut followed = 0;
    for node in ["n1", "n2", "n3", "n1", "n2", "n3"] {
        let first = stage.ask(node, URL).await;
        if first.status == Some(307) {
            followed += 1;
            let second = stage.fetch(&location(&first)).await;
            assert_eq!((second.status, second.redirects, &second.answered), (Some(503), 0, &None), "{second:?}");
            assert!(
                second.headers.contains_key("retry-after") && !second.headers.contains_key("location"),
                "{second:?}"
            );
        } else {
            assert_eq!(first.status, Some(503), "{first:?}");
        }
    }
    assert!(followed > 0, "nobody was sent on: the records were not stale");
    assert_eq!(stage.fetch(URL).await.status, Some(503), "a client that follows all redirects ends");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_route_may_ask_for_refusal_instead() {
    let stage = only_on_n2(Source::Api, |stage| {
        stage.put(&route("web", HOST, "web"));
        stage.put(&annotated(route("reject", "reject.apps.example.com", "web"), "nearside.dev/on-miss", "reject"));
    })
    .await;
    stage.until_published("reject.apps.example.com", &["n2"]).await;
    stage.until_status("n1", URL, 307).await;
    let refused = stage.until_status("n1", "http://reject.apps.example.com/", 503).await;
    assert!(refused.headers.contains_key("retry-after") && refused.headers["connection"] == "close", "{refused:?}");
    stage.until_served("n2", "http://reject.apps.example.com/").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_tls_only_to_an_alias_that_the_certificate_covers() {
    let stage = only_on_n2(Source::Api, |stage| {
        for (name, names) in [("covered", &["*.apps.example.com"][..]), ("narrow", &["narrow.apps.example.com"])] {
            let identity = stage.ca.identity(names).unwrap();
            stage.put(&with_tls(route(name, &format!("{name}.apps.example.com"), "web"), edge(&identity)));
        }
    })
    .await;
    let sent = stage.until_status("n1", "https://covered.apps.example.com/x", 307).await;
    let location = location(&sent);
    assert!(location.starts_with("https://covered--"), "{location}");
    stage.until_published(&host_of(&location), &["n2"]).await;
    let followed = stage.fetch(&location).await;
    assert!(followed.good() && followed.by_own_node(), "the client trusts the alias: {followed:?}");

    stage.until_published("narrow.apps.example.com", &["n2"]).await;
    stage.until_served("n2", "https://narrow.apps.example.com/").await;
    let refused = stage.ask("n1", "https://narrow.apps.example.com/").await;
    assert_eq!(refused.status, Some(503), "{refused:?}");
    assert!(refused.headers.contains_key("retry-after"), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_redirected_is_refused() {
    let stage = only_on_n2(Source::Api, |stage| {
        stage.put(&secure_service());
        stage.run_pod("secure", 1, "n2");
        stage.put(&with_tls(
            route("through", "through.apps.example.com", "secure"),
            json!({"termination": "passthrough"}),
        ));
    })
    .await;
    stage.until_published("through.apps.example.com", &["n2"]).await;
    stage.until_served("n2", "https://through.apps.example.com/").await;
    // Nobody on n1 can speak for the host: the connection ends without a certificate.
    let refused = stage.ask("n1", "https://through.apps.example.com/").await;
    let failure = refused.failure.unwrap_or_default();
    assert!(refused.status.is_none() && failure.contains("TLS handshake"), "{failure}");
    assert!(!failure.contains("certificate"), "{failure}");
    stage.assert_nothing_crossed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_comes_from_the_node_that_was_asked() {
    let stage = only_on_n2(Source::Api, |stage| {
        stage.put(&route("web", HOST, "web"));
        stage.run_pod("web", 2, "n2");
        stage.run_pod("web", 3, "n3");
    })
    .await;
    stage.until_published(HOST, &["n2", "n3"]).await;
    // The router of n1 hears of that by itself.
    stage.until_status("n1", URL, 307).await;
    let mut sent_on = 0;
    for node in ["n1", "n2", "n3"].repeat(8) {
        let pinned = Client { address: Some(stage.address(node)), ..stage.client() };
        let first = pinned.fetch(&Call { redirects: 0, ..Call::get(URL) }).await;
        let last = if first.status == Some(307) { stage.fetch(&location(&first)).await } else { first };
        sent_on += u32::from(last.contacted.as_deref() != Some(node));
        assert!(last.status == Some(200) && last.by_own_node(), "{last:?}");
    }
    assert_eq!(sent_on, 8, "only n1 has to send clients on");
    stage.assert_nothing_crossed().await;
    assert!(stage.metric("proxy-n2", "nearside_response_bytes_total").await.is_some_and(|bytes| bytes > 0.0));
}

/// Three nodes, and `web-1` on n2; DNS knows it.
async fn only_on_n2(source: Source, objects: impl FnOnce(&Stage)) -> Stage {
    Stage::start(source, 3, |stage| {
        stage.put(&service("web"));
        stage.run_pod("web", 1, "n2");
        objects(stage);
    })
    .await
}

fn location(record: &Record) -> String {
    record.headers["location"].to_str().unwrap().to_owned()
}

fn host_of(url: &str) -> String {
    url.parse::<http::Uri>().unwrap().host().unwrap().to_owned()
}

const HOST: &str = "web.apps.example.com";
const URL: &str = "http://web.apps.example.com/";
