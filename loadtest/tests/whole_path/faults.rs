//! Everything an API server and a leader can do to the programs, while clients fetch: no request fails, DNS answers stay right, and
//! changes arrive when they can.

use crate::objects::{route, service};
use crate::sources::{states, until_reads_everything};
use crate::stage::{Source, Stage, ZONE};
use crate::traffic::{HOST, Traffic, arrives, serving, serving_on};
use nearside_loadtest::api::{Fault, Faults, RequestMatch};
use rustix::process::Signal;
use std::time::Duration;

const PROGRAMS: [&str; 4] = ["proxy-n1", "proxy-n2", "controller", "dns-sync"];

fn faults(stage: &Stage) -> Faults {
    stage.objects.api().faults().clone()
}

fn any() -> RequestMatch {
    RequestMatch::any()
}

fn make(stage: &Stage, name: &str) {
    stage.put(&route(name, &format!("{name}.{ZONE}"), "web"));
}

async fn until_state(stage: &Stage, program: &str, state: &str) {
    let look = async || states(stage, program).await;
    stage.until(&format!("{program} shows {state}"), look, |states| states.iter().any(|it| it == state)).await;
}

/// Every program reads everything that there is.
async fn until_live(stage: &Stage) {
    for program in PROGRAMS {
        until_reads_everything(stage, program).await;
    }
}

