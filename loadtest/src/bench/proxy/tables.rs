//! A large table: Nearside reads a cluster of many hosts from a fake API; what it holds, what finding a host costs, how late a change
//! shows, and how late requests and downloads are while endpoints change all the time, goes to the report. Quiet runs are made while as
//! many endpoints change on another node: the API does the same work then, and Nearside hears of none of it.

mod objects;
mod stage;

use super::Group;
use super::client::{Answer, Connection, Sink, Target, Transport};
use super::load::{self, Counted, Load};
use super::metric::Metric;
use super::pace::Pace;
use super::peers::{NEARSIDE, World};
use super::report::Report;
use super::size::{SMALL, STALLED, Size};
use crate::bench::statistics::Samples;
use crate::bench::usage::{self, Processor};
use anyhow::{Result, bail, ensure};
use stage::{Changes, Stage};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::time::sleep;

/// Tells what is going to be measured.
pub(super) fn expect(_size: &Size, _report: &mut Report) {}

/// Measures a small and the large table.
pub(super) async fn measure(world: &World, size: &Size, report: &mut Report) -> Result<()> {
    let small = Some(SMALL_TABLE).filter(|small| *small < size.hosts);
    for hosts in small.into_iter().chain([size.hosts]) {
        let stage = Stage::build(world, hosts).await?;
        report.say(&format!("tables: {hosts} hosts: ready after {:.1} s", stage.took.as_secs_f64()));
        let case = format!("{hosts} hosts with {} paths", hosts * objects::PATHS);
        report.sample(Group::Tables, &format!("{case}, start"), NEARSIDE, Metric::Seconds, stage.took.as_secs_f64());
        let memory = usage::resident(stage.running.process)? as f64 / 1e6;
        report.sample(Group::Tables, &format!("{case}, after the start"), NEARSIDE, Metric::Megabytes, memory);
        let targets = stage.targets();
        for round in 0..size.rounds {
            let measured = lookups(&stage, &targets, size).await;
            report.note(Group::Tables, &format!("{case}, each small answer"), NEARSIDE, measured);
            let measured = shown(&stage).await;
            report.note(Group::Tables, &format!("{case}, from a change to its answer"), NEARSIDE, measured);
            // In another order each time, as with proxies.
            let quiet = [Changes::Elsewhere, Changes::Here];
            for place in 0..quiet.len() {
                let changes = quiet[(place + round as usize) % quiet.len()];
                let name = format!("{case}, {}", changes.name(size.changes));
                let running = stage.change(changes, size.changes);
                let requests = requests(&stage, &targets, size).await;
                let downloads = downloads(&stage, size).await;
                let each = cost(&stage, size).await;
                let made = running.end();
                report.note(Group::Tables, &format!("{name}, request"), NEARSIDE, requests);
                report.note(Group::Tables, &format!("{name}, 64 MiB download"), NEARSIDE, downloads);
                report.note(Group::Tables, &format!("{name}, each change"), NEARSIDE, each);
                let behind = made.is_none_or(|rate| rate < f64::from(size.changes) * 0.9);
                if behind {
                    report.say(&format!("tables: {name}: only {made:?} changes a second were made"));
                }
            }
        }
        report.progress_all(Group::Tables, &case);
        stage.end().await;
    }
    Ok(())
}

/// Processor time of a small answer, of hosts that are hardly ever asked for twice in a row.
async fn lookups(stage: &Stage, targets: &[Target], size: &Size) -> Result<Vec<(Metric, f64)>> {
    let targets: Arc<[Target]> = targets.into();
    let next = AtomicUsize::new(0);
    let running = &stage.running;
    let load = Load { running, workers: CONNECTIONS, window: size.window, counted: Counted::Finished };
    let measured = load
        .measure(|_, counters| {
            let first = next.fetch_add(STRIDE, Ordering::Relaxed);
            load::fetch_of(Arc::clone(&targets), first, Transport::Plain, SMALL, counters)
        })
        .await?;
    ensure!(measured.done > 0, "nothing was answered");
    Ok(vec![(Metric::MicrosecondsOfProcessor, measured.processor.as_secs_f64() * 1e6 / measured.done as f64)])
}

/// Latencies of small answers at a steady rate.
async fn requests(stage: &Stage, targets: &[Target], size: &Size) -> Result<Vec<(Metric, f64)>> {
    let mut pace = Pace::start(targets, Transport::Plain, SMALL, RATE, CONNECTIONS, stage.cores).await?;
    sleep(size.window).await;
    pace.take()?;
    sleep(size.window * LONGER).await;
    let latencies = pace.take()?;
    drop(pace);
    ensure!(!latencies.is_empty(), "nothing was answered");
    let latencies = Samples::new(latencies);
    Ok(vec![
        (Metric::Median, latencies.median()),
        (Metric::P99, latencies.quantile(0.99)),
        (Metric::P999, latencies.quantile(0.999)),
    ])
}

/// How long a download takes, one at a time.
async fn downloads(stage: &Stage, size: &Size) -> Result<Vec<(Metric, f64)>> {
    let mut connection = Connection::open(&stage.steady(), Transport::Plain).await?;
    let (begin, count) = (Instant::now(), AtomicU64::new(0));
    let mut times = Vec::new();
    while times.is_empty() || begin.elapsed() < size.window {
        let begin = Instant::now();
        ensure!(connection.get(STALLED, Sink::Count(&count)).await? == Answer::Whole, "the connection was closed");
        times.push(begin.elapsed().as_secs_f64() * 1e3);
    }
    let times = Samples::new(times);
    Ok(vec![(Metric::Milliseconds, times.median()), (Metric::LongestMilliseconds, times.most())])
}

/// Processor time while nobody asks, for each change.
async fn cost(stage: &Stage, size: &Size) -> Result<Vec<(Metric, f64)>> {
    let (begin, used) = (Instant::now(), Processor::of(stage.running.process)?);
    sleep(size.window).await;
    let used = Processor::of(stage.running.process)?.since(&used);
    let changes = begin.elapsed().as_secs_f64() * f64::from(size.changes);
    Ok(vec![(Metric::MicrosecondsOfProcessor, used.as_secs_f64() * 1e6 / changes)])
}

/// The time from a pod's readiness to the answer that shows it.
async fn shown(stage: &Stage) -> Result<Vec<(Metric, f64)>> {
    let mut times = Vec::new();
    for number in 0..SHOWN * 2 {
        let ready = number % 2 == 1;
        let begin = Instant::now();
        stage.set_ready(0, ready)?;
        loop {
            let mut connection = Connection::open(&stage.changing(), Transport::Plain).await?;
            let count = AtomicU64::new(0);
            if connection.get(1, Sink::Count(&count)).await.is_ok_and(|answer| answer == Answer::Whole) == ready {
                break;
            }
            if begin.elapsed() > PATIENCE {
                bail!("a change does not show after {PATIENCE:?}");
            }
        }
        times.push(begin.elapsed().as_secs_f64() * 1e3);
    }
    let times = Samples::new(times);
    Ok(vec![(Metric::Milliseconds, times.median()), (Metric::LongestMilliseconds, times.most())])
}

/// Clients begin so many hosts apart.
const STRIDE: usize = 16;
const SMALL_TABLE: u32 = 1_000;
const CONNECTIONS: u32 = 64;
/// Requests a second while the table changes: what is measured is the proxy, not the queue of a full processor.
const RATE: u32 = 1_000;
/// Percentiles of latencies need more requests than processor time does.
const LONGER: u32 = 3;
/// Changes that are waited for in each round.
const SHOWN: u32 = 10;
const PATIENCE: Duration = Duration::from_secs(30);
