//! New connections of TLS, each with one small request, then closed: running proxies come in, how many each takes for a second of
//! processor time goes to the report, with whole handshakes and with resumed sessions.

use super::client::{Connection, Sink, Target, Transport};
use super::load::{self, Counted, Counters, Load};
use super::metric::Metric;
use super::peers::Running;
use super::report::Report;
use super::size::Size;
use super::{Group, in_turn};
use anyhow::{Result, ensure};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Tells what is going to be measured.
pub(super) fn expect(peers: u32, size: &Size, report: &mut Report) {
    for (case, _) in CASES {
        report.expect(Group::Connections, case, load::expected(size.window, CLIENTS) * peers * size.rounds);
    }
}

/// Measures both kinds.
pub(super) async fn measure(running: &[Running], size: &Size, report: &mut Report) -> Result<()> {
    for (case, resumed) in CASES {
        report.begin_case(Group::Connections, case);
        for round in 0..size.rounds {
            for proxy in in_turn(running, round) {
                let measured = one(proxy, resumed, size).await;
                report.note(Group::Connections, case, &proxy.peer.name, measured);
            }
        }
        report.progress(Group::Connections, case);
    }
    Ok(())
}

async fn one(proxy: &Running, resumed: bool, size: &Size) -> Result<Vec<(Metric, f64)>> {
    let resuming = proxy.target.resuming();
    let load = Load { running: proxy, workers: CLIENTS, window: size.window, counted: Counted::Finished };
    let measured = load
        .measure(|target, counters| connect(if resumed { resuming.clone() } else { target }, resumed, counters))
        .await?;
    ensure!(measured.done > 0, "no connection was made");
    Ok(vec![
        (Metric::ConnectionsPerProcessorSecond, measured.done as f64 / measured.processor.as_secs_f64()),
        (Metric::ConnectionsPerSecond, measured.done as f64 / measured.took.as_secs_f64()),
        (Metric::Unserved, f64::from(measured.unserved)),
    ])
}

/// Connects again and again; of the first connections of all clients there is nothing to resume yet.
async fn connect(target: Target, resumed: bool, counters: Arc<Counters>) -> Result<()> {
    counters.connected().await;
    let first = AtomicU64::new(0);
    for number in 0_u64.. {
        let mut connection = Connection::open(&target, Transport::Tls).await?;
        if number > FIRST {
            ensure!(connection.is_resumed() == resumed, "sessions are {}resumed", if resumed { "not " } else { "" });
        }
        if number > FIRST {
            connection.get(1, Sink::Count(&counters.bytes)).await?;
            counters.done.fetch_add(1, Ordering::Relaxed);
        } else {
            connection.get(1, Sink::Count(&first)).await?;
        }
    }
    Ok(())
}

/// And whether sessions are resumed.
const CASES: [(&str, bool); 2] = [("whole handshakes", false), ("resumed sessions", true)];
/// At a time.
const CLIENTS: u32 = 8;
/// Tickets are there after so many connections of each client.
const FIRST: u64 = 2;
