//! Every constant limit of the proxy in one table: what it bounds, and what a client gets beyond it. Read by the modules
//! that enforce them; what an operator may change is a flag in `options` instead.

use crate::http2_abuse::Allowance;
use std::time::Duration;

/// Descriptors that are kept for everything but client connections and those to their pods.
pub(crate) const SPARE_DESCRIPTORS: u64 = 256;
/// Connections that the kernel keeps for a listener before they are accepted; more are refused by the kernel.
pub(crate) const BACKLOG: i32 = 65_535;
/// After an accept that failed, such as for want of descriptors; connections wait in the backlog meanwhile.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// From the drain on, for handshakes that have begun at a listener which another proxy shares, and then for the first byte of a client.
/// Longer: the connection is reset or closed.
pub(crate) const LAST_HANDSHAKES: Duration = Duration::from_millis(500);

/// Between two looks at the memory in use.
pub(crate) const MEMORY_LOOK: Duration = Duration::from_millis(250);
/// Bytes of the buffers of a socket that was accepted near the memory limit, each way.
pub(crate) const TIGHT_SOCKET_BUFFER: usize = 64 * 1024;
/// For how long a connection may wait for a request near the memory limit, and where there are as many as may be. Longer: it is closed.
pub(crate) const TIGHT_IDLE: Duration = Duration::from_secs(1);
/// Client connections that are accepted whatever memory they take.
pub(crate) const CONNECTIONS_ALWAYS: usize = 256;

/// For the whole PROXY header of a load balancer. Slower: the connection is closed.
pub(crate) const PROXY_HEADER_TIME: Duration = Duration::from_secs(5);

/// Bytes of a ClientHello, over all its records. Longer: the connection is closed.
pub(crate) const CLIENT_HELLO_BYTES: usize = 64 * 1024;
/// Between two looks at the files of certificates and CAs.
pub(crate) const TLS_FILE_CHECK: Duration = Duration::from_secs(1);
/// Between two looks at the files of error pages.
pub(crate) const PAGE_FILE_CHECK: Duration = Duration::from_secs(1);
/// Between two looks at the file with the keys of relays.
pub(crate) const RELAY_KEY_CHECK: Duration = Duration::from_secs(1);
/// Bytes of the file of an error page. More: it cannot be used.
pub(crate) const ERROR_PAGE_BYTES: usize = 64 * 1024;
/// For the TLS handshake after the ClientHello. Slower: the connection is closed.
pub(crate) const TLS_HANDSHAKE_TIME: Duration = Duration::from_secs(10);
/// For a handshake's turn among others. Longer: the connection is closed.
pub(crate) const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(5);

/// Bytes of a request line and header over HTTP/1, of which no more is read. More: 431.
pub(crate) const REQUEST_HEAD_BYTES: usize = 64 * 1024;
/// Lines of them, as many as Pingora's reader takes. More: 431.
pub(crate) const REQUEST_HEAD_LINES: usize = 256 + 2;
/// Bytes of all names and values of a request header. More: 431.
pub(crate) const REQUEST_HEADER_BYTES: usize = 32 * 1024;
/// Fields of a request header. More: 431.
pub(crate) const REQUEST_HEADER_FIELDS: usize = 128;
/// Bytes of a trailer section. More: the connections of client and pod are closed.
pub(crate) const TRAILER_BYTES: usize = 8 * 1024;
/// Fields of a trailer section. More: the connections of client and pod are closed.
pub(crate) const TRAILER_FIELDS: usize = 64;
/// Bytes of the extensions of a chunk, blanks included. More: as with a trailer section.
pub(crate) const CHUNK_EXTENSION_BYTES: usize = 1024;
/// Bytes of a header, and of what comes in one piece with it, of a message that is followed to its trailers. More: its trailers
/// are dropped.
pub(crate) const TRAILED_HEADER_BYTES: usize = 64 * 1024;
/// Bytes of a request target. More: 414.
pub(crate) const REQUEST_TARGET_BYTES: usize = 16 * 1024;

/// After the last byte to a client: without any byte from it (window updates show that it still reads), and in total, until
/// it closes its side as well. Longer: the kernel is left alone with what it has not sent yet.
pub(crate) const LINGER_IDLE: Duration = Duration::from_secs(2);
/// See [`LINGER_IDLE`].
pub(crate) const LINGER_TIME: Duration = Duration::from_secs(60);
/// Bytes that a client may still send meanwhile. More: the connection is reset.
pub(crate) const LINGER_BYTES: usize = 256 * 1024;

