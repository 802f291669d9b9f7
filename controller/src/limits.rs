//! The constant limits of the controller, in one place.

use std::time::Duration;

/// Writes at a time. Each is one small request; more would only queue at the API server.
pub(crate) const CONCURRENT_WRITES: usize = 8;
/// The pause after a first failure; it doubles with each further one.
pub(crate) const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause between two attempts.
pub(crate) const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How often the leader compares the DNSEndpoints that exist with those that should.
pub(crate) const REFRESH: Duration = Duration::from_secs(60);
/// How long one request to the API server may take.
pub(crate) const REQUEST: Duration = Duration::from_secs(10);
/// How long a follower remembers what left our scope, for the case that it takes over: longer than a Lease.
pub(crate) const REMEMBER_WITHDRAWN: Duration = Duration::from_secs(60);
/// For how long the status of a Route is left alone that somebody else has changed after us, and for how long nothing is
/// written after too many of them.
pub(crate) const CONTENTION_INTERVAL: Duration = Duration::from_secs(180);
/// Entries that somebody else may change within that time. More: no status is written.
pub(crate) const CONTENTIONS: usize = 5;
/// How long writes in flight may take to end at shutdown.
pub(crate) const DRAIN: Duration = Duration::from_secs(5);
/// DNSEndpoints in one page of a list.
pub(crate) const PAGE: u32 = 500;
