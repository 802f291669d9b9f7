//! What can happen to a cluster without a request having to fail: each event happens, lasts for a while, and is over.

use super::TENANTS;
use crate::objects::{route_in, secret};
use crate::stage::{Stage, ZONE};
use nearside_loadtest::api::{Fault, RequestMatch};
use rustix::process::Signal;
use std::time::Duration;
use tokio::time::sleep;

/// The rows of the failure matrix (docs/reliability.md) that need no explanation afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// Connections to the API server are refused, and those that stand break.
    ApiAway,
    /// It takes everything and answers nothing.
    ApiHangs,
    /// It answers late.
    ApiSlow,
    /// It asks for patience.
    ApiBusy,
    /// It fails.
    ApiFails,
    /// Watches end.
    WatchesCut,
    /// Watches end, and the history that they would resume at is gone.
    HistoryLost,
    /// Events come twice.
    EventsTwice,
    /// Lists hold nothing.
    ListsEmpty,
    /// A pod ends as it should while another of its node is ready.
    PodReplaced,
    /// A pod is not ready for a while.
    PodUnready,
    /// A node is called not ready although it answers.
    NodeUnready,
    /// The leading controller is stopped and goes on later.
    LeaderStopped,
    /// A controller is killed, and another starts.
    ControllerKilled,
    /// A tenant changes what it has without a pause.
    Flood,
    /// Secrets come and go.
    Secrets,
}

impl Event {
    pub(super) const ALL: [Self; 16] = [
        Self::ApiAway,
        Self::ApiHangs,
        Self::ApiSlow,
        Self::ApiBusy,
        Self::ApiFails,
        Self::WatchesCut,
        Self::HistoryLost,
        Self::EventsTwice,
        Self::ListsEmpty,
        Self::PodReplaced,
        Self::PodUnready,
        Self::NodeUnready,
        Self::LeaderStopped,
        Self::ControllerKilled,
        Self::Flood,
        Self::Secrets,
    ];

    /// Until it is over. `number` tells it from others of its kind.
    pub(super) async fn happens(self, stage: &mut Stage, node: &str, held: Duration, number: usize) {
        let faults = stage.objects.api().faults().clone();
        let any = RequestMatch::any;
        // Two pods of each tenant are on each node; this one goes.
        let tenant = TENANTS[number % TENANTS.len()];
        let pod = node.strip_prefix('n').and_then(|place| place.parse::<u8>().ok()).unwrap_or(1) - 1;
        let name = format!("{}-{pod}", tenant.app);
        match self {
            Self::ApiAway => {
                faults.refuse_connections().await;
                sleep(held).await;
                faults.accept_connections().await.unwrap();
            }
            Self::ApiHangs => {
                faults.freeze();
                sleep(held).await;
                faults.thaw();
            }
            Self::ApiSlow => faults.add(any(), Fault::Delay(held / 2), Some(20)),
            Self::ApiBusy => faults.answer(any(), 429, Some(1), Some(20)),
            Self::ApiFails => faults.answer(any(), 500, None, Some(20)),
            Self::WatchesCut => faults.cut_watches(any()),
            Self::HistoryLost => {
                faults.compact();
                faults.cut_watches(any());
            }
            Self::EventsTwice => {
                faults.double_events(any());
                sleep(held).await;
            }
            Self::ListsEmpty => {
                faults.add(any().verb("watch"), Fault::EmptyList, Some(4));
                faults.compact();
                faults.cut_watches(any());
                sleep(held).await;
            }
            Self::PodReplaced => {
                let grace = Duration::from_secs(2);
                stage.cluster.terminate_pod(tenant.namespace, &name, held, grace).await.unwrap();
                stage.run_pod_in(tenant.namespace, tenant.app, pod, node);
            }
            Self::PodUnready => {
                stage.cluster.set_ready(tenant.namespace, &name, false).unwrap();
                sleep(held).await;
                stage.cluster.set_ready(tenant.namespace, &name, true).unwrap();
            }
            Self::NodeUnready => {
                stage.cluster.set_node_ready(node, false).unwrap();
                sleep(held).await;
                stage.cluster.set_node_ready(node, true).unwrap();
                // Its pods lost their readiness with it, and the kubelet finds them ready again.
                for tenant in TENANTS {
                    for number in [pod, pod + 3] {
                        stage.cluster.set_ready(tenant.namespace, &format!("{}-{number}", tenant.app), true).unwrap();
                    }
                }
            }
            Self::LeaderStopped => {
                stage.programs["controller"].signal(Signal::STOP);
                sleep(held).await;
                stage.programs["controller"].signal(Signal::CONT);
            }
            Self::ControllerKilled => {
                stage.programs.remove("second-controller").unwrap().kill().await;
                sleep(held).await;
                stage.start_controller_as("second-controller");
            }
            Self::Flood => {
                for turn in 0..20 {
                    for place in 0..20 {
                        let host = format!("flood{place}.{ZONE}");
                        let service = [tenant.app, "nowhere"][turn % 2];
                        stage.put(&route_in(tenant.namespace, &format!("flood{place}"), &host, service));
                    }
                    sleep(Duration::from_millis(5)).await;
                }
                for place in 0..20 {
                    let host = format!("flood{place}.{ZONE}");
                    stage.delete(&route_in(tenant.namespace, &format!("flood{place}"), &host, tenant.app));
                }
            }
            Self::Secrets => {
                for turn in 0..10 {
                    let identity = stage.ca.identity(&[&format!("turn{turn}.{ZONE}")]).unwrap();
                    stage.put(&secret("rotating", &identity.certificate, &identity.key));
                }
                stage.delete(&secret("rotating", "", ""));
            }
        }
        // Those that count down by themselves end here at the latest.
        faults.clear();
    }
}
