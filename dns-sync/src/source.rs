//! Where desired objects come from: the changes of a cluster or of a directory flow in through `nearside-watch`, builds
//! of the zone store flow out, at most one every `BUILD_INTERVAL`. Started by `main`.

use crate::config::SourceConfig;
use crate::desired::{DesiredEndpoint, DesiredObject, ObjectKey, WEIGHTS};
use crate::limits::{BUILD_INTERVAL, REFUSAL_CHECK};
use crate::peer_watch::PeerWatch;
use crate::reporter::SharedReports;
use crate::zone_store::{Change, ZoneStore};
use nearside_watch::object::DnsEndpoint;
use nearside_watch::{Changes, Kind, Object, Selection, Source, SyncState, changes};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::watch;

/// A stream of the DNSEndpoints that the configuration names.
#[derive(Debug)]
pub struct Endpoints {
    changes: Changes,
    state: SyncState,
    /// Whether an empty list may stand for "the API server refused to list".
    may_stand_in: bool,
    /// Whether such a list came and has not been explained yet.
    held: bool,
    reports: SharedReports,
}

impl Endpoints {
    /// Starts to read. An API server that does not answer is retried for ever.
    pub fn open(source: Source, config: &SourceConfig, reports: SharedReports) -> Self {
        let may_stand_in = matches!(source, Source::Cluster(_));
        let selection = match &config.namespace {
            Some(namespace) => Selection::all(Kind::DnsEndpoint).namespace(namespace),
            None => Selection::all(Kind::DnsEndpoint),
        };
        let changes = changes(source, vec![selection]);
        let state = changes.state();
        Self { changes, state, may_stand_in, held: false, reports }
    }

    /// Whether what a list lacks is certainly not there.
    pub(crate) fn is_certain(&self) -> bool {
        !self.may_stand_in
    }

    /// How the DNSEndpoints are read.
    pub fn state(&self) -> SyncState {
        self.state.clone()
    }

    /// Waits for changes. `None` when the source has ended, which only a panic makes it do.
    ///
    /// Where a cluster lacks the kind or the permission, `nearside-watch` gives an empty list. A name server that took it
    /// would deny every name because of a missing ClusterRole, so such a list is held back until the server does list.
    pub(crate) async fn next(&mut self) -> Option<Vec<Change>> {
        loop {
            let mut changes = Vec::new();
            tokio::select! {
                batch = self.changes.next() => {
                    let batch = batch?.changes;
                    batch.iter().for_each(|change| note(&self.reports, change));
                    for change in batch.into_iter().filter_map(convert) {
                        let is_empty_list = matches!(&change, Change::Reset(objects) if objects.is_empty());
                        match change {
                            _ if is_empty_list && self.is_refused() => self.held = true,
                            Change::Reset(_) => {
                                self.held = false;
                                changes.push(change);
                            }
                            _ => changes.push(change),
                        }
                    }
                }
                () = tokio::time::sleep(REFUSAL_CHECK), if self.held => {}
            }
            if self.held && !self.is_refused() {
                self.held = false;
                changes.insert(0, Change::Reset(Vec::new()));
            }
            if !changes.is_empty() {
                return Some(changes);
            }
        }
    }

    fn is_refused(&self) -> bool {
        self.may_stand_in && self.state.kinds().get(&Kind::DnsEndpoint).is_some_and(|state| state.error.is_some())
    }
}

/// Reads all objects once, within this time.
///
/// # Errors
/// Where the source does not give a complete list in time.
pub async fn read_all(
    source: Source,
    config: &SourceConfig,
    patience: Duration,
) -> Result<Vec<DesiredObject>, ReadingFailed> {
    let mut endpoints = Endpoints::open(source, config, SharedReports::default());
    let mut objects = BTreeMap::new();
    let deadline = tokio::time::Instant::now() + patience;
    loop {
        let Ok(Some(changes)) = tokio::time::timeout_at(deadline, endpoints.next()).await else {
            let error = endpoints.state.kinds().remove(&Kind::DnsEndpoint).and_then(|state| state.error);
            let reason = error.unwrap_or_else(|| "no answer yet".to_owned());
            return Err(ReadingFailed { patience, reason });
        };
        let mut listed = false;
        for change in changes {
            match change {
                Change::Reset(all) => {
                    objects = all.into_iter().map(|object| (object.key.clone(), object)).collect();
                    listed = true;
                }
                Change::Apply(object) => drop(objects.insert(object.key.clone(), object)),
                Change::Delete(key) => drop(objects.remove(&key)),
            }
        }
        if listed {
            return Ok(objects.into_values().collect());
        }
    }
}

