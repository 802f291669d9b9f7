//! Every constant bound of this crate: what one object, one message, one connection and one source address may cost.
//! Read by the modules that enforce them; nothing else lives here.

use std::time::Duration;

/// Records of one RRset in one answer. BIND refuses larger RRsets both as authority and as resolver
/// (`max-records-per-type`, default 100), so of a larger set each answer has another part of this size.
pub const MAX_ANSWER_RECORDS: usize = 100;

/// Targets kept for one name and type, over all objects.
pub const MAX_TARGETS: usize = 1024;

/// Entries of `spec.endpoints[]` read from one object.
pub const MAX_ENDPOINTS_PER_OBJECT: usize = 1000;

/// Octets of character data in one TXT RRset: together with the rest of the message always below 64 KiB.
pub const MAX_TXT_OCTETS: usize = 16 * 1024;

/// Octets of one HTTPS RRset, for the same reason.
pub const MAX_HTTPS_OCTETS: usize = 16 * 1024;

/// Zones one process serves.
pub const MAX_ZONES: usize = 64;

/// Names in one zone, empty non-terminals included.
pub const MAX_NAMES: usize = 500_000;

/// Aliases of wildcard hosts in one domain: one a node.
pub const MAX_ALIASES: usize = 10_000;

/// CNAMEs followed inside the zone for one answer.
pub const MAX_CNAME_CHAIN: usize = 8;

/// Octets of a query. A name is 255, an OPT with cookie, client subnet and RFC 8467 padding stays below 700.
pub const MAX_QUERY_OCTETS: usize = 1232;

/// Octets of a UDP answer, whatever the client advertises (DNS flag day 2020).
pub const MAX_UDP_OCTETS: u16 = 1232;

/// Octets of a UDP answer to a client without EDNS (RFC 1035 §2.3.4), and the least an advertised size means.
pub const MIN_UDP_OCTETS: u16 = 512;

/// Datagrams that are received and answered together: with that many, what a system call costs is divided well, and
/// shutdown is still noticed under any load.
pub const DATAGRAMS_AT_ONCE: usize = 32;

/// Datagrams that are answered after shutdown was asked for: what the socket already holds, bounded.
pub const LAST_DATAGRAMS: usize = 4096;

/// TCP connections open at once.
pub const MAX_TCP_CONNECTIONS: usize = 256;

/// TCP connections open at once from one source (an IPv4 address, an IPv6 /64).
pub const MAX_TCP_CONNECTIONS_PER_SOURCE: usize = 16;

/// How long a TCP connection may take for the next whole query, and for taking its answers.
pub const TCP_IDLE: Duration = Duration::from_secs(10);

/// Octets of answers gathered for a pipelining client before they are written.
pub const TCP_WRITE_OCTETS: usize = 64 * 1024;

/// Whole zones sent to secondaries at once.
pub const MAX_TRANSFERS: usize = 4;

/// How long a secondary may take for a whole zone; each message must be taken within [`TCP_IDLE`].
pub const TRANSFER_OUT_DEADLINE: Duration = Duration::from_secs(300);

/// Octets of records in one message of a transfer, before names are compressed. One RRset may come on top, so that it stays
/// below 64 KiB; and pointers reach no further than 16 KiB.
pub const TRANSFER_MESSAGE_OCTETS: usize = 16 * 1024;

/// Pauses before a secondary that does not confirm a NOTIFY is told again; after the last it is left to its refresh timer.
pub const NOTIFY_PAUSES: [Duration; 7] = [
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
    Duration::from_secs(16),
    Duration::from_secs(32),
    Duration::from_secs(60),
];

/// How often the files of the keys of transfers are looked at.
pub const KEY_CHECK: Duration = Duration::from_secs(5);

/// Secondaries that are notified.
pub const MAX_SECONDARIES: usize = 32;

/// Buckets of the response rate limit, each 24 octets.
pub const RATE_LIMIT_BUCKETS: usize = 64 * 1024;

/// How long the accept loop rests after an error such as too many open files.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How long in-flight connections may take to end at shutdown.
pub const SHUTDOWN_GRACE: Duration = Duration::from_secs(5);

/// Shortest time between two zone builds: a burst of changes costs one build, a lone change waits for nothing.
pub const BUILD_INTERVAL: Duration = Duration::from_millis(50);

/// How often a list that was held back, because the API server refused to give one, is looked at again.
pub const REFUSAL_CHECK: Duration = Duration::from_secs(1);

