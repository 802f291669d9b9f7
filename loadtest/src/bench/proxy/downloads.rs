//! Large answers: running proxies come in, the processor time of each GB goes to the report, for every transport, size and number of
//! downloads at a time.

use super::client::Transport;
use super::load;
use super::peers::Running;
use super::report::{Metric, Report};
use super::size::Size;
use super::{Group, in_turn};
use anyhow::{Result, ensure};

/// Measures all cases.
pub(super) async fn measure(running: &[Running], size: &Size, report: &mut Report) -> Result<()> {
    for transport in Transport::ALL {
        for bytes in &size.bytes {
            for concurrency in &size.concurrency {
                let case = format!("{}, {}, {concurrency} at a time", transport.name(), amount(*bytes));
                for round in 0..size.rounds {
                    for proxy in in_turn(running, round) {
                        let measured = one(proxy, transport, *bytes, *concurrency, size).await;
                        report.note(Group::Downloads, &case, &proxy.peer.name, measured);
                    }
                }
                report.progress(Group::Downloads, &case);
            }
        }
    }
    Ok(())
}

async fn one(
    proxy: &Running,
    transport: Transport,
    bytes: u64,
    concurrency: u32,
    size: &Size,
) -> Result<Vec<(Metric, f64)>> {
    let measured = load::measure(proxy, concurrency, size.window, |target, counters| {
        load::fetch(target, transport, bytes, counters)
    })
    .await?;
    ensure!(measured.bytes > 0, "nothing came");
    let gigabytes = measured.bytes as f64 / 1e9;
    Ok(vec![
        (Metric::SecondsPerGigabyte, measured.processor.as_secs_f64() / gigabytes),
        (Metric::MegabytesPerSecond, gigabytes * 1e3 / measured.took.as_secs_f64()),
    ])
}

/// `64 MiB` for what is a whole number of them.
fn amount(bytes: u64) -> String {
    if bytes.is_multiple_of(1 << 20) { format!("{} MiB", bytes >> 20) } else { format!("{bytes} bytes") }
}
