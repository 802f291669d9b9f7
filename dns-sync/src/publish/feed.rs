//! Tells the workers what is desired: changes of the source and facts of the workers flow in, are weighed by the guard, and what has
//! changed flows out to the workers of each zone. One task for the whole program, so that every server is told the same. Keeps the
//! last known good on disk, and takes the confirmations of the operator from there.

use super::account::News;
use super::confirmation::Confirmations;
use super::fact::{Event, Fact, NameEvent, Place};
use super::guard::{Guard, List, Shared, Source};
use super::intent::Intent;
use super::last_good::{LastGood, LastGoodFile};
use crate::desired::{Desired, ObjectKey, Rejection, parse};
use crate::limits::{BUILD_INTERVAL, LAST_GOOD_PERIOD, LIVE_CHECK};
use crate::name::Name;
use crate::reporter::SharedReports;
use crate::source::Endpoints;
use crate::zone_store::Change;
use nearside_watch::{Kind, Standing, SyncState};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::{mpsc, watch};
use tracing::{error, info, warn};

/// What has changed in what is desired of a zone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ZoneChange {
    /// By name; none for a name that is not ours to look at any more.
    pub names: BTreeMap<Name, Option<Intent>>,
    /// Since when the source has told all changes without a break.
    pub live_since: Option<Instant>,
}

/// Where the workers of each zone are told, by origin.
pub type Told = BTreeMap<Name, Vec<mpsc::UnboundedSender<Arc<ZoneChange>>>>;

/// The task.
#[derive(Debug)]
pub struct Feed {
    guard: Guard,
    told: Told,
    list: List,
    /// The objects, until the source has listed them all.
    objects: Option<BTreeMap<ObjectKey, Desired>>,
    live_since: Option<Instant>,
    /// At which places a name that goes is gone already.
    gone: BTreeMap<Name, BTreeSet<Place>>,
    files: BTreeMap<Name, LastGoodFile>,
    unsaved: BTreeSet<Name>,
    saved_at: Instant,
    confirmations: Option<Confirmations>,
    rejections: BTreeSet<Rejection>,
    shared: Shared,
    /// Where account is kept, and the generations that what is told there follows from.
    account: mpsc::UnboundedSender<News>,
    reports: SharedReports,
}

impl Feed {
    /// Begins with what is remembered in the state directory, if there is one. `list` says what a list of the source means.
    pub fn new(
        cluster: &str,
        state_dir: Option<&Path>,
        told: Told,
        list: List,
        account: mpsc::UnboundedSender<News>,
        reports: SharedReports,
    ) -> Self {
        let file = |directory: &Path, origin: &Name| LastGoodFile::new(directory, cluster, origin);
        let files: BTreeMap<Name, LastGoodFile> = match state_dir {
            Some(directory) => told.keys().map(|origin| (origin.clone(), file(directory, origin))).collect(),
            None => BTreeMap::new(),
        };
        let remembered = told.keys().map(|origin| (origin.clone(), files.get(origin).map(load).unwrap_or_default()));
        Self {
            guard: Guard::new(remembered),
            list,
            objects: Some(BTreeMap::new()),
            live_since: None,
            gone: BTreeMap::new(),
            unsaved: BTreeSet::new(),
            saved_at: Instant::now(),
            confirmations: state_dir.map(|directory| Confirmations::new(directory, told.keys())),
            rejections: BTreeSet::new(),
            shared: Shared::new(),
            files,
            told,
            account,
            reports,
        }
    }

