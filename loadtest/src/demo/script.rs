//! What happens to the cluster during the demo: a pod moves from one node to another, then a node dies. Orders go to the lab,
//! events to the view; each step waits until DNS shows its effect. Called by `demo`.

use super::hosts::MOVING;
use super::stage::{GRACE, NOTICE, Stage, pod};
use super::traffic::Traffic;
use super::view::View;
use anyhow::{Result, bail};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::Instant;

/// Plays the whole script; the traffic runs meanwhile.
pub(super) async fn play(stage: &mut Stage, traffic: &Traffic, view: &View) -> Result<()> {
    let names: Vec<String> = stage.network.nodes().iter().map(|node| node.name().to_owned()).collect();
    let [first, second, .., last] = &names[..] else { bail!("the demo needs three nodes") };
    act(stage, traffic, view, Duration::from_secs(5)).await?;

    view.event("move", &format!("pod mover-1 on {first} gets a successor, mover-2 on {second}"));
    stage.cluster.run_pod(pod(stage, "demo", "mover", 2, second)?)?;
    let asked = Instant::now();
    wait_for_nodes(stage, traffic, view, MOVING, |nodes| nodes.contains(second)).await?;
    view.event("dns", &format!("{MOVING} has {second} after {}", since(asked)));
    act(stage, traffic, view, Duration::from_secs(1)).await?;

    view.event(
        "move",
        &format!("mover-1 on {first} is deleted; clients that still know {first} are redirected to {second}"),
    );
    let cluster = stage.cluster.clone();
    let end = tokio::spawn(async move { cluster.terminate_pod("demo", "mover-1", NOTICE, GRACE).await });
    let asked = Instant::now();
    wait_for_nodes(stage, traffic, view, MOVING, |nodes| nodes.len() == 1 && nodes.contains(second)).await?;
    view.event("dns", &format!("{MOVING} is only at {second} after {}", since(asked)));
    act(stage, traffic, view, Duration::from_secs(5)).await?;
    end.await??;

    let how = if stage.network.has_links() { "link cut, proxy and pods killed" } else { "proxy and pods killed" };
    view.event("death", &format!("node {last} dies without a word: {how}"));
    traffic.node_dies(last);
    stage.kill_node(last).await?;
    act(stage, traffic, view, DETECTION).await?;
    stage.cluster.set_node_ready(last, false)?;
    view.event("death", &format!("Kubernetes notices: node {last} is NotReady, its pods are unready"));
    let asked = Instant::now();
    let hosts: Vec<String> = stage.names();
    for host in &hosts {
        wait_for_nodes(stage, traffic, view, host, |nodes| !nodes.contains(last) && !nodes.is_empty()).await?;
    }
    view.event("dns", &format!("no host has {last} any more after {}", since(asked)));
    act(stage, traffic, view, Duration::from_secs(6)).await
}

/// Lets the traffic run for a while and shows it.
async fn act(stage: &mut Stage, traffic: &Traffic, view: &View, length: Duration) -> Result<()> {
    let end = Instant::now() + length;
    while Instant::now() < end {
        show(stage, traffic, view)?;
        tokio::time::sleep(REFRESH.min(end.saturating_duration_since(Instant::now()))).await;
    }
    Ok(())
}

async fn wait_for_nodes(
    stage: &mut Stage,
    traffic: &Traffic,
    view: &View,
    host: &str,
    wanted: impl Fn(&BTreeSet<String>) -> bool,
) -> Result<()> {
    let (deadline, mut shown) = (Instant::now() + PATIENCE, Instant::now());
    loop {
        let nodes = stage.published(host).await?;
        if wanted(&nodes) {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!(
                "{host}: DNS still answers with {nodes:?} after {PATIENCE:?}; see the logs of controller and dns-sync"
            );
        }
        if shown.elapsed() > REFRESH {
            shown = Instant::now();
            show(stage, traffic, view)?;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn show(stage: &mut Stage, traffic: &Traffic, view: &View) -> Result<()> {
    stage.check()?;
    view.status(&traffic.status(super::crossed(stage)));
    Ok(())
}

fn since(start: Instant) -> String {
    format!("{} ms", start.elapsed().as_millis())
}

/// Kubernetes takes 40 seconds by default (`--node-monitor-grace-period`); nothing is learned by waiting that long here.
const DETECTION: Duration = Duration::from_secs(3);
const PATIENCE: Duration = Duration::from_secs(30);
const REFRESH: Duration = Duration::from_millis(500);