/// Bytes of a request body that are awaited before a pod is asked, so that a slow client holds no pod and the pod's silence
/// is the pod's. Larger bodies are streamed.
pub(crate) const GATHERED_BODY: u64 = 64 * 1024;
/// For a body of unknown length that may be complete already. Longer: it is streamed.
pub(crate) const PROMPT_BODY: Duration = Duration::from_millis(5);

/// Bytes of a request body that are read and thrown away after an answer of our own, so that the connection lives on, and how
/// long that may take. Longer, or of unknown length: the connection is closed.
pub(crate) const UNREAD_BODY: u64 = 1024 * 1024;
/// See [`UNREAD_BODY`].
pub(crate) const UNREAD_BODY_TIME: Duration = Duration::from_secs(5);

/// How long a client may keep to the alternative service that it is told of; as long as a record of DNS and its users do.
pub(crate) const ALTERNATIVE_AGE: Duration = Duration::from_secs(60);

/// Requests that are relayed at a time. More: they are redirected.
pub(crate) const RELAYS: usize = 256;
/// How far relayed bytes may be ahead of their rate when another request is to be relayed. Further: it is redirected.
pub(crate) const RELAY_PATIENCE: Duration = Duration::from_secs(1);

/// What is remembered of clients for rate limits, over all routes: a state for each limit and client. More: those that
/// matter least are forgotten.
pub(crate) const RATE_STATES: usize = 100_000;

/// Bytes of a password. Longer: 401.
pub(crate) const PASSWORD_BYTES: usize = 512;
/// Verifications of passwords that wait, or are done, for the objects of one namespace. More: 503.
pub(crate) const VERIFICATIONS_WAITING: usize = 128;
/// For how long one waits. Longer: 503.
pub(crate) const VERIFICATION_PATIENCE: Duration = Duration::from_secs(5);
/// Users and passwords that are known to fit. More: those that nobody asked about lately are verified again.
pub(crate) const VERDICTS: usize = 20_000;
/// For how long they are known; a change of the Secret counts at once.
pub(crate) const VERDICT_TIME: Duration = Duration::from_secs(600);

/// Bytes of a body that is worth compressing; shorter ones stay as they are.
pub(crate) const COMPRESSED_BODY_LEAST: u64 = 1024;
/// Responses that are compressed at the same time, each with some 300 KiB of state. More: they stay as they are.
pub(crate) const COMPRESSED_AT_A_TIME: usize = 512;

/// For a service to decide about a request, where the object says nothing else. Longer: 503.
pub(crate) const EXTERNAL_TIME: Duration = Duration::from_secs(10);
/// Bytes of the body of its answer, which nobody reads. More: 503.
pub(crate) const EXTERNAL_BODY: usize = 64 * 1024;
/// Bytes of the fields of its answer that are for pod and client. More: 503.
pub(crate) const EXTERNAL_FIELDS: usize = 16 * 1024;
/// Its answers that are remembered. More: those that nobody asked about lately are not.
pub(crate) const EXTERNAL_ANSWERS: usize = 10_000;
/// Names whose addresses are remembered, and for how long.
pub(crate) const RESOLVED: usize = 4096;
/// See [`RESOLVED`].
pub(crate) const RESOLVED_TIME: Duration = Duration::from_secs(5);
/// Names that are asked for at a time. More: they wait.
pub(crate) const RESOLVING: usize = 32;
/// For one name. Longer: it has no address.
pub(crate) const RESOLVING_TIME: Duration = Duration::from_secs(5);

