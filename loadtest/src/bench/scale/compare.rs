//! What a proxy's cost grows with: clusters that differ in one size come in, what the proxy received and holds goes out for
//! each, beside each other.

use super::Options;
use super::report::Report;
use super::stage::{Stage, megabytes};
use super::world::World;
use anyhow::{Context as _, Result};
use std::path::Path;

/// Starts a proxy in each of the clusters, one after the other.
pub(super) async fn measure(options: &Options, directory: &Path, report: &mut Report) -> Result<()> {
    let tenth = World { pods: options.pods / 10, own_share: 10.min(options.nodes / 2), ..World::new(options) };
    let whole = World::new(options);
    let doubled = World { own_share: 2, ..World::new(options) };
    for (name, world) in
        [("a tenth of the pods", tenth), ("all pods", whole), ("all pods, twice as many on the node", doubled)]
    {
        let (pods, own) = (world.pods, world.own_pods().count());
        let mut quiet = Report::silent(options);
        let mut stage = Stage::build(world, directory, &mut quiet).await?;
        stage.start_proxy(&mut quiet).await?;
        let proxy = stage.proxy.as_ref().context("it was started")?;
        let (received, resident) = (proxy.meter.received(), proxy.usage()?.resident);
        let name = format!("{name} ({pods} pods, {own} of them on the node)");
        report.value("growth", &format!("{name}: received until ready"), megabytes(received), "MB");
        report.value("growth", &format!("{name}: resident"), megabytes(resident), "MB");
        stage.end().await;
    }
    Ok(())
}
