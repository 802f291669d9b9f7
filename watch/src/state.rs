//! What each kind's watch is up to: the sources write it; readiness, the page `/sources` and metrics read it.

mod page;
mod series;

pub use series::register;

use crate::feed::WatchState;
use crate::merge::Standing;
use crate::{Kind, Selection};
use prometheus::{Histogram, HistogramOpts};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// A handle on the state of every watched kind. Cloning it is cheap.
#[derive(Clone, Debug)]
pub struct SyncState {
    selections: Arc<Mutex<Vec<(Selection, KindState)>>>,
    /// How long changes took to get into a snapshot, where there are snapshots.
    taken_in: Option<Histogram>,
}

/// The state of one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KindState {
    /// Whether something is known of it: a complete list, a snapshot on disk, or that there is nothing to list.
    pub synced: bool,
    /// How that is known.
    pub standing: Standing,
    /// What is wrong at present, in words for an operator.
    pub error: Option<String>,
    /// The same in a word, such as `Forbidden`.
    pub reason: Option<Cow<'static, str>>,
    /// When the source last answered; `None` before the first answer.
    pub last_contact: Option<Instant>,
    /// Objects that are known.
    pub objects: usize,
    /// Those of them that the last list lacked, and which a second one has to confirm as gone.
    pub held: usize,
    /// When the snapshot on disk was up to date, where that is what is served.
    pub snapshot: Option<SystemTime>,
    /// What was ever done.
    pub counts: Counts,
}

/// What a kind's watch has done so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Counts {
    /// Complete lists that came as a stream.
    pub streamed_lists: u64,
    /// Complete lists that came in pages.
    pub paged_lists: u64,
    /// Lists after the first one, by what made them necessary.
    pub relists: BTreeMap<Cow<'static, str>, u64>,
    /// Changes that the watch told.
    pub events: u64,
    /// Objects that could not be decoded.
    pub undecodable: u64,
    /// Bytes of lists and watches.
    pub bytes: u64,
}

impl Counts {
    fn add(&mut self, other: &Self) {
        self.streamed_lists += other.streamed_lists;
        self.paged_lists += other.paged_lists;
        for (reason, count) in &other.relists {
            *self.relists.entry(reason.clone()).or_default() += count;
        }
        self.events += other.events;
        self.undecodable += other.undecodable;
        self.bytes += other.bytes;
    }
}

impl SyncState {
    pub(crate) fn new(selections: &[Selection]) -> Self {
        let all = selections.iter().map(|selection| (selection.clone(), KindState::default())).collect();
        Self { selections: Arc::new(Mutex::new(all)), taken_in: None }
    }

    /// The same of a source that is read into snapshots, whose times are observed, too.
    pub(crate) fn with_snapshots(mut self) -> Self {
        let options = HistogramOpts::new(
            "nearside_watch_snapshot_seconds",
            "Time to take changes into the index and to publish a snapshot of it.",
        );
        // A histogram with a name and buckets in order is always made.
        self.taken_in = Histogram::with_opts(options.buckets(TAKEN_IN.to_vec())).ok();
        self
    }

    /// Changes have taken so long until they were in a snapshot.
    pub(crate) fn took_in(&self, time: Duration) {
        if let Some(taken_in) = &self.taken_in {
            taken_in.observe(time.as_secs_f64());
        }
    }

    /// Whether something is known of every kind.
    pub fn synced(&self) -> bool {
        self.lock().iter().all(|(_, state)| state.synced)
    }

    /// The state of each watched kind. Of several selections of a kind the worst counts, and their numbers are added.
    pub fn kinds(&self) -> BTreeMap<Kind, KindState> {
        let mut kinds: BTreeMap<Kind, KindState> = BTreeMap::new();
        for (selection, state) in self.lock().iter() {
            kinds
                .entry(selection.kind)
                .and_modify(|worst| {
                    worst.synced &= state.synced;
                    worst.standing = worst.standing.min(state.standing);
                    if worst.error.is_none() {
                        (worst.error, worst.reason) = (state.error.clone(), state.reason.clone());
                    }
                    worst.last_contact = worst.last_contact.min(state.last_contact);
                    worst.objects += state.objects;
                    worst.held += state.held;
                    worst.snapshot = [worst.snapshot, state.snapshot].into_iter().flatten().min();
                    worst.counts.add(&state.counts);
                })
                .or_insert_with(|| state.clone());
        }
        kinds
    }

    /// How what is held of a selection came about, how much it is, and how much of it is in doubt.
    pub(crate) fn set_stock(&self, selection: usize, (standing, objects, held): (Standing, usize, usize)) {
        self.update(selection, |state| {
            state.synced = standing != Standing::Waiting;
            (state.standing, state.objects, state.held) = (standing, objects, held);
            if standing != Standing::Snapshot {
                state.snapshot = None;
            }
        });
    }

    /// A snapshot on disk of this time is at hand.
    pub(crate) fn set_snapshot(&self, selection: usize, at: SystemTime) {
        self.update(selection, |state| state.snapshot = Some(at));
    }

    /// The source has answered, and this is wrong with the answer.
    pub(crate) fn answered(&self, selection: usize, error: Option<(&'static str, String)>) {
        self.update(selection, |state| {
            let (reason, error) = error.unzip();
            (state.reason, state.error) = (reason.map(Cow::Borrowed), error);
            state.last_contact = Some(Instant::now());
        });
    }

    /// The source has not answered.
    pub(crate) fn set_error(&self, selection: usize, reason: &'static str, error: String) {
        self.update(selection, |state| (state.reason, state.error) = (Some(reason.into()), Some(error)));
    }

    /// What each watch is up to, for a process that reads by this one.
    pub(crate) fn watches(&self) -> Vec<WatchState> {
        let told = |(_, state): &(Selection, KindState)| WatchState {
            reason: state.reason.as_deref().map(str::to_owned),
            error: state.error.clone(),
            heard_milliseconds_ago: state
                .last_contact
                .map(|at| u64::try_from(at.elapsed().as_millis()).unwrap_or(u64::MAX)),
            counts: state.counts.clone(),
        };
        self.lock().iter().map(told).collect()
    }

    /// The same in that process.
    pub(crate) fn relay(&self, selection: usize, told: WatchState) {
        self.update(selection, |state| {
            (state.reason, state.error) = (told.reason.map(Cow::Owned), told.error);
            let ago = told.heard_milliseconds_ago.map(Duration::from_millis);
            state.last_contact = ago.and_then(|ago| Instant::now().checked_sub(ago));
            state.counts = told.counts;
        });
    }

    pub(crate) fn count(&self, selection: usize, add: impl FnOnce(&mut Counts)) {
        self.update(selection, |state| add(&mut state.counts));
    }

    /// Whether a selection is as its source lists it, as far as it was heard within `recently`.
    pub(crate) fn is_fresh(&self, selection: usize, recently: Duration) -> bool {
        self.lock().get(selection).is_some_and(|(_, state)| {
            state.standing == Standing::Live
                && state.error.is_none()
                && state.last_contact.is_some_and(|at| at.elapsed() < recently)
        })
    }

    fn update(&self, selection: usize, change: impl FnOnce(&mut KindState)) {
        if let Some((_, state)) = self.lock().get_mut(selection) {
            change(state);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(Selection, KindState)>> {
        self.selections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Seconds: from one change to all of a large cluster.
const TAKEN_IN: [f64; 9] = [0.000_25, 0.001, 0.004, 0.016, 0.032, 0.064, 0.25, 1.0, 4.0];