/// Streams at a time of one HTTP/2 client connection. More: refused by the protocol.
pub(crate) const H2_STREAMS: u32 = 100;
/// Bytes of a decoded HTTP/2 header list. More: the stream is reset.
pub(crate) const H2_HEADER_LIST_BYTES: u32 = 32 * 1024;
/// Bytes of an answer that wait in one stream of HTTP/2 for the socket; the pod's part in it waits meanwhile.
pub(crate) const H2_SEND_BUFFER: usize = 64 * 1024;
/// What is forgiven to one HTTP/2 client connection, at once and each second. More: GOAWAY, and the connection is closed. This: resets of
/// streams that are [`H2_YOUNG_STREAM`] old at most, less the answers that were begun.
pub(crate) const H2_ABUSE_RESET: Allowance = Allowance { burst: 100, per_second: 20 };
/// The same for streams that the proxy has to reset for what the client does.
pub(crate) const H2_ABUSE_PROVOKED: Allowance = Allowance { burst: 100, per_second: 10 };
/// The same for PING, less the parts of answers: some clients measure the line with each.
pub(crate) const H2_ABUSE_PING: Allowance = Allowance { burst: 100, per_second: 10 };
/// The same for SETTINGS.
pub(crate) const H2_ABUSE_SETTINGS: Allowance = Allowance { burst: 50, per_second: 1 };
/// The same for frames without content that end nothing.
pub(crate) const H2_ABUSE_EMPTY: Allowance = Allowance { burst: 100, per_second: 10 };
/// The same for priorities: some clients send a few with each request.
pub(crate) const H2_ABUSE_PRIORITY: Allowance = Allowance { burst: 500, per_second: 100 };
/// The same for WINDOW_UPDATE, less two for each part of an answer.
pub(crate) const H2_ABUSE_WINDOW: Allowance = Allowance { burst: 1000, per_second: 200 };
/// The same for frames that mean nothing here, among them those that test whether others cope with new ones (RFC 9113 §5.5).
pub(crate) const H2_ABUSE_UNKNOWN: Allowance = Allowance { burst: 100, per_second: 10 };
/// See [`H2_ABUSE_RESET`].
pub(crate) const H2_YOUNG_STREAM: Duration = Duration::from_secs(1);
/// Streams at a time of one HTTP/2 connection to a pod; further requests open another connection.
pub(crate) const H2_UPSTREAM_STREAMS: usize = 100;

