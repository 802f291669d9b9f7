//! How an endpoint fares: what requests and checks see flows in, whether it is passed over flows out. It is only ever passed
//! over for another one; `backends` sees to that. `plan` says which endpoints are checked, `checker` checks them.

mod check;
mod checker;
mod ejection;
mod plan;
mod planner;
mod probe;

pub(crate) use check::CheckKind;
pub(crate) use checker::run;
pub(crate) use plan::plan;
pub(crate) use planner::keep_planned;

use ejection::Ejection;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// How one endpoint fares.
#[derive(Debug, Default)]
pub(crate) struct Health {
    /// Whether there is anything in `state` to look at, so that healthy endpoints cost no lock.
    troubled: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    ejection: Ejection,
    /// The kinds of checks by which it is down.
    down: Vec<CheckKind>,
}

impl Health {
    /// A request could not be connected, or was cut off or timed out before an answer began. Whether the endpoint is passed
    /// over from now on. `chance` is from 0 to 1.
    pub(crate) fn failed(&self, now: Instant, chance: f64) -> bool {
        let mut state = self.state();
        self.troubled.store(true, Ordering::Release);
        state.ejection.failed(now, chance)
    }

    /// An answer began.
    pub(crate) fn succeeded(&self) {
        if self.is_troubled() {
            let mut state = self.state();
            state.ejection = Ejection::default();
            self.troubled.store(!state.down.is_empty(), Ordering::Release);
        }
    }

    /// Its checks of a kind say that it is up or down, or it is not checked any more, and then it is up.
    pub(crate) fn set_checked(&self, kind: &CheckKind, up: bool) {
        let mut state = self.state();
        state.down.retain(|known| known != kind);
        if !up {
            state.down.push(kind.clone());
            self.troubled.store(true, Ordering::Release);
        }
    }

    /// Whether it is down by its checks of this kind.
    pub(crate) fn is_down(&self, kind: &CheckKind) -> bool {
        self.is_troubled() && self.state().down.contains(kind)
    }

    /// Whether it is passed over for its failures.
    pub(crate) fn is_ejected(&self, now: Instant) -> bool {
        self.is_troubled() && self.state().ejection.is_on(now)
    }

    fn is_troubled(&self) -> bool {
        self.troubled.load(Ordering::Acquire)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
