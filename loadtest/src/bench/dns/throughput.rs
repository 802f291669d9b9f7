//! Queries per second of processor time: every server holds the same zone and is asked the same queries by the same sockets, in turn
//! in each round, so that whatever else the machine does meets all alike. Called by `dns`.

use super::Options;
use super::generator::{self, Answers, Pace};
use super::peers::{Peer, Running};
use super::report::Report;
use super::zone::{Prepared, Zone};
use crate::bench::statistics::Samples;
use crate::bench::usage::Processor;
use anyhow::{Context as _, Result, ensure};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What one server did in one round.
struct Turn {
    per_processor_second: f64,
    per_second: f64,
    octets: f64,
}

/// Measures all servers.
pub(super) async fn measure(zone: &Zone, options: &Options, directory: &Path, report: &mut Report) -> Result<()> {
    let queries = Arc::new(zone.queries()?);
    let mut servers = Vec::new();
    for peer in Peer::ALL {
        servers.push(peer.start(zone, directory).await?);
    }
    let length = Duration::from_secs(options.seconds.into());
    for (name, pace) in [("steady rate", Pace::Steady(options.rate)), ("as many as are answered", Pace::Full)] {
        let mut turns: Vec<Vec<Turn>> = servers.iter().map(|_| Vec::new()).collect();
        // What a server does once, such as to give memory to its threads, is over after the first round.
        for round in 0..=options.rounds {
            for (server, turns) in servers.iter().zip(&mut turns) {
                let turn = turn(server, &queries, pace, length).await?;
                if round > 0 {
                    turns.push(turn);
                }
            }
        }
        for (server, turns) in servers.iter().zip(&turns) {
            let of = |value: fn(&Turn) -> f64| Samples::new(turns.iter().map(value).collect());
            report.throughput(
                name,
                server.peer.name(),
                &of(|turn| turn.per_processor_second),
                &of(|turn| turn.per_second),
                of(|turn| turn.octets).median(),
            );
        }
    }
    Ok(())
}

async fn turn(server: &Running, queries: &Arc<Vec<Prepared>>, pace: Pace, length: Duration) -> Result<Turn> {
    let (address, queries) = (server.address, Arc::clone(queries));
    let (begin, used) = (Instant::now(), Processor::of(server.process())?);
    let answers: Answers = tokio::task::spawn_blocking(move || generator::ask(address, &queries, pace, length))
        .await?
        .with_context(|| server.peer.name())?;
    let (took, used) = (begin.elapsed(), Processor::of(server.process())?.since(&used));
    ensure!(answers.right > 0, "{} answered nothing", server.peer.name());
    ensure!(
        answers.lost * LOSS < answers.right,
        "{}: {} of {} queries were lost",
        server.peer.name(),
        answers.lost,
        answers.right + answers.lost
    );
    let right = answers.right as f64;
    Ok(Turn {
        per_processor_second: right / used.as_secs_f64().max(f64::EPSILON),
        per_second: right / took.as_secs_f64(),
        octets: answers.octets as f64 / right,
    })
}

/// One query in so many may get lost.
const LOSS: u64 = 50;
