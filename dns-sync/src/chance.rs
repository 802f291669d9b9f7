//! Numbers that differ from process to process, so that replicas do not act at the same moment. Asked by the tasks; what decides takes
//! chance as an argument.

use std::hash::{BuildHasher, RandomState};

/// A number from 0 to 1.
pub(crate) fn chance() -> f64 {
    // A fresh RandomState is keyed at random; that is all the randomness a spread needs.
    f64::from((RandomState::new().hash_one(0_u8) >> 32) as u32) / f64::from(u32::MAX)
}