/// Reports to the cluster a second, and at once after a quiet time: a placement of thousands of hosts must not load its API.
pub const REPORTS_PER_SECOND: f64 = 50.0;
/// See [`REPORTS_PER_SECOND`].
pub const REPORT_BURST: f64 = 100.0;

/// Reports on their way at a time.
pub const CONCURRENT_REPORTS: usize = 4;

/// Within this time after it serves a change a server reports it, each at a moment of its own, so that of several servers
/// mostly one does. The controller waits for a report before it withdraws a node.
pub const REPORT_SPREAD: Duration = Duration::from_millis(400);

/// What is not as it should be is reported where it lasts for so long.
pub const TROUBLE_AFTER: Duration = Duration::from_secs(2);

/// What the controller does not wait for is reported of one object at most so often: replicas that see different things must
/// not write against each other without end.
pub const REPORT_PAUSE: Duration = Duration::from_secs(10);

/// Where the definition of the kind drops conditions they are tried again so much later: it may have been replaced.
pub const CONDITIONS_AGAIN: Duration = Duration::from_secs(3600);

/// The pause after a report that failed; it doubles with each further failure.
pub const FIRST_REPORT_RETRY: Duration = Duration::from_secs(1);
/// See [`FIRST_REPORT_RETRY`].
pub const LONGEST_REPORT_RETRY: Duration = Duration::from_secs(60);

/// Name servers of one published zone.
pub const MAX_SERVERS: usize = 16;

/// Keys for one server: the newer and the older while one replaces the other.
pub const MAX_KEYS: usize = 4;

/// How long another server may take for the next whole message.
pub const EXCHANGE_DEADLINE: Duration = Duration::from_secs(3);

/// How long a zone transfer may take as a whole.
pub const TRANSFER_DEADLINE: Duration = Duration::from_secs(60);

/// Questions that are on their way to a server at once: few enough to be held by the sockets of both sides.
pub const PIPELINED_QUERIES: usize = 64;

/// Octets of a zone transfer, and owner names in it.
pub const MAX_TRANSFER_OCTETS: usize = 256 * 1024 * 1024;
/// See [`MAX_TRANSFER_OCTETS`].
pub const MAX_TRANSFER_NAMES: usize = MAX_NAMES;

/// How long the source must have been live after a name of a higher generation was found at a server, before it is
/// overwritten.
pub const FENCE: Duration = Duration::from_secs(60);

/// How often a contested name is repaired, see [`CONTESTED_AFTER`].
pub const CONTESTED_PAUSE: Duration = Duration::from_secs(60);

/// How soon after the start a zone is read as a whole, to find what nobody asks for; or after up to half of it less.
pub const FIRST_CENSUS: Duration = Duration::from_secs(60);
/// How often after that; or up to half of it less.
pub const CENSUS_PERIOD: Duration = Duration::from_secs(3600);

/// Names in one UPDATE message.
pub const MAX_UPDATE_NAMES: usize = 200;

/// Octets of the records of an UPDATE message, names not compressed: with header, zone and TSIG below 64 KiB.
pub const MAX_UPDATE_OCTETS: usize = 60 * 1024;

/// How often a message may fail before the name that is at fault is looked for.
pub const STRIKES: u32 = 3;

/// For how long a name that a server refuses is left out; it doubles with each further refusal.
pub const FIRST_QUARANTINE: Duration = Duration::from_secs(5);
/// See [`FIRST_QUARANTINE`].
pub const LONGEST_QUARANTINE: Duration = Duration::from_secs(300);

/// The pause after a server was not reached or refused a message; it doubles with each further failure.
pub const FIRST_RETRY: Duration = Duration::from_millis(500);
/// See [`FIRST_RETRY`].
pub const LONGEST_RETRY: Duration = Duration::from_secs(30);

/// The pause after a server did not accept the key: somebody has to change something first.
pub const FIRST_AUTHORISE: Duration = Duration::from_secs(5);
/// See [`FIRST_AUTHORISE`].
pub const LONGEST_AUTHORISE: Duration = Duration::from_secs(60);

/// How often in a row a failed prerequisite leads to reading again without a pause.
pub const OBSERVE_AT_ONCE: u32 = 3;

/// How long a name server may take to answer what a look asks.
pub const LOOK_TIMEOUT: Duration = Duration::from_secs(2);

/// Looks on their way to one name server at a time.
pub const MAX_LOOKS: usize = 16;