/// All is as it was, and a Route that was made meanwhile has come.
async fn recovers(stage: &Stage, traffic: Traffic, name: &str) {
    arrives(stage, name).await;
    stage.until_published(HOST, &["n1", "n2"]).await;
    until_live(stage).await;
    traffic.next(stage, 20).await;
    traffic.stop().await;
    stage.assert_nothing_crossed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_api_server_that_is_slow_asks_for_patience_or_fails_costs_no_request() {
    let stage = serving().await;
    let (traffic, faults) = (Traffic::start(&stage), faults(&stage));
    for (number, fault) in [
        Fault::Answer { status: 429, retry_after: Some(1) },
        Fault::Answer { status: 500, retry_after: None },
        Fault::Answer { status: 503, retry_after: Some(2) },
        Fault::Delay(Duration::from_millis(700)),
    ]
    .into_iter()
    .enumerate()
    {
        let is_slow = matches!(fault, Fault::Delay(_));
        faults.add(any(), fault, None);
        faults.cut_watches(any());
        let name = format!("new{number}");
        make(&stage, &name);
        if is_slow {
            arrives(&stage, &name).await;
        } else {
            traffic.next(&stage, 40).await;
            assert_eq!(stage.published(HOST).await.len(), 2);
        }
        faults.clear();
        arrives(&stage, &name).await;
    }
    recovers(&stage, traffic, "new0").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_api_server_that_flaps_and_watches_that_are_cut_again_and_again_cost_no_request() {
    let stage = serving().await;
    let (traffic, faults) = (Traffic::start(&stage), faults(&stage));
    for _ in 0..4 {
        faults.refuse_connections().await;
        traffic.next(&stage, 10).await;
        faults.accept_connections().await.unwrap();
        traffic.next(&stage, 10).await;
    }
    make(&stage, "flapped");
    arrives(&stage, "flapped").await;
    let cutting = faults.clone();
    let cutter = tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            cutting.cut_watches(any());
        }
    });
    make(&stage, "cut");
    arrives(&stage, "cut").await;
    make(&stage, "cut-again");
    arrives(&stage, "cut-again").await;
    cutter.abort();
    recovers(&stage, traffic, "cut-again").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_api_server_that_hangs_is_noticed_by_all_and_costs_no_request() {
    let stage = serving().await;
    let (traffic, faults) = (Traffic::start(&stage), faults(&stage));
    faults.freeze();
    make(&stage, "new");
    for program in PROGRAMS {
        until_state(&stage, program, "interrupted").await;
    }
    stage.until_published(HOST, &["n1", "n2"]).await;
    faults.thaw();
    recovers(&stage, traffic, "new").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_that_lack_everything_take_nothing_away() {
    let stage = serving().await;
    let (traffic, faults) = (Traffic::start(&stage), faults(&stage));
    faults.refuse_connections().await;
    // Whatever version a watch has come to, it is forgotten.
    make(&stage, "new");
    faults.compact();
    // Lists that are streamed are watches too; those in pages, which confirm them, are whole.
    faults.add(any().verb("watch"), Fault::EmptyList, None);
    faults.accept_connections().await.unwrap();
    for program in PROGRAMS {
        let metrics = async || stage.admin_page(program, "/metrics").await.1;
        let confirmed = |page: &String| page.contains("reason=\"confirm\"");
        stage.until(&format!("{program} did not believe a list"), metrics, confirmed).await;
    }
    traffic.next(&stage, 20).await;
    stage.until_published(HOST, &["n1", "n2"]).await;
    faults.clear();
    recovers(&stage, traffic, "new").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_that_come_twice_or_never_do_no_harm_beyond_the_next_list() {
    let stage = serving().await;
    let (traffic, faults) = (Traffic::start(&stage), faults(&stage));
    faults.double_events(any());
    make(&stage, "doubled");
    arrives(&stage, "doubled").await;
    stage.delete(&route("doubled", &format!("doubled.{ZONE}"), "web"));
    stage.until_status("n1", &format!("http://doubled.{ZONE}/"), 404).await;
    stage.until_published(&format!("doubled.{ZONE}"), &[]).await;
    faults.clear();
    faults.lose_events(any().resource("routes"));
    make(&stage, "lost");
    traffic.next(&stage, 40).await;
    assert_eq!(stage.ask("n1", &format!("http://lost.{ZONE}/")).await.status, Some(404), "nobody has heard of it");
    faults.clear();
    // The history is gone when the watches of Routes are resumed.
    faults.answer(any().resource("routes"), 503, None, None);
    faults.cut_watches(any().resource("routes"));
    stage.put(&service("other"));
    faults.compact();
    faults.clear();
    recovers(&stage, traffic, "lost").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kinds_that_vanish_and_permissions_that_are_revoked_leave_what_is_known_and_heal() {
    let stage = serving().await;
    let (traffic, faults) = (Traffic::start(&stage), faults(&stage));
    faults.disable_kind("dnsendpoints");
    faults.answer(any().resource("routes"), 403, None, None);
    faults.answer(any().resource("nodes"), 401, None, None);
    faults.cut_watches(any());
    for program in PROGRAMS {
        until_state(&stage, program, "disabled").await;
    }
    // What can be read goes on: a Service is not ours to lose.
    let unavailable = async || stage.metric("proxy-n1", "nearside_watch_available").await;
    stage.until("some kinds are available", unavailable, |sum| sum.is_some_and(|sum| sum > 3.0)).await;
    traffic.next(&stage, 40).await;
    stage.until_published(HOST, &["n1", "n2"]).await;
    faults.enable_kind("dnsendpoints");
    faults.clear();
    make(&stage, "new");
    recovers(&stage, traffic, "new").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn programs_that_start_without_an_api_server_serve_what_they_knew() {
    let mut stage = Stage::lay(Source::Api, 2).await;
    stage.keeps_snapshots = true;
    let mut stage = serving_on(stage).await;
    faults(&stage).refuse_connections().await;
    // In order, so that what changed last is written: DNSEndpoints among it.
    for program in PROGRAMS {
        stage.programs.remove(program).unwrap().terminate(crate::stage::PATIENCE).await.unwrap();
    }
    make(&stage, "new");
    stage.start_again();
    stage.ready().await;
    for node in ["n1", "n2"] {
        stage.until_served(node, &format!("http://{HOST}/")).await;
    }
    stage.until_published(HOST, &["n1", "n2"]).await;
    for program in PROGRAMS {
        until_state(&stage, program, "stale").await;
        let age = stage.metric(program, "nearside_watch_snapshot_age_seconds").await;
        assert!(age.is_some_and(|age| age > 0.0), "{program}: {age:?}");
    }
    let traffic = Traffic::start(&stage);
    traffic.next(&stage, 20).await;
    faults(&stage).accept_connections().await.unwrap();
    recovers(&stage, traffic, "new").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaders_that_are_stopped_resumed_and_killed_cost_no_request_and_no_answer() {
    let mut stage = serving().await;
    stage.start_controller_as("second-controller");
    stage.ready().await;
    let traffic = Traffic::start(&stage);
    stage.programs["controller"].signal(Signal::STOP);
    // The second one takes over, which the first one cannot know.
    make(&stage, "one");
    arrives(&stage, "one").await;
    stage.delete(&route("one", &format!("one.{ZONE}"), "web"));
    stage.until_published(&format!("one.{ZONE}"), &[]).await;
    stage.programs["controller"].signal(Signal::CONT);
    make(&stage, "two");
    arrives(&stage, "two").await;
    assert!(stage.published(&format!("one.{ZONE}")).await.is_empty(), "what was withdrawn has come back");
    stage.programs.remove("second-controller").unwrap().kill().await;
    make(&stage, "three");
    recovers(&stage, traffic, "three").await;
}
