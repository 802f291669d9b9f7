//! What each kind's watch is up to: the sources write it, readiness pages and metrics read it.

use crate::{Kind, Selection};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// A handle on the state of every watched kind. Cloning it is cheap.
#[derive(Clone, Debug)]
pub struct SyncState {
    selections: Arc<Mutex<Vec<(Kind, KindState)>>>,
}

/// The state of one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KindState {
    /// Whether a first complete list was taken in.
    pub synced: bool,
    /// What is wrong at present, in words for an operator.
    pub error: Option<String>,
    /// When the source last answered; `None` before the first answer.
    pub last_contact: Option<Instant>,
}

impl SyncState {
    pub(crate) fn new(selections: &[Selection]) -> Self {
        let all = selections.iter().map(|selection| (selection.kind, KindState::default())).collect();
        Self { selections: Arc::new(Mutex::new(all)) }
    }

    /// Whether every kind was listed completely at least once.
    pub fn synced(&self) -> bool {
        self.lock().iter().all(|(_, state)| state.synced)
    }

    /// The state of each watched kind. Of several selections of a kind the worst counts.
    pub fn kinds(&self) -> BTreeMap<Kind, KindState> {
        let mut kinds: BTreeMap<Kind, KindState> = BTreeMap::new();
        for (kind, state) in self.lock().iter() {
            kinds
                .entry(*kind)
                .and_modify(|worst| {
                    worst.synced &= state.synced;
                    worst.error = worst.error.take().or_else(|| state.error.clone());
                    worst.last_contact = worst.last_contact.min(state.last_contact);
                })
                .or_insert_with(|| state.clone());
        }
        kinds
    }

    pub(crate) fn set_synced(&self, selection: usize) {
        self.update(selection, |state| state.synced = true);
    }

    /// The source has answered, and this is wrong with the answer.
    pub(crate) fn answered(&self, selection: usize, error: Option<String>) {
        self.update(selection, |state| {
            state.error = error;
            state.last_contact = Some(Instant::now());
        });
    }

    /// The source has not answered.
    pub(crate) fn set_error(&self, selection: usize, error: String) {
        self.update(selection, |state| state.error = Some(error));
    }

    fn update(&self, selection: usize, change: impl FnOnce(&mut KindState)) {
        if let Some((_, state)) = self.lock().get_mut(selection) {
            change(state);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(Kind, KindState)>> {
        self.selections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