/// The pauses between looks at a name that does not show what it should; the last one goes on. The first look is at once.
pub const FIRST_LOOKS: [Duration; 7] = [
    Duration::from_millis(100),
    Duration::from_millis(150),
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(5),
];

/// How soon a name that shows what it should is looked at again, where the rate allows it.
pub const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// Looks for drift at one name server a second, and at once after a quiet time. What is new is looked at beside them.
pub const LOOKS_PER_SECOND: f64 = 50.0;
/// See [`LOOKS_PER_SECOND`].
pub const LOOK_BURST: f64 = 50.0;

/// After so many looks in a row without any answer a name server is asked one thing at a time.
pub const SILENCES_OF_A_DEAD_SERVER: u32 = 3;

/// For each step of fetching the page of a publisher.
pub const PAGE_TIMEOUT: Duration = Duration::from_secs(10);

/// Octets of that page.
pub const PAGE_OCTETS: u64 = 256 * 1024 * 1024;

/// How long the source may fail before nothing is withdrawn any more.
pub const SOURCE_TOLERANCE: Duration = Duration::from_secs(30);

/// How long an object must be missing in what a cluster lists before it counts as deleted although nobody saw that.
pub const ORPHAN_GRACE: Duration = Duration::from_secs(600);

/// How long a name stays after its object was deleted: it may be made again at once.
pub const WITHDRAWAL_LINGER: Duration = Duration::from_secs(2);

/// So many names of a zone at least, and such a part of it, are too many to go within the window without being asked.
pub const RATIO_AT_LEAST: usize = 10;
/// See [`RATIO_AT_LEAST`].
pub const RATIO_PERCENT: usize = 30;
/// See [`RATIO_AT_LEAST`].
pub const RATIO_WINDOW: Duration = Duration::from_secs(60);

/// Octets of a file with TSIG keys.
pub const MAX_KEY_FILE_OCTETS: u64 = 64 * 1024;

/// Names that a worker reads and plans at once.
pub const ROUND_NAMES: usize = 1000;

/// A name that is as it should be is read again after this, or after up to half of it less.
pub const SCAN_PERIOD: Duration = Duration::from_secs(30);

/// Names that are read again at once, for no other reason than that time has passed; then the next ones wait.
pub const SCAN_NAMES: usize = 10;
/// See [`SCAN_NAMES`].
pub const SCAN_PAUSE: Duration = Duration::from_secs(1);

/// How often a name is read that somebody with a newer view has written.
pub const STALE_CHECK: Duration = Duration::from_secs(10);

/// The pause after a server could not be asked about one name.
pub const UNREADABLE_PAUSE: Duration = Duration::from_secs(30);

/// How often it is seen, while a server does not take what it is sent, whether a secret has changed.
pub const SECRET_CHECK: Duration = Duration::from_secs(1);

/// How often it is seen whether the source of the objects is heard.
pub const LIVE_CHECK: Duration = Duration::from_secs(1);

/// How often what is known of a zone is written to disk, where something has changed.
pub const LAST_GOOD_PERIOD: Duration = Duration::from_secs(5);

/// How long a confirmation that many names may go counts, and how long it may count at most.
pub const CONFIRMATION: Duration = Duration::from_secs(600);
/// See [`CONFIRMATION`].
pub const MAX_CONFIRMATION: Duration = Duration::from_secs(3600);

/// A name server that has been silent for so long holds back nothing any more that is told of a host.
pub const DOWN_FOR_GOOD: Duration = Duration::from_secs(600);

/// How long clients may hold an answer beyond its TTL: browsers a minute, and a little for clocks and queues.
pub const SETTLING: Duration = Duration::from_secs(65);

/// So many repairs of a name within [`CONTESTED_WITHIN`] mean that somebody else writes it.
pub const CONTESTED_AFTER: usize = 3;
/// See [`CONTESTED_AFTER`].
pub const CONTESTED_WITHIN: Duration = Duration::from_secs(600);

/// Name servers that the message of a condition names.
pub const SERVERS_IN_A_MESSAGE: usize = 3;

/// How often conditions are looked through for what time alone changes.
pub const ACCOUNT_PERIOD: Duration = Duration::from_secs(1);

/// Sightings that wait for the account.
pub const SIGHTINGS_AT_ONCE: usize = 1024;

/// How often another name server is asked for its serials while nothing is waited for.
pub const PEER_PERIOD: Duration = Duration::from_secs(5);
