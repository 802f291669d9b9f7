//! The wall clock of all programs jumps while they run: nobody notices, and changes go on to take effect.

use crate::objects::{route, service};
use crate::stage::{Source, Stage};
use jiff::Timestamp;
use nearside_loadtest::api::ObjectRef;
use nearside_loadtest::lab::cluster::ROUTER_NAMESPACE;
use nearside_loadtest::wall_clock::WallClock;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clocks_that_jump_cost_no_request_no_answer_and_no_leader() {
    let Some(clock) = WallClock::new().unwrap() else {
        eprintln!("SKIPPED: needs libfaketime (Debian: faketime)");
        return;
    };
    let mut stage = Stage::lay(Source::Api, 2).await;
    stage.put_all(&[service("web"), route("web", HOST, "web")]);
    stage.run_pod("web", 0, "n1");
    stage.environment = clock.environment().to_vec();
    stage.start_programs();
    stage.ready().await;
    stage.until_published(HOST, &["n1"]).await;
    for (number, minutes) in (1..).zip([10, -10, 400 * 24 * 60, -400 * 24 * 60, 0]) {
        let offset = format!("{minutes:+}m");
        clock.set(&offset).unwrap();
        // The leader's own word for it is in its Lease.
        let right =
            |renewed: &Timestamp| (renewed.as_second() - Timestamp::now().as_second() - minutes * 60).abs() < 60;
        stage.until(&format!("the clock is {offset} off"), async || renewed(&stage), right).await;
        for _ in 0..10 {
            let record = stage.fetch(&format!("http://{HOST}/")).await;
            assert!(record.status == Some(200) && record.by_own_node(), "{offset}: {record:?}");
        }
        // A change goes all the way, and back.
        stage.run_pod("web", number, "n2");
        stage.until_published(HOST, &["n1", "n2"]).await;
        stage.cluster.kill_pod("shop", &format!("web-{number}")).unwrap();
        stage.until_published(HOST, &["n1"]).await;
    }
    assert_eq!(stage.metric("controller", "nearside_controller_leader").await, Some(1.0));
    for program in ["proxy-n1", "proxy-n2", "controller", "dns-sync"] {
        assert_eq!(stage.admin_page(program, "/healthz/ready").await.0, 200, "{program}");
    }
    stage.assert_nothing_crossed().await;
}

/// When the leader has renewed its Lease, by its clock.
fn renewed(stage: &Stage) -> Timestamp {
    let lease = stage
        .objects
        .api()
        .get(ObjectRef::new("coordination.k8s.io/v1", "Lease", ROUTER_NAMESPACE, "nearside-controller"))
        .unwrap();
    lease["spec"]["renewTime"].as_str().unwrap().parse().unwrap()
}

const HOST: &str = "web.apps.example.com";
