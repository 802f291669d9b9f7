//! Upgrades under load: options come in from `main`; requests that failed while proxies handed their sockets on, shared their ports or
//! were killed, and the time until somebody listened again, go to the terminal and a directory.

mod clients;
mod exchange;
mod load;
mod node;
mod report;
mod tally;

use crate::report_directory::report_directory;
use anyhow::{Context as _, Result};
use load::Load;
use node::{Node, Succession};
use report::Report;
use std::path::PathBuf;
use std::time::Duration;

/// What the benchmark is told.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Upgrades by handing the listening sockets on (--handover-socket)
    #[arg(long, env = "NEARSIDE_BENCH_UPGRADES", default_value_t = 100, value_parser = clap::value_parser!(u32).range(0..=100_000))]
    pub upgrades: u32,

    /// Upgrades by sharing the ports (--share-ports), for comparison
    #[arg(long, env = "NEARSIDE_BENCH_SHARED", default_value_t = 20, value_parser = clap::value_parser!(u32).range(0..=100_000))]
    pub shared: u32,

    /// Times that the proxy is killed
    #[arg(long, env = "NEARSIDE_BENCH_CRASHES", default_value_t = 20, value_parser = clap::value_parser!(u32).range(0..=100_000))]
    pub crashes: u32,

    /// Requests a second: a quarter of them on new connections, the others on kept ones over HTTP/1.1, with TLS, and with HTTP/2
    #[arg(long, env = "NEARSIDE_BENCH_RATE", default_value_t = 400, value_parser = clap::value_parser!(u32).range(4..=100_000))]
    pub rate: u32,

    /// Clients of each kind that keep a connection; half of them ask ten times more rarely
    #[arg(long, env = "NEARSIDE_BENCH_CLIENTS", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub clients: u32,

    /// Where the figures and the programs' logs go. Default: a new directory in the system's temporary one
    #[arg(long, env = "NEARSIDE_REPORT", value_name = "DIR")]
    pub report: Option<PathBuf>,
}

/// Runs the benchmark and prints the figures; `false` where a request failed during handovers.
///
/// # Errors
/// When a proxy does not start, or ends otherwise than in order.
pub async fn run(options: &Options) -> Result<bool> {
    let directory = report_directory(options.report.as_deref(), "nearside-bench-upgrades")?;
    let mut report = Report::new(options);
    for (succession, times) in [(Succession::Handover, options.upgrades), (Succession::SharedPorts, options.shared)] {
        if times > 0 {
            upgrade(succession, times, options, &directory, &mut report).await.context(succession.name())?;
        }
    }
    if options.crashes > 0 {
        crash(options, &directory, &mut report).await.context("crashes")?;
    }
    report.write(&directory)?;
    Ok(report.is_good())
}

/// As a DaemonSet does it with a surge: the old one is told to end once the new one is ready.
async fn upgrade(
    succession: Succession,
    times: u32,
    options: &Options,
    directory: &std::path::Path,
    report: &mut Report,
) -> Result<()> {
    let mut node = Node::new(succession, directory)?;
    node.start().await?;
    let load = Load::start(node.target()?, options);
    tokio::time::sleep(PAUSE).await;
    for _ in 0..times {
        node.replace().await?;
        tokio::time::sleep(PAUSE).await;
    }
    let tally = load.end().await;
    node.end().await?;
    report.phase(succession.name(), times, &tally);
    Ok(())
}

async fn crash(options: &Options, directory: &std::path::Path, report: &mut Report) -> Result<()> {
    let mut node = Node::new(Succession::Crash, directory)?;
    node.start().await?;
    let load = Load::start(node.target()?, options);
    let mut listening = Vec::new();
    for _ in 0..options.crashes {
        tokio::time::sleep(PAUSE).await;
        listening.push(node.crash().await?);
    }
    tokio::time::sleep(PAUSE).await;
    let tally = load.end().await;
    node.end().await?;
    report.phase(Succession::Crash.name(), options.crashes, &tally);
    report.listening(&listening);
    Ok(())
}

/// Between two upgrades.
const PAUSE: Duration = Duration::from_millis(500);
