//! Tells of an object that it is visible once the other name servers of its zone serve it, too: what was published here flows in, what
//! the others show is asked, statements flow out to `report`. Started by `serve` where it is told of others (`--verify`).

use crate::desired::ObjectKey;
use crate::limits::{FIRST_LOOKS, PEER_PERIOD, SERVERS_IN_A_MESSAGE};
use crate::name::Name;
use crate::publish::observed::RecordSets;
use crate::record::{RecordType, RrsetData};
use crate::report::Statement;
use crate::reporter::SharedReports;
use crate::verify::peers::{Peers, Serials};
use crate::verify::{Resolver, Unseen};
use nearside_watch::object::DnsEndpointStatus;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio::sync::watch;

/// What was published here; whoever publishes and the task that asks share one.
#[derive(Clone, Debug)]
pub struct PeerWatch {
    state: Arc<Mutex<State>>,
    changed: watch::Sender<()>,
    reports: SharedReports,
}

#[derive(Debug)]
struct State {
    peers: Peers,
    zones: Vec<Name>,
    /// What is to be said of each object once all serve what was published at a moment.
    statements: BTreeMap<ObjectKey, (u64, Option<Statement>)>,
}

impl PeerWatch {
    /// Starts to ask these servers. Must run on a Tokio runtime.
    ///
    /// # Errors
    /// Where asking cannot be set up.
    pub fn start(servers: &[SocketAddr], reports: SharedReports) -> Result<Self, Unseen> {
        let resolvers = servers.iter().map(|server| Resolver::new(*server)).collect::<Result<Vec<_>, _>>()?;
        let peers = Peers::new(servers.iter().copied());
        let state = State { peers, zones: Vec::new(), statements: BTreeMap::new() };
        let peer_watch = Self { state: Arc::new(Mutex::new(state)), changed: watch::Sender::default(), reports };
        resolvers.into_iter().for_each(|resolver| drop(tokio::spawn(peer_watch.clone().ask(resolver))));
        Ok(peer_watch)
    }

    /// The zones are published here with these serials, and this is to be said of every object.
    pub(crate) fn published(&self, serials: Serials, statements: BTreeMap<ObjectKey, Option<Statement>>) {
        let mut state = self.lock();
        state.zones = serials.keys().cloned().collect();
        let moment = state.peers.published(serials);
        let mut known = std::mem::take(&mut state.statements);
        for (key, statement) in statements {
            let before = known.remove(&key).filter(|(_, before)| *before == statement);
            state.statements.insert(key, before.unwrap_or((moment, statement)));
        }
        drop(state);
        self.tell();
        self.changed.send_replace(());
    }

    /// Asks one server for ever.
    async fn ask(self, resolver: Resolver) {
        let mut looks = 0;
        let mut changed = self.changed.subscribe();
        loop {
            let zones = self.lock().zones.clone();
            let mut serials = Some(Serials::new());
            for zone in zones {
                match resolver.seen(&zone, &[RecordType::Soa].into()).await {
                    Ok(seen) if seen.authoritative => {
                        if let (Some(serials), Some(serial)) = (&mut serials, serial(&seen.sets)) {
                            serials.insert(zone, serial);
                        }
                    }
                    Err(unseen) if unseen.is_silence() => serials = None,
                    Ok(_) | Err(_) => {}
                }
            }
            self.lock().peers.saw(resolver.server(), serials.as_ref(), Instant::now());
            let (_, behind) = self.tell();
            let pause = match behind.contains(&resolver.server()) {
                true => FIRST_LOOKS.get(looks).copied().unwrap_or(PEER_PERIOD),
                false => PEER_PERIOD,
            };
            looks += 1;
            tokio::select! {
                _ = changed.changed() => looks = 0,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Says of each object what is true everywhere.
    fn tell(&self) -> (u64, Vec<SocketAddr>) {
        let state = self.lock();
        let (everywhere, behind) = state.peers.everywhere(Instant::now());
        let statements = state.statements.iter().map(|(key, (moment, statement))| {
            let statement = statement.clone().map(|statement| match *moment > everywhere {
                true => waiting(statement, &behind),
                false => statement,
            });
            (key.clone(), statement)
        });
        self.reports.tell(statements.collect());
        (everywhere, behind)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is said while others do not serve it yet.
fn waiting(mut statement: Statement, behind: &[SocketAddr]) -> Statement {
    if !statement.visible {
        return statement;
    }
    statement.visible = false;
    let shown: Vec<String> = behind.iter().take(SERVERS_IN_A_MESSAGE).map(ToString::to_string).collect();
    for told in statement.conditions.iter_mut().filter(|told| told.kind == DnsEndpointStatus::VISIBLE) {
        told.holds = Some(false);
        told.reason = "Waiting".to_owned();
        told.message = format!("not served yet by {}", shown.join(", "));
    }
    statement
}

fn serial(sets: &RecordSets) -> Option<u32> {
    match &sets.get(&RecordType::Soa)?.data {
        RrsetData::Soa(soa) => Some(soa.serial),
        _ => None,
    }
}
