//! A large table: Nearside reads a cluster of many hosts from a fake API; what it holds, what finding a host costs, how late a change
//! shows, and how late requests and downloads are while endpoints change all the time, goes to the report. Quiet and changing windows
//! take turns on the same process, so that whatever else the machine does meets both.

mod objects;
mod stage;
mod turns;

use super::Group;
use super::client::{Answer, Connection, Sink, Target, Transport};
use super::load::{self, Counted, Load};
use super::metric::Metric;
use super::peers::{NEARSIDE, World};
use super::report::Report;
use super::size::{SMALL, Size};
use crate::bench::statistics::Samples;
use crate::bench::usage;
use anyhow::{Result, bail, ensure};
use stage::Stage;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Tells what is going to be measured.
pub(super) fn expect(size: &Size, report: &mut Report) {
    for hosts in tables(size) {
        let name = name(hosts);
        report.expect(Group::Tables, &format!("{name}, start"), START + START_EACH * hosts);
        report.expect(Group::Tables, &format!("{name}, lookups"), (size.window * 2 + SHOWING) * size.rounds);
        report.expect(Group::Tables, &format!("{name}, quiet and changing"), turns::expected(size));
    }
}

/// Measures a small and the large table.
pub(super) async fn measure(world: &World, size: &Size, report: &mut Report) -> Result<()> {
    for hosts in tables(size) {
        let name = name(hosts);
        report.begin_case(Group::Tables, &format!("{name}, start"));
        let stage = Stage::build(world, hosts).await?;
        let memory = |report: &mut Report, when: &str| -> Result<()> {
            let megabytes = usage::resident(stage.running.process)? as f64 / 1e6;
            report.sample(Group::Tables, &format!("{name}, {when}"), NEARSIDE, Metric::Megabytes, megabytes);
            Ok(())
        };
        report.sample(Group::Tables, &format!("{name}, start"), NEARSIDE, Metric::Seconds, stage.took.as_secs_f64());
        memory(report, "after the start")?;
        let targets = stage.targets();
        report.begin_case(Group::Tables, &format!("{name}, lookups"));
        for _ in 0..size.rounds {
            let measured = lookups(&stage, &targets, size).await;
            report.note(Group::Tables, &format!("{name}, each small answer"), NEARSIDE, measured);
            let before = stage.taken_in().await?;
            let measured = shown(&stage, SHOWN).await.map(as_figures);
            report.note(Group::Tables, &format!("{name}, a change alone, until it shows"), NEARSIDE, measured);
            let figures = stage.taken_in().await?.since(&before);
            report.note(Group::Tables, &format!("{name}, a change alone"), NEARSIDE, Ok(figures));
        }
        report.begin_case(Group::Tables, &format!("{name}, quiet and changing"));
        turns::measure(&stage, &targets, &name, size, report).await?;
        memory(report, "after the changes")?;
        report.progress_all(Group::Tables, &name);
        stage.end().await;
    }
    Ok(())
}

fn tables(size: &Size) -> impl Iterator<Item = u32> {
    Some(SMALL_TABLE).filter(|small| *small < size.hosts).into_iter().chain([size.hosts])
}

fn name(hosts: u32) -> String {
    format!("{hosts} hosts with {} paths", hosts * objects::PATHS)
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

/// The times from a pod's readiness to the answer that shows it, of so many changes one after the other, in milliseconds.
async fn shown(stage: &Stage, changes: u32) -> Result<Vec<f64>> {
    let mut times = Vec::new();
    for number in 0..changes * 2 {
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
    Ok(times)
}

fn as_figures(times: Vec<f64>) -> Vec<(Metric, f64)> {
    let times = Samples::new(times);
    vec![(Metric::Milliseconds, times.median()), (Metric::LongestMilliseconds, times.most())]
}

/// Clients begin so many hosts apart.
const STRIDE: usize = 16;
const SMALL_TABLE: u32 = 1_000;
const CONNECTIONS: u32 = 64;
/// Changes that are waited for in each round.
const SHOWN: u32 = 10;
const PATIENCE: Duration = Duration::from_secs(30);
/// What these take, mostly.
const START: Duration = Duration::from_secs(1);
const START_EACH: Duration = Duration::from_micros(400);
const SHOWING: Duration = Duration::from_millis(500);
