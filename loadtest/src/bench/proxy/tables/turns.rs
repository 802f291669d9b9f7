//! Quiet and changing windows in turn: a stage comes in; latencies of small answers and of large downloads in both, their ratios, and
//! what a change costs, go to the report. In a quiet window as many endpoints change on another node, and somebody else watches them:
//! the API, which shares a processor with the clients, does the same work then, and Nearside hears of none of it.

use super::stage::{Changes, Stage};
use super::{CONNECTIONS, as_figures, shown};
use crate::bench::proxy::Group;
use crate::bench::proxy::client::{Answer, Connection, Sink, Target, Transport};
use crate::bench::proxy::metric::Metric;
use crate::bench::proxy::pace::Pace;
use crate::bench::proxy::peers::NEARSIDE;
use crate::bench::proxy::report::Report;
use crate::bench::proxy::size::{SMALL, STALLED, Size};
use crate::bench::statistics::Samples;
use crate::bench::usage::Processor;
use anyhow::{Result, ensure};
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};
use tokio::time::sleep;

/// The latencies of one kind in all windows of one kind: one median, 99th and 99.9th percentile a window.
#[derive(Debug, Default)]
struct Latencies([Vec<f64>; 3]);

/// Latencies of small answers, in microseconds, and of large downloads, in milliseconds.
#[derive(Debug, Default)]
struct Seen {
    requests: Latencies,
    downloads: Latencies,
}

/// How long all turns take, mostly.
pub(super) fn expected(size: &Size) -> Duration {
    let window = size.window * (1 + LONGER) + size.window * DOWNLOADING + size.window + OVERHEAD;
    window * 2 * turns(size)
}

/// Measures all turns of both.
pub(super) async fn measure(
    stage: &Stage,
    targets: &[Target],
    name: &str,
    size: &Size,
    report: &mut Report,
) -> Result<()> {
    let (mut quiet, mut changing) = (Seen::default(), Seen::default());
    for turn in 0..turns(size) {
        // Neither always comes after the other, and whatever grows meets both alike.
        let mut order = [Changes::Elsewhere, Changes::Here];
        if turn % 2 == 1 {
            order.reverse();
        }
        for changes in order {
            let name = format!("{name}, {}", changes.name(size.changes));
            let seen = if changes == Changes::Here { &mut changing } else { &mut quiet };
            window(stage, targets, changes, size, seen, &name, report).await?;
        }
    }
    ratios(&quiet.requests, &changing.requests, &format!("{name}, request"), report);
    ratios(&quiet.downloads, &changing.downloads, &format!("{name}, 64 MiB download"), report);
    Ok(())
}

fn turns(size: &Size) -> u32 {
    size.rounds * TURNS
}

async fn window(
    stage: &Stage,
    targets: &[Target],
    changes: Changes,
    size: &Size,
    seen: &mut Seen,
    name: &str,
    report: &mut Report,
) -> Result<()> {
    let running = stage.change(changes, size.changes)?;
    let before = stage.taken_in().await;
    let requests = requests(stage, targets, size).await.map(|latencies| seen.requests.take(latencies));
    let requests =
        requests.map(|[median, p99, p999]| vec![(Metric::Median, median), (Metric::P99, p99), (Metric::P999, p999)]);
    report.note(Group::Tables, &format!("{name}, request"), NEARSIDE, requests);
    let downloads = downloads(stage, size).await.map(|times| {
        let longest = Samples::new(times.clone()).most();
        let [median, p99, _] = seen.downloads.take(times);
        vec![(Metric::Milliseconds, median), (Metric::P99Milliseconds, p99), (Metric::LongestMilliseconds, longest)]
    });
    report.note(Group::Tables, &format!("{name}, 64 MiB download"), NEARSIDE, downloads);
    report.note(Group::Tables, &format!("{name}, each change"), NEARSIDE, cost(stage, size).await);
    if changes == Changes::Here {
        let figures = match (before, stage.taken_in().await) {
            (Ok(before), Ok(after)) => Ok(after.since(&before)),
            (Err(error), _) | (_, Err(error)) => Err(error),
        };
        report.note(Group::Tables, name, NEARSIDE, figures);
        let one = shown(stage, SHOWN).await.map(as_figures);
        report.note(Group::Tables, &format!("{name}, another change, until it shows"), NEARSIDE, one);
    }
    let made = running.end();
    if changes == Changes::Here {
        let one = shown(stage, 1).await.map(as_figures);
        report.note(Group::Tables, &format!("{name}, a change right after them, until it shows"), NEARSIDE, one);
    }
    if made.is_none_or(|rate| rate < f64::from(size.changes) * 0.9) {
        report.say(&format!("tables: {name}: only {made:?} changes a second were made"));
    }
    Ok(())
}

