//! Small answers over kept connections: running proxies come in, how many each gives for a second of processor time, and how late at a
//! steady rate, goes to the report.

use super::client::Transport;
use super::cores::Cores;
use super::load::{self, Counted, Load};
use super::metric::Metric;
use super::pace::Pace;
use super::peers::Running;
use super::report::Report;
use super::size::{SMALL, Size};
use super::{Group, in_turn};
use crate::bench::statistics::Samples;
use crate::bench::usage::Processor;
use anyhow::{Result, ensure};
use std::time::Duration;

/// Small answers over one transport, at one pace.
#[derive(Clone, Copy, Debug)]
struct Case {
    transport: Transport,
    is_steady: bool,
}

/// Tells what is going to be measured.
pub(super) fn expect(peers: u32, size: &Size, report: &mut Report) {
    for case in cases() {
        report.expect(Group::Answers, &case.name(size), load::expected(size.window, CONNECTIONS) * peers * size.rounds);
    }
}

/// Measures both paces over every transport.
pub(super) async fn measure(running: &[Running], size: &Size, cores: Cores, report: &mut Report) -> Result<()> {
    for case in cases() {
        let name = case.name(size);
        report.begin_case(Group::Answers, &name);
        for round in 0..size.rounds {
            for proxy in in_turn(running, round) {
                let measured = if case.is_steady {
                    at_a_rate(proxy, case.transport, size, cores).await
                } else {
                    without_pause(proxy, case.transport, size).await
                };
                report.note(Group::Answers, &name, &proxy.peer.name, measured);
            }
        }
        report.progress(Group::Answers, &name);
    }
    Ok(())
}

fn cases() -> impl Iterator<Item = Case> {
    Transport::ALL.into_iter().flat_map(|transport| [false, true].map(|is_steady| Case { transport, is_steady }))
}

impl Case {
    fn name(self, size: &Size) -> String {
        let transport = self.transport.name();
        if self.is_steady {
            format!("{transport}, {} a second", size.rate)
        } else {
            format!("{transport}, as many as are answered")
        }
    }
}

async fn without_pause(proxy: &Running, transport: Transport, size: &Size) -> Result<Vec<(Metric, f64)>> {
    let load = Load { running: proxy, workers: CONNECTIONS, window: size.window, counted: Counted::Finished };
    let measured = load.measure(|target, counters| load::fetch(target, transport, SMALL, counters)).await?;
    ensure!(measured.done > 0, "nothing was answered");
    Ok(vec![
        (Metric::AnswersPerProcessorSecond, measured.done as f64 / measured.processor.as_secs_f64()),
        (Metric::AnswersPerSecond, measured.done as f64 / measured.took.as_secs_f64()),
        (Metric::Unserved, f64::from(measured.unserved)),
    ])
}

async fn at_a_rate(proxy: &Running, transport: Transport, size: &Size, cores: Cores) -> Result<Vec<(Metric, f64)>> {
    let targets = [proxy.target.clone()];
    let mut pace = Pace::start(&targets, transport, SMALL, size.rate, CONNECTIONS, cores).await?;
    tokio::time::sleep(size.window / 4).await;
    pace.take()?;
    let used = Processor::of(proxy.process)?;
    tokio::time::sleep(size.window).await;
    let latencies = pace.take()?;
    let processor = Processor::of(proxy.process)?.since(&used);
    drop(pace);
    tokio::time::sleep(SETTLE).await;
    ensure!(!latencies.is_empty() && !processor.is_zero(), "nothing was answered");
    let done = latencies.len() as f64;
    let latencies = Samples::new(latencies);
    Ok(vec![
        (Metric::AnswersPerProcessorSecond, done / processor.as_secs_f64()),
        (Metric::Median, latencies.median()),
        (Metric::P99, latencies.quantile(0.99)),
        (Metric::P999, latencies.quantile(0.999)),
    ])
}

const CONNECTIONS: u32 = 64;
const SETTLE: Duration = Duration::from_millis(60);