    /// Feeds until the source ends or the end is asked for. `synced` turns true with the first complete list.
    pub async fn run(
        mut self,
        mut endpoints: Endpoints,
        mut facts: mpsc::UnboundedReceiver<Fact>,
        synced: watch::Sender<bool>,
        mut stop: watch::Receiver<bool>,
    ) {
        let state = endpoints.state();
        let mut heard = Vec::new();
        loop {
            let next = self.guard.next(Instant::now());
            let mut changes = Vec::new();
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => break,
                taken = endpoints.next() => match taken {
                    Some(taken) => changes = taken,
                    None => break,
                },
                // Workers hold senders as long as they run.
                _ = facts.recv_many(&mut heard, FACTS_AT_ONCE) => {}
                () = sleep_until(next) => {}
                () = tokio::time::sleep(LIVE_CHECK) => {}
            }
            let now = Instant::now();
            self.take(changes, &state, now);
            heard.drain(..).for_each(|fact| self.hear(fact));
            for (zone, until) in self.confirmations.iter_mut().flat_map(Confirmations::taken) {
                info!(%zone, "withdrawals are confirmed until {} s from now", (until - now).as_secs());
                self.guard.confirm(&zone, until);
            }
            let is_busy = self.tell(now);
            if self.objects.is_none() {
                synced.send_if_modified(|synced| !std::mem::replace(synced, true));
            }
            if now.saturating_duration_since(self.saved_at) >= LAST_GOOD_PERIOD {
                self.save().await;
            }
            if is_busy {
                tokio::time::sleep(BUILD_INTERVAL).await;
            }
        }
        self.save().await;
    }

    fn take(&mut self, changes: Vec<Change>, state: &SyncState, now: Instant) {
        let is_live = is_live(state);
        for change in changes {
            match change {
                Change::Reset(all) => {
                    let all: Vec<Desired> = all.iter().map(parse).collect();
                    match &mut self.objects {
                        Some(objects) => *objects = all.into_iter().map(|one| (one.key.clone(), one)).collect(),
                        None => self.guard.listed(&all, self.list, now),
                    }
                }
                Change::Apply(object) => {
                    let object = parse(&object);
                    match &mut self.objects {
                        Some(objects) => drop(objects.insert(object.key.clone(), object)),
                        None => self.guard.apply(&object),
                    }
                }
                Change::Delete(key) => match &mut self.objects {
                    Some(objects) => drop(objects.remove(&key)),
                    None => self.guard.deleted(&key),
                },
            }
        }
        // What only the snapshot on disk knows must not be written.
        if is_live && let Some(objects) = self.objects.take() {
            self.guard.listed(objects.values(), self.list, now);
        }
        self.guard.source(if is_live { Source::Live } else { Source::Failing }, now);
    }

    /// What a worker has found that the guard is to know.
    fn hear(&mut self, fact: Fact) {
        let Fact { at, place, event } = fact;
        let (name, event) = match event {
            Event::Name(name, event) => (name, event),
            Event::Found(names) => {
                for (name, found) in names {
                    self.guard.found(&place.zone, &name, found, at);
                }
                return;
            }
            _ => return,
        };
        match event {
            NameEvent::Applied { generation } => self.guard.saw(&place.zone, &name, generation),
            NameEvent::Gone => {
                let zone = place.zone.clone();
                let gone = self.gone.entry(name.clone()).or_default();
                gone.insert(place);
                if self.told.get(&zone).is_some_and(|workers| gone.len() >= workers.len()) {
                    self.gone.remove(&name);
                    self.guard.gone(&zone, &name);
                }
            }
            _ => {}
        }
    }

    /// Gives whether there was anything to tell.
    fn tell(&mut self, now: Instant) -> bool {
        let changed = self.guard.changed(now);
        let live_since = self.guard.live_since();
        let is_busy = !changed.is_empty();
        let is_other = std::mem::replace(&mut self.live_since, live_since) != live_since;
        let rejections = self.rejections_anew(is_busy);
        let shared = (is_busy && *self.guard.shared() != self.shared).then(|| self.guard.shared().clone());
        let synced = self.objects.is_none();
        if is_busy || synced {
            let objects = if synced { self.reports.noted() } else { BTreeMap::new() };
            let is_news = is_busy || is_other || !objects.is_empty() || rejections.is_some();
            let news = || News { names: changed.clone(), objects, rejections, shared: shared.clone(), synced };
            // It ends only with the program.
            drop(is_news.then(|| self.account.send(news())));
        }
        if let Some(shared) = shared {
            self.warn_of(&shared);
            self.shared = shared;
        }
        let mut names = changed;
        for (origin, workers) in &self.told {
            let names = names.remove(origin).unwrap_or_default();
            if names.is_empty() && !is_other {
                continue;
            }
            for name in names.keys() {
                self.gone.remove(name);
            }
            if !names.is_empty() {
                self.unsaved.insert(origin.clone());
            }
            let change = Arc::new(ZoneChange { names, live_since });
            // A worker ends only with the program.
            workers.iter().for_each(|worker| drop(worker.send(Arc::clone(&change))));
        }
        is_busy
    }

    /// All that is not published, where that has changed; what is new in it is logged.
    fn rejections_anew(&mut self, is_busy: bool) -> Option<BTreeSet<Rejection>> {
        if !self.guard.rejections_have_changed() && !is_busy {
            return None;
        }
        let rejections: BTreeSet<Rejection> = self.guard.rejections().cloned().collect();
        if rejections == self.rejections {
            return None;
        }
        for rejection in rejections.difference(&self.rejections) {
            warn!("{rejection}");
        }
        self.rejections.clone_from(&rejections);
        Some(rejections)
    }

    fn warn_of(&self, shared: &Shared) {
        for (name, others) in shared.iter().filter(|(name, others)| self.shared.get(*name) != Some(*others)) {
            let others: Vec<String> = others.iter().map(ToString::to_string).collect();
            warn!(%name, others = others.join(", "), "several DNSEndpoints ask for the name; the records of all are published");
        }
    }

    async fn save(&mut self) {
        self.saved_at = Instant::now();
        for origin in std::mem::take(&mut self.unsaved) {
            let Some(file) = self.files.get(&origin).cloned() else { continue };
            let known = self.guard.last_good(&origin);
            let stored = tokio::task::spawn_blocking(move || file.store(&known)).await;
            if let Ok(Err(failed)) = stored {
                error!(zone = %origin, "{failed}");
                self.unsaved.insert(origin);
                return;
            }
        }
    }
}

fn load(file: &LastGoodFile) -> LastGood {
    match file.load() {
        Ok(known) => known.unwrap_or_default(),
        // Nothing would follow from it but what to look for.
        Err(refused) => {
            warn!("{refused}");
            LastGood::default()
        }
    }
}

/// Whether the source tells all changes now.
pub(super) fn is_live(state: &SyncState) -> bool {
    let kinds = state.kinds();
    kinds.get(&Kind::DnsEndpoint).is_some_and(|kind| kind.standing == Standing::Live && kind.error.is_none())
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

const FACTS_AT_ONCE: usize = 4096;
