//! The constant limits of the controller, in one place.

use std::time::Duration;

/// Writes at a time. Each is one small request; more would only queue at the API server.
pub(crate) const CONCURRENT_WRITES: usize = 8;
/// Of these, how many may be of status, so that records find a free place.
pub(crate) const CONCURRENT_STATUS_WRITES: usize = 4;
/// Requests a second for DNSEndpoints, and at once after a quiet time. A node that fails takes all of its hosts with it, and
/// they should be withdrawn within seconds.
pub(crate) const RECORDS_PER_SECOND: f64 = 400.0;
/// See [`RECORDS_PER_SECOND`].
pub(crate) const RECORDS_BURST: f64 = 400.0;
/// Requests a second for status and Events, and at once after a quiet time: they can wait.
pub(crate) const STATUS_PER_SECOND: f64 = 100.0;
/// See [`STATUS_PER_SECOND`].
pub(crate) const STATUS_BURST: f64 = 200.0;
/// The pause after a 429 that names none.
pub(crate) const LEAST_RETRY_AFTER: Duration = Duration::from_secs(1);
/// The longest pause that a server is granted.
pub(crate) const MOST_RETRY_AFTER: Duration = Duration::from_secs(60);
/// The pause after a first failure; it doubles with each further one.
pub(crate) const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause between two attempts.
pub(crate) const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How often the leader compares everything that exists with what should. In a directory nobody tells of changes of others.
pub(crate) const REFRESH: Duration = Duration::from_secs(60);
/// The same in a cluster, where changes of others are seen by the watch; this is for what a watch could miss.
pub(crate) const REFRESH_WATCHED: Duration = Duration::from_secs(600);
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
/// What `check` reads at most: bytes of one file, and files below one directory.
pub(crate) const CHECKED_BYTES: u64 = 64 << 20;
/// See [`CHECKED_BYTES`].
pub(crate) const CHECKED_FILES: usize = 10_000;
/// How long a node that could stay is published after those that take its place, if publishers tell what they have taken
/// and have not taken these: external-dns looks once a minute.
pub(crate) const HANDOVER_SEEN: Duration = Duration::from_secs(75);
/// The same where no publisher has ever told anything.
pub(crate) const HANDOVER_BLIND: Duration = Duration::from_secs(5);
/// The longest that a node is published that should not be any more, whatever happens meanwhile.
pub(crate) const HANDOVER_LONGEST: Duration = Duration::from_secs(180);
/// How often a node may fail and come back at once within [`FLAP_WINDOW`].
pub(crate) const FLAP_FREE: u32 = 3;
/// For how long it stays away after that; twice as long after each further failure.
pub(crate) const FLAP_PAUSE: Duration = Duration::from_secs(10);
/// The longest that a node stays away that is well again.
pub(crate) const FLAP_LONGEST: Duration = Duration::from_secs(120);
/// After this time without a failure, failures are forgotten.
pub(crate) const FLAP_WINDOW: Duration = Duration::from_secs(600);
/// How long one connection to a router may take that is called not Ready.
pub(crate) const PROBE_TIMEOUT: Duration = Duration::from_secs(1);
/// Between two looks at the same router.
pub(crate) const PROBE_EVERY: Duration = Duration::from_secs(2);
/// How many are looked at at the same time.
pub(crate) const PROBES_AT_ONCE: usize = 64;
/// How long the first probe of a node may be awaited; then it goes, as the API server says.
pub(crate) const PROBE_PATIENCE: Duration = Duration::from_secs(5);
/// How long a node stays published that answers though it is not Ready.
pub(crate) const NOT_READY_BUT_ANSWERS: Duration = Duration::from_secs(60);
/// So many nodes, and so large a share of those that are published, are not withdrawn at once while all of them answer.
pub(crate) const MANY_NODES: usize = 3;
/// See [`MANY_NODES`]: more than this share.
pub(crate) const MANY_PER_CENT: usize = 30;
/// How long a node that was kept stays after it is Ready again: its pods are called ready a moment later.
pub(crate) const RECOVERY: Duration = Duration::from_secs(10);
/// How long clients may remember an address beyond its TTL: browsers keep it for a minute at least; and a little more.
pub(crate) const BEYOND_TTL: Duration = Duration::from_secs(65);
/// What is heard within this time of the pods of a node and of the node itself has one cause.
pub(crate) const LOST_TOGETHER: Duration = Duration::from_secs(5);