/// Endpoints that are tried for one request or connection, beside those that refuse it.
pub(crate) const CONNECT_ATTEMPTS: usize = 3;
/// Endpoints that refuse one request or connection, as pods do that have ended and are still listed: they say so at once, and nothing
/// was sent. More: no further one is tried.
pub(crate) const CONNECT_REFUSALS: usize = 32;
/// Repetitions of one request on another connection where a kept one turned out to be dead.
pub(crate) const REPETITIONS: usize = 7;
/// How often endpoints are asked for one request at most, all that taken together.
pub(crate) const TRIES: usize = CONNECT_ATTEMPTS + CONNECT_REFUSALS + REPETITIONS;
/// Of so many requests of a rule within [`RETRIES_WINDOW`], one may be sent to another pod after one has had it. More: the client gets
/// what the first pod makes of it.
pub(crate) const RETRIES_ONE_IN: u64 = 5;
/// See [`RETRIES_ONE_IN`].
pub(crate) const RETRIES_WINDOW: Duration = Duration::from_secs(10);
/// So many may be in any case, for rules that are asked for little.
pub(crate) const RETRIES_LEAST: u64 = 10;
/// For a connection attempt while another endpoint is left to try; the last one gets the whole `--connect-timeout`.
pub(crate) const CONNECT_ATTEMPT_TIME: Duration = Duration::from_secs(1);
/// Requests that wait for room at one pod (`pod-concurrent-connections`). More: 503.
pub(crate) const POD_QUEUE: usize = 1024;
/// Failures in succession after which a pod is passed over where there is another.
pub(crate) const EJECTION_AFTER: u32 = 3;
/// For this long the first time, twice as long each further time.
pub(crate) const EJECTION_SHORTEST: Duration = Duration::from_secs(5);
/// At most for this long.
pub(crate) const EJECTION_LONGEST: Duration = Duration::from_secs(300);
/// Bytes of an answer that is worth to be moved in the kernel; shorter ones are copied, and as much of one whose length is not known.
/// More than what may be read of it before that is decided.
pub(crate) const SPLICED_LEAST: u64 = 128 * 1024;
/// Interim answers (1xx) of pods to one request. More: 502, and the pod's connection is closed.
pub(crate) const INTERIM_ANSWERS: usize = 32;
/// The header of a pod's answer that is read without Pingora; a longer one is left to Pingora's reader.
pub(crate) const SMALL_HEADER_BYTES: usize = 16 * 1024;
/// Fields of such a header.
pub(crate) const SMALL_HEADER_FIELDS: usize = 64;
/// Bytes of an answer that wait for what follows at once, so that both leave together.
pub(crate) const HELD_BYTES: usize = 16 * 1024;
/// Bytes of a large answer that are read of a pod and, for a client over TLS, encrypted, and sent at once, where its socket has room for
/// them.
pub(crate) const SEALED_BATCH: usize = 512 * 1024;
/// The same once a socket has taken less than it had room for.
pub(crate) const SEALED_CAUTIOUS_BATCH: usize = 64 * 1024;
/// For so long after that.
pub(crate) const SEALED_CAUTION: Duration = Duration::from_secs(10);
/// Bytes that the kernel encrypts for one connection; it cannot change keys, which are good for three times as many (RFC 8446 §5.5).
/// A longer answer is encrypted by the proxy, and after so many bytes a connection serves no other request.
pub(crate) const KERNEL_TLS_BYTES: u64 = 128 * 1024 * 1024 * 1024;
/// For what was sent between two sockets of the proxy's own, to find out whether the kernel does TLS. Longer: it does not.
pub(crate) const KERNEL_TLS_TRIAL: Duration = Duration::from_secs(1);
/// Between two looks at whether the client has what was sent, at the end of a connection that the kernel encrypts for.
pub(crate) const KERNEL_TLS_LOOK: Duration = Duration::from_millis(20);
/// Bytes over HTTP/2 that are encrypted before they are sent, where more follows at once.
pub(crate) const GATHERED_RECORDS: usize = 64 * 1024;
/// For a whole check of a pod. Longer: it failed.
pub(crate) const CHECK_TIME: Duration = Duration::from_secs(5);
/// Between two checks of a pod, whatever an annotation says.
pub(crate) const CHECK_INTERVAL_LEAST: Duration = Duration::from_millis(100);
/// Threads for what no request waits for; long work has further ones, as it comes.
pub(crate) const BACKGROUND_THREADS: usize = 2;
/// How much nicer they are than those that serve requests: where all processors are busy they have a quarter of what those have, so
/// that a change is taken in soon all the same.
pub(crate) const BACKGROUND_NICE: i32 = 6;
/// Between two plans of checks, in multiples of the time that the last one took.
pub(crate) const PLAN_REST: u32 = 9;
/// At most this long, so that a pod is checked soon.
pub(crate) const PLAN_REST_MOST: Duration = Duration::from_secs(1);
/// A state that was replaced, and that requests have pinned, is looked at again after this: to be dropped when they are over.
pub(crate) const RETIRED_KEPT: Duration = Duration::from_millis(500);
/// Checks that are planned, over all pods and kinds of checks. More: the pods count as up.
pub(crate) const CHECKS: usize = 4096;
/// Checks that are done at the same time. More: they wait.
pub(crate) const CHECKS_AT_A_TIME: usize = 64;
/// An idle connection to a pod is kept this long.
pub(crate) const UPSTREAM_IDLE: Duration = Duration::from_secs(60);
/// A connection that was made for one exchange is closed after it; Pingora knows no shorter way to say so.
pub(crate) const EXCHANGE_IDLE: Duration = Duration::from_millis(1);
/// Idle connections to pods, over all pods.
pub(crate) const UPSTREAM_POOL: usize = 1024;
/// Between two looks for idle connections that pods have closed or that are too old.
pub(crate) const UPSTREAM_SWEEP: Duration = Duration::from_secs(1);
/// Idle connections of requests of the proxy's own, over all servers.
pub(crate) const SUBREQUEST_POOL: usize = 128;
/// Bytes of all names and values of an answer to a request of the proxy's own. More: it is none.
pub(crate) const SUBREQUEST_HEADER_BYTES: usize = 32 * 1024;
/// Interim responses (1xx) before such an answer. More: it is none.
pub(crate) const SUBREQUEST_INTERIM: usize = 8;
/// For the whole answer of an error Service. Longer: the proxy's own page is sent.
pub(crate) const ERROR_SERVICE_TIME: Duration = Duration::from_secs(5);
/// Bytes of its body. More: the proxy's own page is sent.
pub(crate) const ERROR_SERVICE_BYTES: usize = 256 * 1024;
/// Bytes that a pipe may hold, largest first; what the kernel grants is used.
pub(crate) const PIPE_SIZES: [usize; 3] = [1024 * 1024, 256 * 1024, 64 * 1024];
/// Bytes that a pipe is to hold at least. Less: bytes are copied.
pub(crate) const PIPE_LEAST: usize = 16 * 1024;
/// Bytes that all pipes together may hold, and pipes; a transfer has one only while it moves something. More: bytes are copied.
pub(crate) const PIPE_BUDGET: usize = 32 * 1024 * 1024;
/// See [`PIPE_BUDGET`]. Twice as many descriptors, which [`SPARE_DESCRIPTORS`] has room for.
pub(crate) const PIPES: usize = 64;
/// Bytes of a chunk, or of what came at once of a body of unknown length, that are worth a pipe. Fewer are copied, many at a time:
/// chunks of 32 KiB cost less that way, and those of 64 KiB as much.
pub(crate) const PIPED_LEAST: u64 = 48 * 1024;
/// Bytes that a transfer moves before others get their turn: with hundreds of them, each gets something within a second.
pub(crate) const TRANSFER_TURN: u64 = 512 * 1024;
/// Transfers at a time of which each may gather. Where there are more, each waits for its turn, and its lots are large by that.
pub(crate) const GATHERING_TRANSFERS: usize = 8;
/// Bytes that the source of a large transfer gathers before they are moved, once as many have passed.
pub(crate) const GATHERED: u64 = 1024 * 1024;
/// For how long it does. Longer: what is there is moved.
pub(crate) const GATHERING_TIME: Duration = Duration::from_millis(5);
/// Bytes that came at once from a source that may gather. Less: it is slow, and wakes with the first byte.
pub(crate) const GATHERING_LEAST: u64 = 32 * 1024;
/// Bytes of the buffer of each direction of a passed-through connection that is copied.
pub(crate) const TUNNEL_BUFFER: usize = 64 * 1024;
/// Bytes of one part on its way through a tunnel over HTTP/2; each direction holds two of them.
pub(crate) const TUNNEL_PART: usize = 16 * 1024;

