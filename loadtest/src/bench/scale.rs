//! The control plane at the size of a large cluster: a generated cluster goes into the fake API, a real proxy and a real
//! controller read it, and what they cost comes out: time to start, memory, bytes watched, processor time for each event, and
//! the time from an event to the answer that shows it.

mod churn;
mod compare;
mod latency;
mod meter;
mod objects;
mod process;
mod report;
mod stage;
mod world;

use crate::report_directory::report_directory;
use anyhow::Result;
use churn::Churn;
use report::Report;
use stage::Stage;
use std::path::PathBuf;
use world::World;

/// What the benchmark is told.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Nodes of the cluster
    #[arg(long, env = "NEARSIDE_BENCH_NODES", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(2..=5_000))]
    pub nodes: u32,

    /// Pods of the cluster, spread evenly over the nodes and the Services
    #[arg(long, env = "NEARSIDE_BENCH_PODS", default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(20..=1_000_000))]
    pub pods: u32,

    /// Services of the cluster
    #[arg(long, env = "NEARSIDE_BENCH_SERVICES", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(2..=100_000))]
    pub services: u32,

    /// Routes and Ingresses of the cluster
    #[arg(long, env = "NEARSIDE_BENCH_ROUTES", default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(4..=200_000))]
    pub routes: u32,

    /// Events of each kind
    #[arg(long, env = "NEARSIDE_BENCH_EVENTS", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(4..=1_000_000))]
    pub events: u32,

    /// Events a second while the processor time is measured
    #[arg(long, env = "NEARSIDE_BENCH_RATE", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub rate: u32,

    /// Where the figures and the programs' logs go. Default: a new directory in the system's temporary one
    #[arg(long, env = "NEARSIDE_REPORT", value_name = "DIR")]
    pub report: Option<PathBuf>,
}

/// Runs the benchmark and prints the figures.
///
/// # Errors
/// When a program does not start, ends early, or does not follow the cluster.
pub async fn run(options: &Options) -> Result<()> {
    let directory = report_directory(options.report.as_deref(), "nearside-bench")?;
    let world = World::new(options);
    let mut report = Report::new(options);
    report.say(&format!(
        "the cluster: {} nodes, {} pods, {} Services, {} Routes and Ingresses",
        world.nodes, world.pods, world.services, world.routes
    ));
    let mut stage = Stage::build(world, &directory, &mut report).await?;
    stage.start_proxy(&mut report).await?;
    stage.start_controller(&mut report).await?;
    for churn in Churn::ALL {
        churn::measure(&mut stage, churn, options, &mut report).await?;
    }
    latency::measure(&mut stage, options, &mut report).await?;
    churn::flood(&mut stage, options, &mut report).await?;
    stage.end().await;
    compare::measure(options, &directory, &mut report).await?;
    report.write(&directory)
}
