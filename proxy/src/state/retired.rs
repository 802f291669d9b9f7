//! States that were replaced: each flows in, those that nobody has pinned any more flow out, to be dropped where nobody waits. A request
//! that lasts longer than its state would otherwise drop it, and with it whatever no later state shares. Used by `feed`.

use super::State;
use std::sync::Arc;

/// See the module head.
#[derive(Debug, Default)]
pub(crate) struct Retired(Vec<Arc<State>>);

impl Retired {
    /// A state that nobody pins anew.
    pub(crate) fn push(&mut self, state: Arc<State>) {
        self.0.push(state);
    }

    /// Those that nobody else has.
    pub(crate) fn free(&mut self) -> Vec<Arc<State>> {
        self.0.extract_if(.., |state| Arc::strong_count(state) == 1).collect()
    }

    /// Whether somebody has one of them.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
