//! A steady stream of events of one kind: a stage comes in, what each event costs the programs in processor time and bytes goes
//! to the report.

use super::Options;
use super::objects::pod_name;
use super::process::Usage;
use super::report::Report;
use super::stage::{Actor, SETTLE, Stage};
use crate::api::ObjectRef;
use anyhow::Result;
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, interval};

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Churn {
    OwnReadiness,
    OtherReadiness,
    OwnPods,
    OtherPods,
    Routes,
}

impl Churn {
    pub(super) const ALL: [Self; 5] =
        [Self::OwnReadiness, Self::OtherReadiness, Self::OwnPods, Self::OtherPods, Self::Routes];

    fn name(self) -> &'static str {
        match self {
            Self::OwnReadiness => "a pod of the proxy's node turns ready or not",
            Self::OtherReadiness => "a pod of another node turns ready or not",
            Self::OwnPods => "a pod of the proxy's node comes or goes",
            Self::OtherPods => "a pod of another node comes or goes",
            Self::Routes => "a Route changes its path",
        }
    }

    /// The pods that it happens to.
    fn pods(self, stage: &Stage) -> Vec<u32> {
        let own = matches!(self, Self::OwnReadiness | Self::OwnPods);
        let stride = if own { 1 } else { stage.world.pods as usize / OTHER_PODS + 1 };
        let is_meant = |pod: &u32| (stage.world.node_of_pod(*pod) == 0) == own;
        (0..stage.world.pods).filter(is_meant).step_by(stride).collect()
    }
}

/// What was used up to a moment.
struct Reading {
    at: Instant,
    usages: Vec<(&'static str, Usage, u64)>,
}

impl Reading {
    fn take(stage: &Stage) -> Result<Self> {
        let actors = [("proxy", &stage.proxy), ("controller", &stage.controller)];
        let read = |(name, actor): (&'static str, &Option<Actor>)| {
            actor.as_ref().map(|actor| anyhow::Ok((name, actor.usage()?, actor.meter.received())))
        };
        Ok(Self { at: Instant::now(), usages: actors.into_iter().filter_map(read).collect::<Result<_>>()? })
    }
}

/// Makes the events at the rate that was asked for.
pub(super) async fn measure(stage: &mut Stage, churn: Churn, options: &Options, report: &mut Report) -> Result<()> {
    // What the programs do in any case is taken off.
    let calm = Reading::take(stage)?;
    tokio::time::sleep(SETTLE).await;
    let begin = Reading::take(stage)?;
    let placed = placement(stage).await?;
    make(stage, churn, options.events, options.rate).await?;
    tokio::time::sleep(SETTLE).await;
    let end = Reading::take(stage)?;
    let ((sum, count), (sum_then, count_then)) = (placement(stage).await?, placed);
    if count > count_then {
        let each = (sum - sum_then) / (count - count_then) * 1e3;
        report.value("event", &format!("controller: {}: placement of a snapshot takes", churn.name()), each, "ms");
    }
    let idle = (end.at - begin.at).as_secs_f64() / (begin.at - calm.at).as_secs_f64();
    for ((calm, begin), end) in calm.usages.iter().zip(&begin.usages).zip(&end.usages) {
        let used = (end.1.processor - begin.1.processor).as_secs_f64();
        let anyway = (begin.1.processor - calm.1.processor).as_secs_f64() * idle;
        let events = f64::from(options.events);
        let name = format!("{}: {}", end.0, churn.name());
        report.value("event", &format!("{name}: processor time"), (used - anyway).max(0.0) / events * 1e6, "µs");
        report.value("event", &format!("{name}: received"), (end.2 - begin.2) as f64 / events, "bytes");
    }
    Ok(())
}

/// The time that placement took so far, and for how many snapshots.
async fn placement(stage: &Stage) -> Result<(f64, f64)> {
    let Some(controller) = &stage.controller else { return Ok((0.0, 0.0)) };
    let name = "nearside_controller_placement_seconds";
    Ok((controller.metric(&format!("{name}_sum")).await?, controller.metric(&format!("{name}_count")).await?))
}

async fn make(stage: &mut Stage, churn: Churn, events: u32, rate: u32) -> Result<()> {
    let pods = churn.pods(stage);
    let mut clock = interval(Duration::from_secs(1) / rate);
    clock.set_missed_tick_behavior(MissedTickBehavior::Burst);
    for event in 0..events {
        clock.tick().await;
        // The programs may run on the same processors: each event is short.
        match churn {
            Churn::Routes => {
                let path = format!("/v{event}");
                stage.api.load(stage.world.route(event % stage.world.routes, Some(&path), &stage.ca)?)?;
            }
            _ => pod_event(stage, churn, pods[event as usize % pods.len()])?,
        }
    }
    Ok(())
}

fn pod_event(stage: &mut Stage, churn: Churn, pod: u32) -> Result<()> {
    let changes_readiness = matches!(churn, Churn::OwnReadiness | Churn::OtherReadiness);
    if changes_readiness {
        let ready = !stage.unready.remove(&pod);
        return set_ready(stage, pod, !ready);
    }
    if stage.gone.remove(&pod) {
        stage.api.load(stage.world.pod(pod, true))?;
    } else {
        stage.gone.insert(pod);
        let namespace = stage.world.namespace_of_service(stage.world.service_of_pod(pod));
        let name = pod_name(pod);
        stage.api.delete(ObjectRef { api_version: "v1", kind: "Pod", namespace: &namespace, name: &name })?;
    }
    write_slice(stage, pod)
}

/// The pod's own condition, and what the EndpointSlice controller makes of it.
pub(super) fn set_ready(stage: &mut Stage, pod: u32, ready: bool) -> Result<()> {
    if ready {
        stage.unready.remove(&pod)
    } else {
        stage.unready.insert(pod)
    };
    stage.api.load(stage.world.pod(pod, ready))?;
    write_slice(stage, pod)
}

fn write_slice(stage: &Stage, pod: u32) -> Result<()> {
    let service = stage.world.service_of_pod(pod);
    let of = |pods: &std::collections::BTreeSet<u32>| -> Vec<u32> {
        stage.world.pods_of_service(service).filter(|pod| pods.contains(pod)).collect()
    };
    stage.api.load(stage.world.slice(service, &of(&stage.unready), &of(&stage.gone)))?;
    Ok(())
}

/// As many changes of endpoints as a proxy must bear, for a while: the share of a processor that it takes.
pub(super) async fn flood(stage: &mut Stage, options: &Options, report: &mut Report) -> Result<()> {
    let begin = Reading::take(stage)?;
    make(stage, Churn::OwnReadiness, options.rate * FLOOD, options.rate * FLOOD_RATE).await?;
    let end = Reading::take(stage)?;
    let took = (end.at - begin.at).as_secs_f64();
    report.value("flood", "changes of endpoints a second", f64::from(options.rate * FLOOD) / took, "1/s");
    for (begin, end) in begin.usages.iter().zip(&end.usages) {
        let used = (end.1.processor - begin.1.processor).as_secs_f64();
        report.value("flood", &format!("{}: share of one processor", end.0), used / took * 100.0, "%");
    }
    let caught_up = super::latency::caught_up(stage).await?;
    report.value("flood", "proxy: the last change is answered by after", caught_up.as_secs_f64() * 1e3, "ms");
    Ok(())
}

/// Of the pods of other nodes, so many take part in the events.
const OTHER_PODS: usize = 5_000;
/// The flood, as multiples of the rate of single events, and how many in all.
const FLOOD_RATE: u32 = 10;
const FLOOD: u32 = 100;
