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

/// Attempts that must agree before a kind that had objects counts as gone, or a forbidden kind as empty: API servers
/// answer 404 and 403 for a moment while they start.
pub(crate) const CONFIRMATIONS: u32 = 3;

/// How long one page of a list, or the head of a watch response, may take.
pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a review of a token may take: somebody waits for the page.
pub(crate) const REVIEW_TIMEOUT: Duration = Duration::from_secs(5);

/// How long it may take to write that a DNSEndpoint is published; it is tried again.
pub(crate) const OBSERVATION_TIMEOUT: Duration = Duration::from_secs(10);

/// After this the server ends a watch, which is then resumed where it was. A shorter time costs a request per kind and
/// program; a longer one leaves a watch whose peer vanished without a word unnoticed for longer.
pub(crate) const WATCH_TIMEOUT: Duration = Duration::from_secs(150);

/// Added to [`WATCH_TIMEOUT`] at random, so that the watches of a thousand nodes do not end in step.
pub(crate) const WATCH_TIMEOUT_SPREAD: Duration = Duration::from_secs(30);

/// A watch that is silent for this much longer than its own timeout is dead: the server would have ended it. The client
/// has no read timeout beside this one, since nothing obliges a server to send bookmarks in a quiet hour.
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
