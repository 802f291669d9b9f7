//! Nearside beside the proxies that one would take otherwise: options come in from `main`; what each costs for large answers, small
//! ones, new connections, idle ones and changes of its table goes to the terminal and a directory. All are measured in turn in each
//! round, bound to one processor, with the same backend and the same clients, which run on another.

mod answers;
mod backend;
mod client;
mod connections;
mod cores;
mod downloads;
mod load;
mod memory;
mod metric;
mod pace;
mod peers;
mod plot;
mod progress;
mod report;
mod size;
mod tables;

use crate::report_directory::report_directory;
use anyhow::{Context as _, Result};
use backend::Backend;
use cores::Cores;
use peers::{Peer, Running, World};
use report::Report;
pub(super) use size::Size;
use std::path::PathBuf;

/// What the benchmark is told.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// A run of a few minutes: fewer rounds, sizes and connections. Flags that say a number win
    #[arg(long, env = "NEARSIDE_BENCH_QUICK")]
    pub quick: bool,

    /// Measure only this group; repeatable
    #[arg(long, value_enum, value_delimiter = ',')]
    pub only: Vec<Group>,

    /// Rounds in which each proxy is measured in turn
    #[arg(long, env = "NEARSIDE_BENCH_ROUNDS", value_parser = clap::value_parser!(u32).range(1..=100))]
    pub rounds: Option<u32>,

    /// Milliseconds for which each proxy is measured in a round, for each case
    #[arg(long, env = "NEARSIDE_BENCH_WINDOW", value_parser = clap::value_parser!(u32).range(10..=60_000))]
    pub window: Option<u32>,

    /// Bytes of the downloads; repeatable
    #[arg(long, value_delimiter = ',', value_parser = clap::value_parser!(u64).range(1..=1 << 30))]
    pub bytes: Vec<u64>,

    /// Downloads at a time; repeatable
    #[arg(long, value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..=5_000))]
    pub concurrency: Vec<u32>,

    /// Requests a second of the steady rate, for small answers
    #[arg(long, env = "NEARSIDE_BENCH_RATE", value_parser = clap::value_parser!(u32).range(10..=1_000_000))]
    pub rate: Option<u32>,

    /// Idle connections, and idle WebSockets, whose memory is measured
    #[arg(long, env = "NEARSIDE_BENCH_IDLE", value_parser = clap::value_parser!(u32).range(1..=6_000))]
    pub idle: Option<u32>,

    /// Stalled downloads whose memory is measured
    #[arg(long, env = "NEARSIDE_BENCH_STALLED", value_parser = clap::value_parser!(u32).range(1..=2_000))]
    pub stalled: Option<u32>,

    /// Routes whose memory is measured, in every proxy
    #[arg(long, env = "NEARSIDE_BENCH_ROUTES", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub routes: Option<u32>,

    /// Hosts of the large table, each with three paths
    #[arg(long, env = "NEARSIDE_BENCH_HOSTS", value_parser = clap::value_parser!(u32).range(2..=1_000_000))]
    pub hosts: Option<u32>,

    /// Changes of endpoints a second, while requests and downloads are measured
    #[arg(long, env = "NEARSIDE_BENCH_CHANGES", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub changes: Option<u32>,

    /// Another build of nearside-proxy to measure beside; repeatable
    #[arg(long, value_name = "NAME=PATH", value_parser = build)]
    pub build: Vec<(String, PathBuf)>,

    /// A further flag of nearside-proxy; repeatable
    #[arg(long, value_name = "FLAG", allow_hyphen_values = true)]
    pub proxy_flag: Vec<String>,

    /// Leave all other proxies out
    #[arg(long)]
    pub alone: bool,

    /// Where the figures and the programs' logs go. Default: a new directory in the system's temporary one
    #[arg(long, env = "NEARSIDE_REPORT", value_name = "DIR")]
    pub report: Option<PathBuf>,
}

/// What is measured together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Group {
    /// Processor time for each GB of large answers
    Downloads,
    /// Small answers: how many for a second of processor time, and how late
    Answers,
    /// New TLS connections for a second of processor time
    Connections,
    /// What an idle connection, an idle WebSocket, a stalled download and a route hold
    Memory,
    /// A large table, and its changes while clients are served
    Tables,
}

