//! How much is measured: the options come in, every number of a run comes out, those that were not said with a default of the long or
//! the quick run. Pure.

use super::Options;
use std::time::Duration;

/// See the module head.
#[derive(Clone, Debug)]
pub(in crate::bench) struct Size {
    pub(super) rounds: u32,
    pub(super) window: Duration,
    /// Of the downloads.
    pub(super) bytes: Vec<u64>,
    pub(super) concurrency: Vec<u32>,
    pub(super) rate: u32,
    pub(super) idle: u32,
    pub(super) stalled: u32,
    pub(super) routes: u32,
    pub(super) hosts: u32,
    pub(super) changes: u32,
}

impl Size {
    pub(super) fn of(options: &Options) -> Self {
        let number =
            |said: Option<u32>, long: u32, quick: u32| said.unwrap_or(if options.quick { quick } else { long });
        let list = |said: &[u32], long: &[u32], quick: &[u32]| match said {
            [] if options.quick => quick.to_vec(),
            [] => long.to_vec(),
            said => said.to_vec(),
        };
        Self {
            rounds: number(options.rounds, 5, 3),
            window: Duration::from_millis(number(options.window, 800, 300).into()),
            bytes: if options.bytes.is_empty() { vec![1 << 20, 64 << 20] } else { options.bytes.clone() },
            concurrency: list(&options.concurrency, &[1, 4, 64, 512], &[4, 64]),
            rate: number(options.rate, 4_000, 4_000),
            idle: number(options.idle, 2_000, 500),
            stalled: number(options.stalled, 100, 50),
            routes: number(options.routes, 5_000, 500),
            hosts: number(options.hosts, 100_000, 1_000),
            changes: number(options.changes, 1_000, 1_000),
        }
    }

    /// The largest object that is asked for.
    pub(super) fn largest(&self) -> u64 {
        self.bytes.iter().copied().max().unwrap_or_default().max(STALLED)
    }
}

/// Bytes of a download that is left alone.
pub(super) const STALLED: u64 = 64 << 20;
/// Bytes of a small answer.
pub(super) const SMALL: u64 = 1024;
