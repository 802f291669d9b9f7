//! What lies about and is not used: each proxy is started anew for each case, and what its processes hold more with a number of idle
//! connections, of downloads that nobody reads, or of routes, goes to the report, for each of them. Memory of the kernel is not in it.

use super::Group;
use super::client::{Answer, Connection, Sink, Target, Transport};
use super::peers::{Peer, World};
use super::report::{Metric, Report};
use super::size::{STALLED, Size};
use crate::bench::usage;
use anyhow::{Result, ensure};
use std::sync::atomic::AtomicU64;
use std::time::Duration;
use tokio::time::sleep;

/// What is left lying about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Case {
    Idle(Transport),
    Stalled(Transport),
    Routes,
}

/// Measures all cases.
pub(super) async fn measure(peers: &[Peer], world: &World, size: &Size, report: &mut Report) -> Result<()> {
    let cases = [
        Case::Idle(Transport::Plain),
        Case::Idle(Transport::Tls),
        Case::Idle(Transport::Http2),
        Case::Stalled(Transport::Plain),
        Case::Stalled(Transport::Tls),
        Case::Routes,
    ];
    for case in cases {
        let name = case.name();
        // Processes that are started anew differ little.
        for _ in 0..size.rounds.min(ROUNDS) {
            for peer in peers {
                let measured = one(peer, case, world, size).await;
                let measured = measured.map(|bytes| vec![(Metric::Kilobytes, bytes / 1024.0)]);
                report.note(Group::Memory, &name, &peer.name, measured);
            }
        }
        report.progress(Group::Memory, &name);
    }
    Ok(())
}

/// Bytes of each.
async fn one(peer: &Peer, case: Case, world: &World, size: &Size) -> Result<f64> {
    let running = peer.start(world).await?;
    match case {
        Case::Idle(transport) => {
            // What a proxy takes once, for the first connections, is no part of what one costs.
            let first = hold(&running.target, transport, PRIMED, false).await?;
            sleep(SETTLE).await;
            let before = usage::resident(running.process)?;
            let held = hold(&running.target, transport, size.idle, false).await?;
            sleep(SETTLE).await;
            let after = usage::resident(running.process)?;
            drop((first, held));
            running.end().await;
            Ok(share(before, after, size.idle))
        }
        Case::Stalled(transport) => {
            let first = hold(&running.target, transport, PRIMED, false).await?;
            sleep(SETTLE).await;
            let before = usage::resident(running.process)?;
            let held = hold(&running.target, transport, size.stalled, true).await?;
            sleep(SETTLE).await;
            let after = usage::resident(running.process)?;
            drop((first, held));
            running.end().await;
            Ok(share(before, after, size.stalled))
        }
        Case::Routes => {
            let before = usage::resident(running.process)?;
            running.end().await;
            let running = peer.start_with(world, size.routes).await?;
            // The last route must be there, or it was not their memory.
            let target = running.target.with_host(&format!("r{}.example.com", size.routes - 1));
            let mut connection = Connection::open(&target, Transport::Plain).await?;
            connection.get(1, Sink::Verify).await?;
            sleep(SETTLE).await;
            let after = usage::resident(running.process)?;
            running.end().await;
            Ok(share(before, after, size.routes))
        }
    }
}

/// Connections that have had an answer, or of which nobody reads the large answer that has begun.
async fn hold(target: &Target, transport: Transport, number: u32, stalled: bool) -> Result<Vec<Connection>> {
    let mut held = Vec::new();
    let count = AtomicU64::new(0);
    for _ in 0..number {
        let mut connection = Connection::open(target, transport).await?;
        if stalled {
            connection.begin(STALLED).await?;
        } else {
            ensure!(connection.get(1024, Sink::Count(&count)).await? == Answer::Whole, "a new connection was closed");
        }
        held.push(connection);
    }
    Ok(held)
}

fn share(before: u64, after: u64, number: u32) -> f64 {
    after.saturating_sub(before) as f64 / f64::from(number)
}

impl Case {
    fn name(self) -> String {
        match self {
            Self::Idle(transport) => format!("idle connection, {}", transport.name()),
            Self::Stalled(transport) => format!("stalled download, {}", transport.name()),
            Self::Routes => "route".to_owned(),
        }
    }
}

const PRIMED: u32 = 50;
const ROUNDS: u32 = 3;
/// Buffers that are given back after a while are given back by then.
const SETTLE: Duration = Duration::from_millis(1_500);
