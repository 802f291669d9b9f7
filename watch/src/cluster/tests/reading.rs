//! How lists are read and what of them is believed: streamed or in pages, whole or lacking, from a server that lives or hangs.

use super::{
    Follower, Kind, Selection, guarded, knows, of, reference, route, server, server_with, service, services, source,
    users, wait,
};
use crate::{ClusterConfig, IndexConfig, SnapshotSettings, Source, Standing, Trust, snapshots};
use nearside_loadtest::api::{ApiServer, Fault, ObjectRef, Options, ServerTls, StreamingLists};
use nearside_loadtest::certificates::TestCa;
use serde_json::json;
use std::time::Duration;

fn lists(follower: &Follower) -> (u64, u64) {
    let counts = follower.state(Kind::Service).counts;
    (counts.streamed_lists, counts.paged_lists)
}

#[tokio::test]
async fn lists_are_streamed_where_the_server_offers_it_and_the_stream_goes_on_as_the_watch() {
    let server = server().await;
    for number in 0..1100 {
        server.seed(service(&format!("s{number:04}"))).unwrap();
    }
    let mut follower = Follower::new(&server, services());
    follower.until("all", |follower| follower.objects.len() == 1100).await;
    server.delete(reference("s0000")).unwrap();
    follower.until("one less", |follower| follower.objects.len() == 1099).await;
    assert_eq!(lists(&follower), (1, 0));
    assert_eq!(server.faults().requests("watch", "services"), 1, "list and watch are one request");
    // The stream ends, and is resumed without a list.
    server.faults().drop_watches(of("services"));
    server.seed(service("later")).unwrap();
    follower.until("later", |follower| follower.objects.contains_key("later")).await;
    follower.until("a new watch", |_| server.faults().requests("watch", "services") == 2).await;
    assert_eq!(lists(&follower), (1, 0));
}

#[tokio::test]
async fn a_server_that_refuses_or_ignores_streaming_is_read_in_pages_and_asked_no_more() {
    for streaming in [StreamingLists::Refused, StreamingLists::Ignored] {
        let server = server_with(streaming).await;
        server.seed(service("a")).unwrap();
        server.seed(service("b")).unwrap();
        let mut follower = Follower::new(&server, services());
        follower.until_names(&["a", "b"]).await;
        assert_eq!(lists(&follower), (0, 1), "{streaming:?}");
        server.faults().answer(of("services").verb("watch"), 410, None, Some(1));
        server.faults().drop_watches(of("services"));
        server.delete(reference("a")).unwrap();
        follower.until_names(&["b"]).await;
        assert_eq!(lists(&follower), (0, 2), "{streaming:?}");
        assert_eq!(follower.state(Kind::Service).counts.relists, [("expired".into(), 1)].into());
    }
}

#[tokio::test]
async fn a_streamed_list_that_is_cut_is_never_taken_for_a_whole_one() {
    let server = server().await;
    for number in 0..100 {
        server.seed(service(&format!("s{number:03}"))).unwrap();
    }
    server.faults().add(of("services").verb("list"), Fault::TruncatedBody, Some(2));
    let mut follower = Follower::new(&server, services());
    follower.until("anything", |follower| !follower.objects.is_empty()).await;
    assert_eq!(follower.objects.len(), 100);
}

#[tokio::test]
async fn a_page_token_that_expires_on_the_way_leads_to_a_new_list() {
    let server = server_with(StreamingLists::Refused).await;
    for number in 0..1100 {
        server.seed(service(&format!("s{number:04}"))).unwrap();
    }
    server.faults().add(of("services").verb("list"), Fault::Delay(Duration::from_millis(300)), None);
    let mut follower = Follower::new(&server, services());
    follower.until("a second page is asked for", |_| server.faults().requests("list", "services") == 2).await;
    server.seed(service("s9999")).unwrap();
    server.faults().compact();
    server.faults().clear();
    follower.until("all", |follower| follower.objects.len() == 1101).await;
    assert!(server.faults().requests("list", "services") >= 5);
    assert_eq!(follower.deleted, Vec::<String>::new());
}

