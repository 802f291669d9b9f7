//! Large answers: running proxies come in, the processor time of each GB goes to the report, for every transport, size and number of
//! downloads at a time.

use super::client::Transport;
use super::load::{self, Counted, Load};
use super::metric::Metric;
use super::peers::Running;
use super::report::Report;
use super::size::Size;
use super::{Group, in_turn};
use anyhow::{Result, ensure};

/// So many downloads of an object at a time.
#[derive(Clone, Debug)]
struct Case {
    transport: Transport,
    bytes: u64,
    concurrency: u32,
}

/// Tells what is going to be measured.
pub(super) fn expect(peers: u32, size: &Size, report: &mut Report) {
    for case in cases(size) {
        report.expect(
            Group::Downloads,
            &case.name(),
            load::expected(size.window, case.concurrency) * peers * size.rounds,
        );
    }
}

/// Measures all cases.
pub(super) async fn measure(running: &[Running], size: &Size, report: &mut Report) -> Result<()> {
    for case in cases(size) {
        let name = case.name();
        report.begin_case(Group::Downloads, &name);
        for round in 0..size.rounds {
            for proxy in in_turn(running, round) {
                let measured = one(proxy, &case, size).await;
                report.note(Group::Downloads, &name, &proxy.peer.name, measured);
            }
        }
        report.progress(Group::Downloads, &name);
    }
    Ok(())
}

fn cases(size: &Size) -> Vec<Case> {
    let mut cases = Vec::new();
    for transport in Transport::ALL {
        for bytes in &size.bytes {
            let with = |concurrency: &u32| Case { transport, bytes: *bytes, concurrency: *concurrency };
            cases.extend(size.concurrency.iter().map(with));
        }
    }
    cases
}

async fn one(proxy: &Running, case: &Case, size: &Size) -> Result<Vec<(Metric, f64)>> {
    let (workers, window) = (case.concurrency, size.window);
    let load = Load { running: proxy, workers, window, counted: Counted::Bytes };
    let measured = load.measure(|target, counters| load::fetch(target, case.transport, case.bytes, counters)).await?;
    ensure!(measured.bytes > 0, "nothing came");
    let gigabytes = measured.bytes as f64 / 1e9;
    Ok(vec![
        (Metric::SecondsPerGigabyte, measured.processor.as_secs_f64() / gigabytes),
        (Metric::MegabytesPerSecond, gigabytes * 1e3 / measured.took.as_secs_f64()),
        (Metric::Unserved, f64::from(measured.unserved)),
        (Metric::Sent, measured.sent),
    ])
}

impl Case {
    fn name(&self) -> String {
        format!("{}, {}, {} at a time", self.transport.name(), amount(self.bytes), self.concurrency)
    }
}

/// `64 MiB` for what is a whole number of them.
fn amount(bytes: u64) -> String {
    if bytes.is_multiple_of(1 << 20) { format!("{} MiB", bytes >> 20) } else { format!("{bytes} bytes") }
}