/// Of each turn, and of the medians of all.
fn ratios(quiet: &Latencies, changing: &Latencies, name: &str, report: &mut Report) {
    let percentiles = ["median", "99th percentile", "99.9th percentile"];
    for ((quiet, changing), percentile) in quiet.0.iter().zip(&changing.0).zip(percentiles) {
        let name = format!("{name}, {percentile}, changing to quiet");
        for (quiet, changing) in quiet.iter().zip(changing) {
            report.sample(Group::Tables, &format!("{name}, each turn"), NEARSIDE, Metric::Ratio, changing / quiet);
        }
        let median = |all: &[f64]| Samples::new(all.to_vec()).median();
        let ratio = median(changing) / median(quiet);
        report.sample(Group::Tables, &format!("{name}, of the medians"), NEARSIDE, Metric::Ratio, ratio);
    }
}

impl Latencies {
    fn take(&mut self, latencies: Vec<f64>) -> [f64; 3] {
        let samples = Samples::new(latencies);
        let quantiles = [0.5, 0.99, 0.999].map(|share| samples.quantile(share));
        for (all, quantile) in self.0.iter_mut().zip(quantiles) {
            all.push(quantile);
        }
        quantiles
    }
}

/// Latencies of small answers at a steady rate.
async fn requests(stage: &Stage, targets: &[Target], size: &Size) -> Result<Vec<f64>> {
    let mut pace = Pace::start(targets, Transport::Plain, SMALL, RATE, CONNECTIONS, stage.cores).await?;
    sleep(size.window).await;
    pace.take()?;
    sleep(size.window * LONGER).await;
    let latencies = pace.take()?;
    drop(pace);
    ensure!(!latencies.is_empty(), "nothing was answered");
    Ok(latencies)
}

/// How long downloads take, one at a time.
async fn downloads(stage: &Stage, size: &Size) -> Result<Vec<f64>> {
    let mut connection = Connection::open(&stage.steady(), Transport::Plain).await?;
    let (begin, count) = (Instant::now(), AtomicU64::new(0));
    let mut times = Vec::new();
    while times.is_empty() || begin.elapsed() < size.window * DOWNLOADING {
        let begin = Instant::now();
        ensure!(connection.get(STALLED, Sink::Count(&count)).await? == Answer::Whole, "the connection was closed");
        times.push(begin.elapsed().as_secs_f64() * 1e3);
    }
    Ok(times)
}

/// Processor time while nobody asks, for each change.
async fn cost(stage: &Stage, size: &Size) -> Result<Vec<(Metric, f64)>> {
    let (begin, used) = (Instant::now(), Processor::of(stage.running.process)?);
    sleep(size.window).await;
    let used = Processor::of(stage.running.process)?.since(&used);
    let changes = begin.elapsed().as_secs_f64() * f64::from(size.changes);
    Ok(vec![(Metric::MicrosecondsOfProcessor, used.as_secs_f64() * 1e6 / changes)])
}

/// Requests a second while the table changes: what is measured is the proxy, not the queue of a full processor.
const RATE: u32 = 1_000;
/// Percentiles of latencies need more requests than processor time does, ...
const LONGER: u32 = 3;
/// ... and those of downloads more downloads.
const DOWNLOADING: u32 = 2;
/// Of each kind, a round.
const TURNS: u32 = 2;
/// Changes that are waited for while others are made.
const SHOWN: u32 = 3;
const OVERHEAD: Duration = Duration::from_millis(400);