/// The objects could not be read.
#[derive(Debug, thiserror::Error)]
#[error("the DNSEndpoints could not be read within {} s: {reason}", patience.as_secs())]
pub struct ReadingFailed {
    patience: Duration,
    reason: String,
}

/// Feeds the store until the source ends. `synced` turns true when the zones of the first complete list are published.
/// With others, what is told waits for them.
pub async fn follow(
    mut store: ZoneStore,
    mut endpoints: Endpoints,
    others: Option<PeerWatch>,
    synced: watch::Sender<bool>,
) {
    while let Some(changes) = endpoints.next().await {
        for change in changes {
            store.take(change);
        }
        store.publish();
        if store.is_synced() {
            let statements = endpoints.reports.statements(store.statements());
            match &others {
                None => endpoints.reports.tell(statements),
                Some(others) => others.published(store.serials(), statements),
            }
        }
        synced.send_if_modified(|synced| !std::mem::replace(synced, store.is_synced()) && *synced);
        tokio::time::sleep(BUILD_INTERVAL).await;
    }
}

/// Notes which generations of objects there are, and what their status says.
fn note(reports: &SharedReports, change: &nearside_watch::Change) {
    let saw = |endpoint: &DnsEndpoint| {
        reports.saw(key(endpoint), endpoint.metadata.generation, &endpoint.status);
    };
    match change {
        nearside_watch::Change::Apply(Object::DnsEndpoint(endpoint)) => saw(endpoint),
        nearside_watch::Change::Delete(key) if key.kind == Kind::DnsEndpoint => {
            reports.gone(&ObjectKey { namespace: (&*key.namespace).into(), name: (&*key.name).into() });
        }
        nearside_watch::Change::Reset { kind: Kind::DnsEndpoint, objects } => {
            let endpoints = objects.iter().filter_map(|object| match object {
                Object::DnsEndpoint(endpoint) => Some(endpoint),
                _ => None,
            });
            let endpoints: Vec<&DnsEndpoint> = endpoints.collect();
            reports.reset(&endpoints.iter().map(|endpoint| key(endpoint)).collect());
            endpoints.into_iter().for_each(saw);
        }
        _ => {}
    }
}

fn convert(change: nearside_watch::Change) -> Option<Change> {
    match change {
        nearside_watch::Change::Apply(Object::DnsEndpoint(endpoint)) => Some(match desired(&endpoint) {
            Some(object) => Change::Apply(object),
            None => Change::Delete(key(&endpoint)),
        }),
        nearside_watch::Change::Delete(key) if key.kind == Kind::DnsEndpoint => {
            Some(Change::Delete(ObjectKey { namespace: key.namespace.into(), name: key.name.into() }))
        }
        nearside_watch::Change::Reset { kind: Kind::DnsEndpoint, objects } => {
            let objects = objects.iter().filter_map(|object| match object {
                Object::DnsEndpoint(endpoint) => desired(endpoint),
                _ => None,
            });
            Some(Change::Reset(objects.collect()))
        }
        _ => None,
    }
}

/// What an object asks for; nothing once its deletion has begun, whatever finalizers still hold it.
fn desired(endpoint: &DnsEndpoint) -> Option<DesiredObject> {
    let metadata = &endpoint.metadata;
    if metadata.deletion_timestamp.is_some() {
        return None;
    }
    let annotated = metadata.annotation(GENERATION).and_then(|value| value.parse().ok());
    let generation = annotated.unwrap_or_else(|| u64::try_from(metadata.generation).unwrap_or(0));
    let endpoints = endpoint.spec.endpoints.iter().map(|records| DesiredEndpoint {
        dns_name: records.dns_name.clone(),
        record_type: records.record_type.clone(),
        targets: records.targets.clone(),
        record_ttl: records.record_ttl,
    });
    let weights = metadata.annotation(WEIGHTS).map(Into::into);
    Some(DesiredObject { key: key(endpoint), generation, endpoints: endpoints.collect(), weights })
}

fn key(endpoint: &DnsEndpoint) -> ObjectKey {
    ObjectKey { namespace: endpoint.metadata.namespace.clone(), name: endpoint.metadata.name.clone() }
}

/// Annotation with the generation of the placement that wrote the object.
const GENERATION: &str = "nearside.dev/gen";
