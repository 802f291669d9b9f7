//! Numbers that differ from process to process: moments, so that replicas do not act at the same one, and secrets. Asked by the tasks;
//! what decides takes chance as an argument.

use std::hash::{BuildHasher, RandomState};

/// A number from 0 to 1.
pub(crate) fn chance() -> f64 {
    // A fresh RandomState is keyed at random; that is all the randomness a spread needs.
    f64::from((RandomState::new().hash_one(0_u8) >> 32) as u32) / f64::from(u32::MAX)
}

/// Octets that nobody can guess.
pub(crate) fn secret() -> [u8; 16] {
    // Each is a hash under a key that the system made at random.
    let half = || RandomState::new().hash_one(0_u8).to_be_bytes();
    let mut secret = [0; 16];
    secret[..8].copy_from_slice(&half());
    secret[8..].copy_from_slice(&half());
    secret
}
