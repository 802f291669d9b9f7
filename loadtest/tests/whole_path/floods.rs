//! A namespace whose objects change without a pause, while clients of another fetch: what others change is served meanwhile, and in the
//! end everything is as it was said last.

use crate::objects::{route, route_in, service_in};
use crate::stage::{Stage, ZONE};
use crate::traffic::{HOST, Traffic, arrives, serving};
use serde_json::Value;
use std::time::Duration;

/// The Route of this number in the namespace that does not rest.
fn restless(number: usize, service: &str) -> Value {
    route_in("rival", &format!("restless{number}"), &host(number), service)
}

fn host(number: usize) -> String {
    format!("restless{number}.{ZONE}")
}

/// Changes every Route again and again, far more often than anybody looks: to a Service with a pod, and to one that is not there.
async fn flood(stage: &Stage) {
    for turn in 0.. {
        for number in 0..ROUTES {
            stage.put(&restless(number, ["there", "nowhere"][(turn + number) % 2]));
        }
        // For the API server, which lives in this process as well.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_is_served_during_a_flood_of_others_and_the_last_word_of_each_after_it() {
    let stage = serving().await;
    let traffic = Traffic::start(&stage);
    stage.put(&service_in("rival", "there", 80, 8080));
    stage.run_pod_in("rival", "there", 3, "n1");
    tokio::select! {
        () = flood(&stage) => {}
        () = async {
            stage.put(&route("meanwhile", &format!("meanwhile.{ZONE}"), "web"));
            arrives(&stage, "meanwhile").await;
            traffic.next(&stage, 100).await;
        } => {}
    }
    for number in 0..ROUTES {
        match number % 2 {
            0 => stage.put(&restless(number, "there")),
            _ => stage.delete(&restless(number, "there")),
        }
    }
    for number in 0..ROUTES {
        let wanted = [200, 404][number % 2];
        stage.until_status("n1", &format!("http://{}/", host(number)), wanted).await;
        stage.until_published(&host(number), [&["n1"][..], &[]][number % 2]).await;
    }
    stage.until_published(HOST, &["n1", "n2"]).await;
    traffic.stop().await;
    stage.assert_nothing_crossed().await;
}

const ROUTES: usize = 40;
