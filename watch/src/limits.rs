//! Every limit and period of the crate in one table. Constants flow out to both sources; nothing flows in.

use std::time::Duration;

/// Objects a page of a list; what client-go asks for.
pub(crate) const PAGE_SIZE: u32 = 500;

/// Secrets a page of a list: each may be a mebibyte large, and most of it is dropped once it is read.
pub(crate) const SECRET_PAGE_SIZE: u32 = 50;

/// Changes that wait between a source and its reader; a slow reader slows its source down.
pub(crate) const QUEUED_UPDATES: usize = 1024;

/// The wait after the first failure. It doubles with each further one.
pub(crate) const FIRST_BACKOFF: Duration = Duration::from_millis(800);

/// The longest wait between two attempts, and so the time in which a missing kind or permission heals.
pub(crate) const LONGEST_BACKOFF: Duration = Duration::from_secs(30);

/// Attempts that must agree before a forbidden kind of which nothing is known is done without: API servers answer 403 for a
/// moment while they start.
pub(crate) const CONFIRMATIONS: u32 = 3;

/// How long the server may take to begin an answer.
pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a list may stand still on its way.
pub(crate) const STALL: Duration = Duration::from_secs(30);

/// How long a streamed list may stand still before it counts as not offered: a server that does not know the parameter sends
/// objects and then nothing that would end them.
pub(crate) const STREAMED_LIST_SILENCE: Duration = Duration::from_secs(10);

/// What a server says in `Retry-After` counts up to this; more would keep a kind from healing in time.
pub(crate) const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(15);

/// Over this time the lists of many programs spread that a compaction asks for at once.
pub(crate) const RELIST_SPREAD: Duration = Duration::from_secs(2);

/// After this, and up to half of it more, a kind is listed again though nothing is wrong, in case an event was lost.
pub(crate) const RESYNC: Duration = Duration::from_secs(3600);

/// Bytes of one object, and of one watch event. etcd takes 1.5 MiB; objects of other servers may be larger.
pub(crate) const ITEM_BYTES: usize = 16 * 1024 * 1024;

/// Bytes of a list beside its items.
pub(crate) const ENVELOPE_BYTES: usize = 64 * 1024;

/// Bytes of an error's text that are read.
pub(crate) const ERROR_BYTES: usize = 64 * 1024;

/// How long a connection to the API server may take.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A silent connection is tried by the kernel after this, ...
pub(crate) const KEEPALIVE: Duration = Duration::from_secs(10);
/// ... then this often, ...
pub(crate) const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
/// ... and so many times.
pub(crate) const KEEPALIVE_PROBES: u32 = 3;

/// A connection is dead when its peer has acknowledged nothing for this long.
pub(crate) const DEAD_PEER: Duration = Duration::from_secs(20);

/// Connections without a request are kept for this long.
pub(crate) const IDLE_CONNECTION: Duration = Duration::from_secs(60);

/// When nothing was heard of the API server for this long, it is asked whether it lives.
pub(crate) const PROBE_AFTER: Duration = Duration::from_secs(10);
/// Without an answer after this it does not: with [`PROBE_AFTER`], within 30 s of the last sign of life.
pub(crate) const PROBE_TIMEOUT: Duration = Duration::from_secs(10);

const _: () = assert!(PROBE_AFTER.as_secs() + PROBE_TIMEOUT.as_secs() <= 30 && DEAD_PEER.as_secs() <= 30);
const _: () = assert!(KEEPALIVE.as_secs() + KEEPALIVE_INTERVAL.as_secs() * KEEPALIVE_PROBES as u64 <= 30);

/// A list is not believed at once that lacks everything that was known, or at least so many objects ...
pub(crate) const HELD_AT_LEAST: usize = 3;
/// ... which are more than so many of a hundred.
pub(crate) const HELD_PERCENT: usize = 30;
/// After this, and up to as much more, a second list confirms it.
pub(crate) const CONFIRM_AFTER: Duration = Duration::from_secs(4);

/// How long a program waits for the first lists before it serves from its snapshot on disk.
pub(crate) const SNAPSHOT_PATIENCE: Duration = Duration::from_millis(1500);
/// The same for a program that serves, and whose snapshot is not older than [`SNAPSHOT_RECENT`]: it was here a moment ago.
pub(crate) const SNAPSHOT_RECENT_PATIENCE: Duration = Duration::from_millis(50);
/// See [`SNAPSHOT_RECENT_PATIENCE`]. Longer than [`SNAPSHOT_PERIOD`] and the restart of a container.
pub(crate) const SNAPSHOT_RECENT: Duration = Duration::from_secs(30);
/// How often the snapshot on disk is written, where something has changed.
pub(crate) const SNAPSHOT_PERIOD: Duration = Duration::from_secs(5);
/// A file of the snapshot that is larger is not read.
pub(crate) const SNAPSHOT_BYTES: u64 = 1024 * 1024 * 1024;
/// A kind whose server was heard within this time counts as up to date in the age of a snapshot.
pub(crate) const SNAPSHOT_FRESH: Duration = Duration::from_secs(120);