/// For this long a client's certificate counts as it was verified last, on a connection to a host that asks for it.
pub(crate) const CLIENT_VERIFICATION_TIME: Duration = Duration::from_secs(60);

/// Lines that wait for the access log's writer. More: they are dropped and counted.
pub(crate) const ACCESS_LOG_LINES: usize = 8 * 1024;
/// Spans that wait for the collector. More: they are dropped and counted.
pub(crate) const TRACE_SPANS: usize = 4096;
/// Spans that are sent at once.
pub(crate) const TRACE_BATCH: usize = 512;
/// How long a span waits for others.
pub(crate) const TRACE_INTERVAL: Duration = Duration::from_secs(1);
/// For one attempt to send spans; and for those that are left when the process ends.
pub(crate) const TRACE_TIME: Duration = Duration::from_secs(10);
/// Bytes of one field in the access log; longer ones are cut.
pub(crate) const ACCESS_LOG_FIELD: usize = 1024;

/// Bytes of a header field that an action writes. More: the field is removed.
pub(crate) const HEADER_VALUE_BYTES: usize = 64 * 1024;

/// After the time to live of its records for this long a node that DNS names no more is still found: resolvers and clients
/// keep answers for a minute longer than they should.
pub(crate) const DEPARTURE_AIR: Duration = Duration::from_secs(65);
/// How long it is waited until a publisher has taken that the node is not named any more: external-dns looks once a minute.
pub(crate) const DEPARTURE_UNSEEN: Duration = Duration::from_secs(75);
/// How long a router serves on whose DNS is not published by DNSEndpoints, or who cannot read them.
pub(crate) const DEPARTURE_BLIND: Duration = Duration::from_secs(45);
/// A node that DNS has not named for this long was forgotten by every resolver.
pub(crate) const DEPARTURE_MEMORY: Duration = Duration::from_secs(300);
/// How often a proxy that is to end asks whether another of its node is ready, and how long it waits for the answer.
pub(crate) const SUCCESSOR_PERIOD: Duration = Duration::from_millis(500);
/// See [`SUCCESSOR_PERIOD`].
pub(crate) const SUCCESSOR_PATIENCE: Duration = Duration::from_secs(1);

/// Bytes of a message between two processes of which one takes over from the other. More: each binds for itself.
pub(crate) const HANDOVER_MESSAGE_BYTES: usize = 32 * 1024;
/// Listening sockets that are handed over at once; the kernel takes 253.
pub(crate) const HANDOVER_SOCKETS: usize = 128;
/// For each message of the other process. Longer: nothing is handed over.
pub(crate) const HANDOVER_TIME: Duration = Duration::from_secs(5);
/// From when a process has the sockets until it says that it serves. Longer: it is not waited for.
pub(crate) const HANDOVER_READY_TIME: Duration = Duration::from_secs(120);
/// Processes that ask for the sockets at a time. More: they wait.
pub(crate) const HANDOVER_SUCCESSORS: usize = 4;
/// Between two attempts to be there for the next process.
pub(crate) const HANDOVER_RETRY: Duration = Duration::from_secs(1);
/// Bytes of a session ticket. More: it opens nothing.
pub(crate) const TICKET_BYTES: usize = 4 * 1024;
