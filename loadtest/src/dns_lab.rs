//! The DNS lab: clients of four caching habits ask a cluster on this machine without a pause, while a pod moves, routers are
//! replaced and restarted, a node is drained and one dies. Options come in from `main`; what happened, a table for each habit and
//! the verdict go out. Every request must be answered, by the node that was asked, and no name may be without an address.

mod explanation;
mod load;
mod name_server;
mod objects;
mod report;
mod script;
mod stage;
mod tally;
mod times;
mod watcher;

use crate::demo::stopped;
use crate::demo::view::View;
use crate::report_directory::report_directory;
use anyhow::Result;
use load::Load;
use report::Report;
use stage::Stage;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use times::Times;
use watcher::Watcher;

/// What the lab is told.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Use the times of a production cluster: records live 30 s, browsers keep them 60 s, routers wait as long as they do by
    /// default. Takes a quarter of an hour; without it records live 5 s, browsers keep them 10 s, and routers wait accordingly
    #[arg(long)]
    pub real_times: bool,

    /// Requests a second of each of the sixteen clients
    #[arg(long, env = "NEARSIDE_LAB_RATE", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub rate: u32,

    /// Who answers DNS: the embedded server, or a real one that `nearside-dns-sync publish` updates
    #[arg(long, value_enum, default_value_t = Answering::Embedded)]
    pub name_server: Answering,

    /// Where the report and the programs' logs go. Default: a new directory in the system's temporary one
    #[arg(long, env = "NEARSIDE_REPORT", value_name = "DIR")]
    pub report: Option<PathBuf>,

    /// Use loopback addresses even when root: no network namespaces, so links are not counted or cut
    #[arg(long)]
    pub loopback: bool,
}

/// Who answers DNS in the lab.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Answering {
    /// `nearside-dns-sync serve`.
    Embedded,
    /// BIND, updated by `nearside-dns-sync publish`.
    Bind,
    /// Knot, updated likewise.
    Knot,
    /// PowerDNS, updated likewise.
    Powerdns,
}

/// Plays the whole scenario. `false` when a request failed, a byte crossed nodes, or a name was without an address.
///
/// # Errors
/// When the cluster cannot be built, a program does not start or ends early, DNS does not follow, or a signal asks to stop.
pub async fn run(options: &Options) -> Result<bool> {
    let directory = report_directory(options.report.as_deref(), "nearside-dns-lab")?;
    // Dropping the stage removes programs and namespaces, on every way out.
    tokio::select! {
        outcome = play(options, &directory) => outcome,
        outcome = stopped() => { outcome?; anyhow::bail!("stopped by a signal; the cluster is removed") }
    }
}

async fn play(options: &Options, directory: &Path) -> Result<bool> {
    let view = Arc::new(View::new());
    let times = Times::new(options.real_times);
    view.event("times", &times.to_string());
    let mut stage = Stage::build(options, times, directory, &view).await?;
    stage.settle().await?;
    let watcher = Watcher::start(&stage, view.clone());
    let load = Load::start(&stage, options.rate, view.clone());
    let played = script::play(&mut stage, &load, &watcher, &view).await;
    let tallies = load.stop().await;
    let names = watcher.stop().await;
    let crossings = stage.network.crossings()?;
    // What was seen until something went wrong is what tells why: the report is written in any case.
    let report = Report::new(&stage, tallies, names, crossings, &view, played.as_ref().err()).explained(directory);
    view.finish();
    report.write(directory)?;
    view.print(&report.text());
    view.print(&format!("report and logs: {}\n", directory.display()));
    stage.end().await;
    played?;
    Ok(report.passed())
}