/// How long a review of a token may take: somebody waits for the page.
pub(crate) const REVIEW_TIMEOUT: Duration = Duration::from_secs(5);

/// How long it may take to write that a DNSEndpoint is published; it is tried again.
pub(crate) const OBSERVATION_TIMEOUT: Duration = Duration::from_secs(10);

/// After this the server ends a watch, which is then resumed where it was. A shorter time costs a request per kind and
/// program; a longer one leaves a watch whose peer vanished without a word unnoticed for longer.
pub(crate) const WATCH_TIMEOUT: Duration = Duration::from_secs(150);

/// Added to [`WATCH_TIMEOUT`] at random, so that the watches of a thousand nodes do not end in step.
pub(crate) const WATCH_TIMEOUT_SPREAD: Duration = Duration::from_secs(30);

/// A watch that is silent for this much longer than its own timeout is dead: the server would have ended it. Nothing obliges a
/// server to send bookmarks in a quiet hour; that it lives at all is asked for much sooner ([`PROBE_AFTER`]).
pub(crate) const WATCH_GRACE: Duration = Duration::from_secs(10);

/// A watch that ends sooner than this without an event counts as a failure and backs off.
pub(crate) const SHORTEST_WATCH: Duration = Duration::from_secs(1);

/// Undecodable objects remembered per kind, so that a relist does not repeat their warnings.
pub(crate) const REMEMBERED_WARNINGS: usize = 1024;

/// Objects that are followed one by one because another one names them: in all, and of one namespace. Each is a watch.
pub(crate) const FOLLOWED: usize = 2000;
/// See [`FOLLOWED`].
pub(crate) const FOLLOWED_OF_NAMESPACE: usize = 100;

/// How long what is new waits for the objects that it names, so that nobody is told of a Secret that is missing while it is
/// on its way.
pub(crate) const FOLLOWED_PATIENCE: Duration = Duration::from_secs(2);

/// Manifests larger than this are not read.
pub(crate) const MANIFEST_BYTES: u64 = 16 * 1024 * 1024;

/// Directories below a manifest directory that are followed; what ends a loop of symbolic links.
pub(crate) const MANIFEST_DEPTH: usize = 16;

/// Manifest files that are read; more are reported and left out.
pub(crate) const MANIFEST_FILES: usize = 100_000;

/// How often the manifests are compared with what was read, for file systems that notify nobody.
pub(crate) const RESCAN_PERIOD: Duration = Duration::from_secs(2);

/// The periodic comparison takes at most one part in so many of a processor's time.
pub(crate) const RESCAN_SHARE: u32 = 50;

/// How long the files must be quiet before they are read, and how long a restless directory is waited for.
pub(crate) const SETTLE: Duration = Duration::from_millis(30);
/// See [`SETTLE`].
pub(crate) const LONGEST_SETTLE: Duration = Duration::from_millis(300);

/// A file that changed this shortly before it was read is read again at the next scan: a second write within the
/// granularity of the file system's clock would leave no trace in its metadata.
pub(crate) const CLOCK_GRANULARITY: Duration = Duration::from_secs(1);
/// In a flood of changes one part in so many of the time is used to take them in: it costs a part of a processor, not all of one.
pub(crate) const FLOOD_SHARE: u32 = 5;
/// Work on changes that may be done without a rest: that of many single ones.
pub(crate) const FLOOD_BURST: Duration = Duration::from_millis(20);
/// So much later, at most, a change is taken in that comes in a flood.
pub(crate) const LONGEST_REST: Duration = Duration::from_millis(40);

/// Bytes of the text of a frame at the socket of a feed; its object may have [`ITEM_BYTES`].
pub(crate) const FEED_TEXT_BYTES: usize = 1024 * 1024;
/// Frames that were read from there and wait to be taken in.
pub(crate) const QUEUED_FRAMES: usize = 256;
/// Processes that read at a time: a proxy, those that take over from it, and what each of them looks at when it leaves. More wait.
pub(crate) const FEED_CONNECTIONS: usize = 8;
/// For as long the other end may take to greet, or to take what is written. Longer: the connection is closed.
pub(crate) const FEED_STALL: Duration = Duration::from_secs(30);
/// How often whoever reads the cluster tells what its watches are up to.
pub(crate) const FEED_STATE_PERIOD: Duration = Duration::from_secs(2);
/// Without a word from it for this long it is taken for dead.
pub(crate) const FEED_SILENCE: Duration = Duration::from_secs(15);
/// Between two attempts to connect to it, and after an accept that failed.
pub(crate) const FEED_PAUSE: Duration = Duration::from_millis(500);
