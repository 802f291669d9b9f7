//! DNS measured: options come in from `main`; queries per processor second of the embedded server beside BIND and Knot, and the
//! time from a written DNSEndpoint to the answers that show it, go to the terminal and a directory.

mod generator;
mod latency;
mod peers;
mod publishers;
mod report;
mod sight;
mod tap;
mod throughput;
mod zone;

use crate::report_directory::report_directory;
use anyhow::Result;
use report::Report;
use std::path::PathBuf;
use zone::Zone;

/// What the benchmark is told.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Hosts of the zone, with four addresses of each family
    #[arg(long, env = "NEARSIDE_BENCH_HOSTS", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(10..=20_000))]
    pub hosts: u32,

    /// Rounds in which each server is measured in turn
    #[arg(long, env = "NEARSIDE_BENCH_ROUNDS", default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub rounds: u32,

    /// Seconds for which each server is asked in a round, once with a steady rate and once with as many queries as it answers
    #[arg(long, env = "NEARSIDE_BENCH_SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=60))]
    pub seconds: u32,

    /// Queries a second of the steady rate
    #[arg(long, env = "NEARSIDE_BENCH_RATE", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(100..=1_000_000))]
    pub rate: u32,

    /// How many hosts change at once, for the latencies; repeatable
    #[arg(long, value_delimiter = ',', default_values_t = [1, 50, 500])]
    pub changes: Vec<u32>,

    /// Changes of each size
    #[arg(long, env = "NEARSIDE_BENCH_SAMPLES", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub samples: u32,

    /// Where the figures and the programs' logs go. Default: a new directory in the system's temporary one
    #[arg(long, env = "NEARSIDE_REPORT", value_name = "DIR")]
    pub report: Option<PathBuf>,
}

/// Runs the benchmark and prints the figures.
///
/// # Errors
/// When a server is missing, does not start, ends early, or answers otherwise than its zone says.
pub async fn run(options: &Options) -> Result<()> {
    let directory = report_directory(options.report.as_deref(), "nearside-bench-dns")?;
    let mut report = Report::new(options);
    let zone = Zone::new(options.hosts);
    throughput::measure(&zone, options, &directory, &mut report).await?;
    let latencies = latency::measure(options, &directory, &mut report).await;
    report.write(&directory)?;
    latencies
}
