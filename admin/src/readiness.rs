//! Readiness: each part that is not ready yet holds a named guard, and the program is ready when no guard is held; so a
//! page can say what it is waiting for.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Whether the program is ready, and if not, why. Clones share one state.
#[derive(Clone, Debug, Default)]
pub struct Readiness {
    held: Arc<Mutex<BTreeMap<String, usize>>>,
}

impl Readiness {
    /// Makes the program not ready, for this reason, until the guard is dropped.
    #[must_use = "the program is ready again as soon as the guard is dropped"]
    pub fn block(&self, reason: &str) -> Blocker {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        *held.entry(reason.to_owned()).or_insert(0) += 1;
        Blocker { readiness: self.clone(), reason: reason.to_owned() }
    }

    /// Whether nothing blocks.
    pub fn is_ready(&self) -> bool {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// What the program is waiting for.
    pub fn reasons(&self) -> Vec<String> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }
}

/// Keeps a program from being ready while it lives.
#[derive(Debug)]
pub struct Blocker {
    readiness: Readiness,
    reason: String,
}

impl Drop for Blocker {
    fn drop(&mut self) {
        let mut held = self.readiness.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = held.get_mut(&self.reason) {
            *count -= 1;
            if *count == 0 {
                held.remove(&self.reason);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_ready_when_the_last_guard_is_gone() {
        let readiness = Readiness::default();
        let sync = readiness.block("first sync");
        let again = readiness.block("first sync");
        let drain = readiness.block("shutting down");
        assert_eq!(readiness.reasons(), ["first sync", "shutting down"]);
        drop((sync, drain));
        assert!(!readiness.is_ready());
        drop(again);
        assert!(readiness.is_ready());
    }
}
