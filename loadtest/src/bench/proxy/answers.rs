//! Small answers over kept connections: running proxies come in, how many each gives for a second of processor time, and how late at a
//! steady rate, goes to the report.

use super::client::Transport;
use super::cores::Cores;
use super::load;
use super::pace::Pace;
use super::peers::Running;
use super::report::{Metric, Report};
use super::size::{SMALL, Size};
use super::{Group, in_turn};
use crate::bench::statistics::Samples;
use crate::bench::usage::Processor;
use anyhow::{Result, ensure};
use std::time::Duration;

/// Measures both paces over every transport.
pub(super) async fn measure(running: &[Running], size: &Size, cores: Cores, report: &mut Report) -> Result<()> {
    for transport in Transport::ALL {
        let full = format!("{}, as many as are answered", transport.name());
        let steady = format!("{}, {} a second", transport.name(), size.rate);
        for round in 0..size.rounds {
            for proxy in in_turn(running, round) {
                report.note(Group::Answers, &full, &proxy.peer.name, without_pause(proxy, transport, size).await);
            }
        }
        report.progress(Group::Answers, &full);
        for round in 0..size.rounds {
            for proxy in in_turn(running, round) {
                report.note(Group::Answers, &steady, &proxy.peer.name, at_a_rate(proxy, transport, size, cores).await);
            }
        }
        report.progress(Group::Answers, &steady);
    }
    Ok(())
}

async fn without_pause(proxy: &Running, transport: Transport, size: &Size) -> Result<Vec<(Metric, f64)>> {
    let measured = load::measure(proxy, CONNECTIONS, size.window, |target, counters| {
        load::fetch(target, transport, SMALL, counters)
    })
    .await?;
    ensure!(measured.done > 0, "nothing was answered");
    Ok(vec![
        (Metric::AnswersPerProcessorSecond, measured.done as f64 / measured.processor.as_secs_f64()),
        (Metric::AnswersPerSecond, measured.done as f64 / measured.took.as_secs_f64()),
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
