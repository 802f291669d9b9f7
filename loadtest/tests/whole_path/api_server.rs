//! The API server restarts, forgets its history, or ends watches while clients fetch: no request fails, and changes arrive afterwards.

use crate::objects::route;
use crate::traffic::{Traffic, arrives, serving};
use nearside_loadtest::api::RequestMatch;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_while_the_api_server_is_away_and_changes_arrive_when_it_is_back() {
    let stage = serving().await;
    let traffic = Traffic::start(&stage);
    let api = stage.objects.api().clone();
    for round in 1..=2 {
        api.faults().refuse_connections().await;
        traffic.next(&stage, 40).await;
        // Made while nobody can hear of it.
        let name = format!("new{round}");
        let host = format!("{name}.{}", crate::stage::ZONE);
        stage.put(&route(&name, &host, "web"));
        traffic.next(&stage, 40).await;
        assert_eq!(stage.ask("n1", &format!("http://{host}/")).await.status, Some(404), "nobody has heard of it");
        api.faults().accept_connections().await.unwrap();
        arrives(&stage, &name).await;
        traffic.next(&stage, 40).await;
    }
    traffic.stop().await;
    stage.assert_nothing_crossed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_when_watches_end_and_their_history_is_gone() {
    let stage = serving().await;
    let traffic = Traffic::start(&stage);
    let faults = stage.objects.api().faults().clone();
    let before = faults.requests("list", "services");
    for name in ["new1", "new2"] {
        faults.compact();
        faults.drop_watches(RequestMatch::any());
        stage.put(&route(name, &format!("{name}.{}", crate::stage::ZONE), "web"));
        arrives(&stage, name).await;
        traffic.next(&stage, 40).await;
    }
    // Services were not touched, so every watch of them was behind.
    assert!(faults.requests("list", "services") > before, "nobody listed anew: there was no 410");
    traffic.stop().await;
    stage.assert_nothing_crossed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_when_a_change_is_lost_between_two_watches() {
    let stage = serving().await;
    let traffic = Traffic::start(&stage);
    let faults = stage.objects.api().faults().clone();
    let before = faults.requests("list", "routes");
    // While nobody can watch, a change is made and its history is forgotten: what follows is 410.
    faults.answer(RequestMatch::any().verb("watch"), 503, None, None);
    faults.cut_watches(RequestMatch::any());
    stage.put(&route("new", &format!("new.{}", crate::stage::ZONE), "web"));
    faults.compact();
    traffic.next(&stage, 40).await;
    faults.clear();
    arrives(&stage, "new").await;
    assert!(faults.requests("list", "routes") > before, "nobody listed anew: there was no 410");
    traffic.next(&stage, 40).await;
    traffic.stop().await;
    stage.assert_nothing_crossed().await;
}