/// Runs the benchmark and prints the figures.
///
/// # Errors
/// When a proxy does not start, or answers otherwise than the backend does.
pub async fn run(options: &Options) -> Result<()> {
    let options = options.clone();
    // A thread of its own, which is bound to a processor, and so is all that it starts.
    let thread = std::thread::Builder::new().name("clients".into()).spawn(move || {
        let cores = Cores::choose()?;
        Cores::bind(cores.client)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(measure(&options, cores))
    })?;
    let joined = tokio::task::spawn_blocking(move || thread.join()).await?;
    joined.map_err(|_| anyhow::anyhow!("the benchmark has failed; its words are above"))?
}

async fn measure(options: &Options, cores: Cores) -> Result<()> {
    let directory = report_directory(options.report.as_deref(), "nearside-bench-proxy")?;
    let size = Size::of(options);
    let backend = Backend::start(cores, size.largest())?;
    let world = World::new(cores, &directory, &backend, &options.proxy_flag)?;
    let (mut all, mut missing) = Peer::all(&options.build)?;
    if options.alone {
        all.retain(|peer| peer.is_nearside() || options.build.iter().any(|(name, _)| *name == peer.name));
        missing.clear();
    }
    let mut report = Report::new(&all, &missing, &size, cores);
    let wants = |group: Group| options.only.is_empty() || options.only.contains(&group);
    let peers = u32::try_from(all.len())?;
    if wants(Group::Downloads) {
        downloads::expect(peers, &size, &mut report);
    }
    if wants(Group::Answers) {
        answers::expect(peers, &size, &mut report);
    }
    if wants(Group::Connections) {
        connections::expect(peers, &size, &mut report);
    }
    if wants(Group::Memory) {
        memory::expect(peers, &size, &mut report);
    }
    if wants(Group::Tables) {
        tables::expect(&size, &mut report);
    }
    report.begin();
    if [Group::Downloads, Group::Answers, Group::Connections].into_iter().any(wants) {
        let mut running = Vec::new();
        for peer in &all {
            match start(peer, &world, &size).await {
                Ok(started) => running.push(started),
                Err(error) if peer.is_nearside() => return Err(error),
                // Others are not worth the whole run.
                Err(error) => report.left_out(&peer.name, &error),
            }
        }
        if wants(Group::Downloads) {
            downloads::measure(&running, &size, &mut report).await?;
            report.write(&directory)?;
        }
        if wants(Group::Answers) {
            answers::measure(&running, &size, cores, &mut report).await?;
            report.write(&directory)?;
        }
        if wants(Group::Connections) {
            connections::measure(&running, &size, &mut report).await?;
            report.write(&directory)?;
        }
    }
    if wants(Group::Memory) {
        memory::measure(&all, &world, &size, &mut report).await?;
        report.write(&directory)?;
    }
    if wants(Group::Tables) {
        tables::measure(&world, &size, &mut report).await?;
        report.write(&directory)?;
    }
    report.say(&format!("the figures are in {}", directory.display()));
    report.all_measured()
}

/// Starts a proxy and compares what it answers.
async fn start(peer: &Peer, world: &World, size: &Size) -> Result<Running> {
    let started = peer.start(world).await?;
    started.verify(&[1, 1024, 1 << 20, size.largest()]).await.with_context(|| peer.name.clone())?;
    Ok(started)
}

/// The proxies in another order in each round, so that none always comes after the same other one.
fn in_turn(running: &[Running], round: u32) -> impl Iterator<Item = &Running> {
    let first = round as usize % running.len().max(1);
    running[first..].iter().chain(&running[..first])
}

fn build(text: &str) -> Result<(String, PathBuf), String> {
    let (name, path) = text.split_once('=').ok_or("a build is NAME=PATH")?;
    let path = PathBuf::from(path);
    if name == peers::NEARSIDE || name.is_empty() {
        return Err(format!("{name:?} cannot be the name of another build"));
    }
    if !path.is_file() {
        return Err(format!("{} does not exist", path.display()));
    }
    Ok((name.to_owned(), path))
}
