//! What lies about and is not used: each proxy is started anew for each case, and what its processes hold more with a number of idle
//! connections, of WebSockets, of downloads that nobody reads, or of routes, goes to the report, for each of them. Memory of the kernel is not in it.

use super::Group;
use super::client::{Answer, Connection, Sink, Target, Transport};
use super::metric::Metric;
use super::peers::{Peer, World};
use super::report::Report;
use super::size::{STALLED, Size};
use crate::bench::usage;
use anyhow::{Context as _, Result, ensure};
use std::sync::atomic::AtomicU64;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout_at};

/// What is left lying about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Case {
    /// Connections that have had an answer.
    Idle(Transport),
    /// Connections that have become WebSockets, on which nobody says anything.
    WebSocket(Transport),
    /// Connections of which nobody reads the large answer that has begun.
    Stalled(Transport),
    Routes,
}

/// Tells what is going to be measured.
pub(super) fn expect(peers: u32, size: &Size, report: &mut Report) {
    for case in CASES {
        report.expect(Group::Memory, &case.name(), case.expected(size) * peers * rounds(size));
    }
}

/// Measures all cases.
pub(super) async fn measure(peers: &[Peer], world: &World, size: &Size, report: &mut Report) -> Result<()> {
    for case in CASES {
        let name = case.name();
        report.begin_case(Group::Memory, &name);
        for _ in 0..rounds(size) {
            for peer in peers {
                let measured = one(peer, case, world, size).await;
                report.note(Group::Memory, &name, &peer.name, measured.map(|bytes| vec![(Metric::Bytes, bytes)]));
            }
        }
        report.progress(Group::Memory, &name);
    }
    Ok(())
}

/// Processes that are started anew differ little.
fn rounds(size: &Size) -> u32 {
    size.rounds.min(ROUNDS)
}

/// Bytes of each.
async fn one(peer: &Peer, case: Case, world: &World, size: &Size) -> Result<f64> {
    let running = peer.start(world).await?;
    if case == Case::Routes {
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
        return Ok(share(before, after, size.routes));
    }
    // What a proxy takes once, for the first connections, is no part of what one costs.
    let first = hold(&running.target, case.first(), PRIMED).await?;
    sleep(SETTLE).await;
    let before = usage::resident(running.process)?;
    let number = case.number(size);
    let held = hold(&running.target, case, number).await?;
    sleep(SETTLE).await;
    let after = usage::resident(running.process)?;
    drop((first, held));
    running.end().await;
    Ok(share(before, after, number))
}

/// Connections that are left alone.
async fn hold(target: &Target, case: Case, number: u32) -> Result<Vec<Connection>> {
    let mut held = Vec::new();
    let deadline = Instant::now() + PATIENCE;
    for opened in 0..number {
        let connection = timeout_at(deadline, one_held(target, case)).await;
        held.push(connection.with_context(|| format!("only {opened} of {number} were there after {PATIENCE:?}"))??);
    }
    Ok(held)
}

async fn one_held(target: &Target, case: Case) -> Result<Connection> {
    match case {
        Case::Stalled(transport) => {
            let mut connection = Connection::open_narrow(target, transport).await?;
            connection.begin(STALLED).await?;
            Ok(connection)
        }
        Case::WebSocket(transport) => {
            let mut connection = Connection::open(target, transport).await?;
            connection.upgrade().await?;
            Ok(connection)
        }
        Case::Idle(_) | Case::Routes => {
            let mut connection = Connection::open(target, case.transport()).await?;
            let whole = connection.get(1024, Sink::Count(&AtomicU64::new(0))).await? == Answer::Whole;
            ensure!(whole, "a new connection was closed");
            Ok(connection)
        }
    }
}

/// Of each; below nothing where a proxy has given back meanwhile what it had before.
fn share(before: u64, after: u64, number: u32) -> f64 {
    (after as f64 - before as f64) / f64::from(number)
}

impl Case {
    fn name(self) -> String {
        match self {
            Self::Idle(transport) => format!("idle connection, {}", transport.name()),
            Self::WebSocket(transport) => format!("idle WebSocket, {}", transport.name()),
            Self::Stalled(transport) => format!("stalled download, {}", transport.name()),
            Self::Routes => "route".to_owned(),
        }
    }

    fn transport(self) -> Transport {
        match self {
            Self::Idle(transport) | Self::WebSocket(transport) | Self::Stalled(transport) => transport,
            Self::Routes => Transport::Plain,
        }
    }

    /// What is left alone before, so that a proxy has done all of its work once: not stalled downloads, whose buffers are the question.
    fn first(self) -> Self {
        match self {
            Self::Stalled(transport) => Self::Idle(transport),
            other => other,
        }
    }

    fn number(self, size: &Size) -> u32 {
        match self {
            Self::Idle(_) | Self::WebSocket(_) => size.idle,
            Self::Stalled(_) => size.stalled,
            Self::Routes => size.routes,
        }
    }

    /// How long one proxy takes: two starts or pauses, and what is opened.
    fn expected(self, size: &Size) -> Duration {
        let each = match self {
            Self::Routes => Duration::from_micros(300),
            _ if self.transport() == Transport::Plain => Duration::from_micros(300),
            _ => Duration::from_micros(1_200),
        };
        SETTLE * 2 + START + each * self.number(size)
    }
}

const CASES: [Case; 9] = [
    Case::Idle(Transport::Plain),
    Case::Idle(Transport::Tls),
    Case::Idle(Transport::Http2),
    Case::WebSocket(Transport::Plain),
    Case::WebSocket(Transport::Tls),
    Case::Stalled(Transport::Plain),
    Case::Stalled(Transport::Tls),
    Case::Stalled(Transport::Http2),
    Case::Routes,
];
/// What a start takes, mostly.
const START: Duration = Duration::from_secs(1);
/// For all connections of one proxy.
const PATIENCE: Duration = Duration::from_secs(60);
const PRIMED: u32 = 50;
const ROUNDS: u32 = 2;
/// Buffers that are given back after a while are given back by then.
const SETTLE: Duration = Duration::from_millis(1_500);