/// Lists that lack much, for as long as `faults` says, and what a reader makes of it.
async fn lacking(streaming: StreamingLists, fault: Fault) {
    let server = server_with(streaming).await;
    for name in ["a", "b", "c", "d"] {
        server.seed(service(name)).unwrap();
    }
    let mut follower = Follower::new(&server, services());
    follower.until_names(&["a", "b", "c", "d"]).await;
    server.faults().add(of("services").verb("list"), fault.clone(), Some(1));
    server.faults().answer(of("services").verb("watch"), 410, None, Some(1));
    server.faults().drop_watches(of("services"));
    follower.until("what lacks is held", |follower| follower.state(Kind::Service).held >= 3).await;
    assert_eq!(follower.changes.state().page()["sources"][0]["state"], "held");
    assert_eq!((follower.names(), follower.deleted.len()), (vec!["a", "b", "c", "d"], 0), "{fault:?}");
    // What is there counts at once; what an event deletes goes at once.
    server.seed(service("e")).unwrap();
    server.delete(reference("d")).unwrap();
    follower.until_names(&["a", "b", "c", "e"]).await;
    // The second read sees that all is well.
    follower.until("nothing is held", |follower| follower.state(Kind::Service).held == 0).await;
    assert_eq!((follower.names(), &*follower.deleted), (vec!["a", "b", "c", "e"], &["d".to_owned()][..]));
}

#[tokio::test]
async fn an_empty_list_never_wipes() {
    tokio::join!(
        lacking(StreamingLists::Offered, Fault::EmptyList),
        lacking(StreamingLists::Refused, Fault::EmptyList)
    );
}

#[tokio::test]
async fn a_partial_list_never_deletes() {
    let short = || Fault::ShortList(1);
    tokio::join!(lacking(StreamingLists::Offered, short()), lacking(StreamingLists::Refused, short()));
}

#[tokio::test]
async fn what_is_truly_gone_goes_when_a_second_list_agrees() {
    let server = server().await;
    for name in ["a", "b", "c", "d"] {
        server.seed(service(name)).unwrap();
    }
    let mut follower = Follower::new(&server, services());
    follower.until_names(&["a", "b", "c", "d"]).await;
    server.faults().refuse_connections().await;
    for name in ["a", "b", "c"] {
        server.delete(reference(name)).unwrap();
    }
    server.faults().compact();
    server.faults().accept_connections().await.unwrap();
    follower.until_names(&["d"]).await;
    let state = follower.state(Kind::Service);
    assert_eq!(state.counts.relists, [("confirm".into(), 1), ("expired".into(), 1)].into());
    assert_eq!((state.held, state.standing), (0, Standing::Live));
}

#[tokio::test]
async fn lost_events_are_made_up_for_by_the_next_list_and_doubled_ones_do_no_harm() {
    let server = server().await;
    server.seed(service("a")).unwrap();
    let mut follower = Follower::new(&server, services());
    follower.until_names(&["a"]).await;
    server.faults().double_events(of("services"));
    for version in ["2", "3"] {
        server.patch(reference("a"), json!({"metadata": {"labels": {"version": version}}})).unwrap();
    }
    server.seed(service("b")).unwrap();
    server.delete(reference("b")).unwrap();
    server.seed(service("c")).unwrap();
    // After the last event the one before comes once more: what was deleted must not come back, nor an old version.
    follower.until_names(&["a", "c"]).await;
    follower.until("version 3", |follower| follower.label("a") == Some("3")).await;
    server.faults().clear();
    server.faults().lose_events(of("services"));
    server.seed(service("lost")).unwrap();
    let heard = follower.state(Kind::Service).last_contact;
    follower.until("a bookmark past it", |follower| follower.state(Kind::Service).last_contact > heard).await;
    assert_eq!(follower.names(), ["a", "c"]);
    server.faults().clear();
    server.faults().answer(of("services").verb("watch"), 410, None, Some(1));
    server.faults().drop_watches(of("services"));
    follower.until_names(&["a", "c", "lost"]).await;
    assert_eq!(follower.deleted, ["b"]);
}

#[tokio::test]
async fn a_server_that_hangs_is_noticed_and_found_again() {
    let server = server().await;
    server.seed(service("a")).unwrap();
    let mut follower = Follower::new(&server, services());
    follower.until_names(&["a"]).await;
    server.faults().freeze();
    follower.until_error(Kind::Service, "does not answer either").await;
    server.seed(service("b")).unwrap();
    server.faults().thaw();
    follower.until_names(&["a", "b"]).await;
    follower.until_healthy(Kind::Service).await;
    assert_eq!(follower.deleted, Vec::<String>::new());
}

