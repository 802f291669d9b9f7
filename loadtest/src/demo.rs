//! The demo: a cluster on this machine, the real programs in it, clients that fetch while a pod moves and a node dies. Options
//! come in from `main`; a live view, a table and a report go out. `run` tells whether all went as it must.

pub(crate) mod control;
mod hosts;
mod objects;
mod report;
mod script;
mod stage;
mod traffic;
pub(crate) mod view;

use crate::lab::counters;
use crate::report_directory::report_directory;
use anyhow::Result;
use report::Report;
use stage::Stage;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::signal::unix::{SignalKind, signal};
use traffic::Traffic;
use view::View;

/// What the demo is told.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// How many nodes the cluster has; the last one dies during the demo
    #[arg(long, env = "NEARSIDE_DEMO_NODES", default_value_t = 3, value_parser = clap::value_parser!(u8).range(3..=20))]
    pub nodes: u8,

    /// Leave the cluster and its programs running after the table, until Ctrl-C, to look around with kubectl and curl
    #[arg(long)]
    pub keep: bool,

    /// Where the report, the programs' logs and the kubeconfig go. Default: a new directory in the system's temporary one
    #[arg(long, env = "NEARSIDE_REPORT", value_name = "DIR")]
    pub report: Option<PathBuf>,

    /// Use loopback addresses even when root: no network namespaces, so links are not counted or cut
    #[arg(long)]
    pub loopback: bool,
}

/// Runs the whole demo. `false` when a request failed, a byte crossed nodes, or anything else was not as it must be.
///
/// # Errors
/// When the cluster cannot be built, a program does not start or ends early, or a signal asks to stop.
pub async fn run(options: &Options) -> Result<bool> {
    let directory = report_directory(options.report.as_deref(), "nearside-demo")?;
    let view = Arc::new(View::new());
    // Dropping the stage removes programs and namespaces, on every way out.
    let (stage, passed) = tokio::select! {
        outcome = play(options, directory, &view) => outcome?,
        outcome = stopped() => { outcome?; anyhow::bail!("stopped by a signal; the cluster is removed") }
    };
    if options.keep {
        view.print(&stage.directions());
        tokio::select! {
            outcome = stage.run_on() => outcome?,
            outcome = stopped() => outcome?,
        }
        view.print("removing the cluster\n");
    }
    stage.end().await;
    Ok(passed)
}

/// From nothing to the report.
async fn play(options: &Options, directory: PathBuf, view: &Arc<View>) -> Result<(Stage, bool)> {
    let mut stage = Stage::build(options, &directory, view).await?;
    stage.settle(view).await?;

    let clients = stage.network.clients().len();
    view.event("clients", &format!("{} hosts, {clients} clients; the traffic starts", stage.hosts.len()));
    let traffic = Traffic::start(&stage);
    let drama = script::play(&mut stage, &traffic, view).await;
    let tallies = traffic.stop(view).await;
    drama?;

    let crossings = stage.network.crossings()?;
    let report = Report::new(&stage, tallies, crossings, view).await?;
    view.finish();
    view.print(&report.table());
    report.write(&directory)?;
    view.print(&format!("\nreport and logs: {}\nKUBECONFIG={}\n", directory.display(), stage.kubeconfig.display()));
    Ok((stage, report.passed()))
}

/// Bytes that crossed so far, for the live view; `None` where there are no links to count.
fn crossed(stage: &Stage) -> Option<u64> {
    stage.network.has_links().then(|| stage.network.crossings().map(|all| counters::between_nodes(&all)).unwrap_or(0))
}

/// Waits for Ctrl-C or SIGTERM.
pub(crate) async fn stopped() -> Result<()> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
    Ok(())
}