#[tokio::test]
async fn a_server_that_somebody_else_vouches_for_is_not_believed_and_told_why() {
    let vouched = |name: &str| {
        let ca = TestCa::new(name).unwrap();
        let server = ca.identity(&["127.0.0.1"]).unwrap().server().unwrap();
        Options { tls: Some(ServerTls { server, authority: ca.certificate().to_owned() }), ..Options::default() }
    };
    let ours = ApiServer::start(vouched("ours")).await.unwrap();
    let theirs = ApiServer::start(vouched("theirs")).await.unwrap();
    for (server, is_believed) in [(&ours, true), (&theirs, false)] {
        let text = ours.kubeconfig_yaml().replace(&ours.url(), &server.url());
        let kubeconfig = kube::config::Kubeconfig::from_yaml(&text).unwrap();
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &Default::default()).await.unwrap();
        let source = Source::Cluster(ClusterConfig::new(config).unwrap());
        let mut follower = Follower::of(source, services());
        match is_believed {
            true => follower.until_names(&[]).await,
            false => follower.until_error(Kind::Service, "check certificate-authority").await,
        }
    }
}

#[tokio::test]
async fn a_server_that_asks_for_patience_gets_it() {
    let server = server().await;
    server.faults().answer(of("services"), 429, Some(3), Some(1));
    let began = std::time::Instant::now();
    let mut follower = Follower::new(&server, services());
    follower.until_error(Kind::Service, "429").await;
    follower.until_names(&[]).await;
    assert!(began.elapsed().as_secs() >= 3, "asked again after {:?}", began.elapsed());
    assert_eq!(server.faults().requests("list", "services"), 2);
}

#[tokio::test]
async fn an_expired_token_freezes_what_is_known_and_heals() {
    let server = server().await;
    server.seed(route("web", &json!([]))).unwrap();
    server.seed(service("a")).unwrap();
    let mut follower = Follower::new(&server, vec![Selection::all(Kind::Route), Selection::all(Kind::Service)]);
    follower.until_names(&["a", "web"]).await;
    server.faults().answer(of("routes"), 401, None, None);
    server.faults().cut_watches(of("routes"));
    follower.until_error(Kind::Route, "does not accept our credentials").await;
    assert_eq!(follower.state(Kind::Route).reason.as_deref(), Some("Unauthorized"));
    server.delete(reference("a")).unwrap();
    follower.until_names(&["web"]).await;
    server.faults().clear();
    server.delete(ObjectRef::new("route.openshift.io/v1", "Route", "shop", "web")).unwrap();
    follower.until_names(&[]).await;
    follower.until_healthy(Kind::Route).await;
}

#[tokio::test]
async fn a_program_starts_from_the_disk_with_the_secrets_that_objects_name_and_follows_them_when_it_can() {
    let directory = tempfile::tempdir().unwrap();
    let settings = SnapshotSettings { directory: directory.path().to_owned(), keys_on_disk: true, at_once: false };
    let server = server().await;
    server.seed(guarded("one", "ones")).unwrap();
    server.seed(users("ones", &["ann"])).unwrap();
    let selections = vec![Selection::all(Kind::Ingress), Selection::all(Kind::Secret).fields("type=kubernetes.io/tls")];
    let kept = || source(&server).with_snapshot(Some(&settings)).unwrap();
    let first = kept();
    let before = snapshots(first.clone(), selections.clone(), IndexConfig::default());
    wait(&before, "her", |snapshots| knows(snapshots, "one.example.com", "ann") == Some(true)).await;
    first.save_snapshot().await;
    drop(before);

    server.faults().refuse_connections().await;
    let mut again = snapshots(kept(), selections, IndexConfig::default());
    wait(&again, "her, from the disk", |snapshots| knows(snapshots, "one.example.com", "ann") == Some(true)).await;
    assert_eq!(again.next_with_trust().await.1, Trust::Stale);
    assert_eq!(again.state().page()["sources"][0]["state"], "stale");
    server.faults().accept_connections().await.unwrap();
    server.seed(users("ones", &["bob"])).unwrap();
    wait(&again, "him", |snapshots| knows(snapshots, "one.example.com", "bob") == Some(true)).await;
    while again.next_with_trust().await.1 != Trust::Live {}
    assert_eq!(again.state().page()["sources"][0]["state"], "live");
}
