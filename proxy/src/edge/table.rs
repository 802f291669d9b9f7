//! The table of every limit that a client can meet: what it bounds, how much, who says so, what the client gets beyond it, and where it
//! is counted. Flags and constants flow in, `docs/limits.md` flows out, and is held to be what this says. Flags have their defaults from
//! the command line itself, constants are the ones that are enforced.

use super::crowd::STEPS;
use super::exceeded::Limit;
use super::{ROUTE_LEAVES, SOURCE_LEAST, SOURCE_PART};
use crate::limits::*;
use crate::options::Arguments;
use clap::CommandFactory;
use std::fmt::Write;
use std::path::PathBuf;
use std::time::Duration;

struct Row {
    what: &'static str,
    how_much: HowMuch,
    client: &'static str,
    counted: Counted,
}

enum HowMuch {
    /// The default of a flag.
    Flag(&'static str),
    /// What a flag stands for by default, in words.
    Auto(&'static str, String),
    /// What nobody can change.
    Fixed(String),
    /// What each object says for itself, and how much it is where none does.
    Annotation(&'static str, &'static str),
}

enum Counted {
    Limit(Limit),
    /// A metric, a label and its value.
    Other(&'static str, &'static str, &'static str),
    /// By the protocol, or as the end that it was agreed to be.
    No,
}

use Counted::{No, Other};
use HowMuch::{Annotation, Auto, Fixed, Flag};

fn sections() -> Vec<(&'static str, Vec<Row>)> {
    vec![
        ("Connections", connections()),
        ("TLS", tls()),
        ("Request headers", headers()),
        ("Request bodies", bodies()),
        ("Answers and tunnels", answers()),
        ("Requests", requests()),
    ]
}

fn connections() -> Vec<Row> {
    let steps = STEPS.map(|(percent, patience)| format!("{} from {percent} % on", time(patience)));
    vec![
        row("connections at a time", Flag("max-connections"), "waits in the kernel's queue", Limit::Connections),
        row(
            "connections at a time of one source: an IPv4 address, or an IPv6 network of 64 bits",
            Auto("max-connections-per-source", format!("one in {SOURCE_PART} of all, but {SOURCE_LEAST} in any case")),
            "a reset, at once",
            Limit::ConnectionsPerSource,
        ),
        Row {
            what: "connections in the kernel's queue of one listener",
            how_much: Fixed(number(BACKLOG)),
            client: "the kernel's choice: nothing, so that it tries again, or a reset",
            counted: No,
        },
        Row {
            what: "time between two requests of a connection",
            how_much: Flag("keep-alive-timeout"),
            client: "the connection is closed in order; over HTTP/2 after GOAWAY",
            counted: No,
        },
        row(
            "the same while connections are nearly as many as may be; whoever has waited longest goes first",
            Fixed(steps.join(", ")),
            "the connection is closed in order; over HTTP/2 after GOAWAY",
            Limit::IdleInCrowd,
        ),
        Row {
            what: "the same near `--memory-limit`",
            how_much: Fixed(time(TIGHT_IDLE)),
            client: "the connection is closed in order",
            counted: Other("nearside_memory_shed_total", "what", "idle"),
        },
        Row {
            what: "connections at `--memory-limit`",
            how_much: Fixed(number(CONNECTIONS_ALWAYS)),
            client: "waits in the kernel's queue",
            counted: Other("nearside_memory_shed_total", "what", "connection"),
        },
        Row {
            what: "time of the PROXY header of a load balancer",
            how_much: Fixed(time(PROXY_HEADER_TIME)),
            client: "the connection is closed",
            counted: Other("nearside_proxy_headers_refused_total", "reason", "timeout"),
        },
    ]
}

fn tls() -> Vec<Row> {
    let failed = |reason| Other("nearside_tls_failures_total", "reason", reason);
    let closed = "the connection is closed";
    vec![
        Row {
            what: "time from the start of a connection to the end of its ClientHello",
            how_much: Flag("client-hello-timeout"),
            client: closed,
            counted: failed("timeout"),
        },
        Row {
            what: "bytes of a ClientHello, over all its records",
            how_much: Fixed(bytes(CLIENT_HELLO_BYTES)),
            client: closed,
            counted: failed("not_tls"),
        },
        Row {
            what: "handshakes that a thread computes before other work gets its turn",
            how_much: Flag("handshakes-per-thread"),
            client: "waits; a turn begins with a complete ClientHello and ends while the client is waited for",
            counted: No,
        },
        Row {
            what: "handshakes that wait for their turn",
            how_much: Flag("handshakes-waiting"),
            client: closed,
            counted: failed("busy"),
        },
        Row {
            what: "time for which one waits",
            how_much: Fixed(time(HANDSHAKE_PATIENCE)),
            client: closed,
            counted: failed("busy"),
        },
        Row {
            what: "time from the ClientHello to the end of the handshake",
            how_much: Fixed(time(TLS_HANDSHAKE_TIME)),
            client: closed,
            counted: failed("timeout"),
        },
    ]
}

fn headers() -> Vec<Row> {
    let too_large = "431, and the connection is closed; over HTTP/2 the stream alone";
    vec![
        row(
            "time of a whole request header, from its first byte or from the connection's start",
            Flag("header-timeout"),
            "408 without TLS, and the connection is closed",
            Limit::HeaderTime,
        ),
        row("bytes of all names and values", Fixed(bytes(REQUEST_HEADER_BYTES)), too_large, Limit::HeaderSize),
        row("fields", Fixed(number(REQUEST_HEADER_FIELDS)), too_large, Limit::HeaderSize),
        row(
            "bytes of request line and header over HTTP/1, of which no more is read",
            Fixed(bytes(REQUEST_HEAD_BYTES)),
            "431, and the connection is closed",
            Limit::HeaderSize,
        ),
        row(
            "bytes of a request target",
            Fixed(bytes(REQUEST_TARGET_BYTES)),
            "414, and the connection is closed; over HTTP/2 the stream alone",
            Limit::TargetSize,
        ),
        Row {
            what: "bytes of a decoded header list over HTTP/2",
            how_much: Fixed(bytes(H2_HEADER_LIST_BYTES)),
            client: "431 for the stream, by the protocol",
            counted: No,
        },
        Row {
            what: "streams at a time of one connection over HTTP/2",
            how_much: Fixed(number(H2_STREAMS)),
            client: "the stream is refused, by the protocol",
            counted: No,
        },
    ]
}

fn bodies() -> Vec<Row> {
    vec![
        row("time without any byte of the body", Flag("client-timeout"), "408", Limit::BodySilence),
        row("bytes a second, on average", Flag("client-body-rate"), "408", Limit::BodyRate),
        row("time for which it may be less", Flag("client-body-grace"), "408", Limit::BodyRate),
        Row {
            what: "bytes of a body",
            how_much: Annotation("nearside.dev/max-body-size", "any number"),
            client: "413",
            counted: Other("nearside_http_requests_total", "status", "413"),
        },
        Row {
            what: "bytes of a trailer section",
            how_much: Fixed(bytes(TRAILER_BYTES)),
            client: "400, or the connection is closed",
            counted: Other("nearside_http_requests_total", "status", "400"),
        },
        Row {
            what: "fields of a trailer section",
            how_much: Fixed(number(TRAILER_FIELDS)),
            client: "400, or the connection is closed",
            counted: Other("nearside_http_requests_total", "status", "400"),
        },
        Row {
            what: "bytes of the extensions of a chunk, where the proxy reads the chunks itself",
            how_much: Fixed(bytes(CHUNK_EXTENSION_BYTES)),
            client: "400, or the connection is closed",
            counted: Other("nearside_http_requests_total", "status", "400"),
        },
        Row {
            what: "bytes of a body that nobody wants any more, so that the connection lives on",
            how_much: Fixed(bytes(UNREAD_BODY)),
            client: "the connection is closed after the answer",
            counted: No,
        },
        Row {
            what: "time for which it is read and thrown away",
            how_much: Fixed(time(UNREAD_BODY_TIME)),
            client: "the connection is closed after the answer",
            counted: No,
        },
    ]
}

fn answers() -> Vec<Row> {
    vec![
        row(
            "time in which the client takes no byte of what there is for it; over HTTP/2 for each part of up to 64 KiB",
            Flag("client-stall-timeout"),
            "the connection is closed; over HTTP/2 the stream, where the connection goes on",
            Limit::ClientStall,
        ),
        Row {
            what: "time without any byte either way on an upgraded or passed-through connection",
            how_much: Flag("tunnel-timeout"),
            client: "the connection is closed",
            counted: No,
        },
        Row {
            what: "time without any byte from a client that has all of its answer and does not close its side",
            how_much: Fixed(time(LINGER_IDLE)),
            client: "the connection is closed",
            counted: No,
        },
        Row {
            what: "time until it has closed it",
            how_much: Fixed(time(LINGER_TIME)),
            client: "the connection is closed",
            counted: No,
        },
        Row {
            what: "bytes that it sends meanwhile",
            how_much: Fixed(bytes(LINGER_BYTES)),
            client: "a reset",
            counted: No,
        },
    ]
}

fn requests() -> Vec<Row> {
    let again = "503 with `Retry-After`";
    vec![
        row(
            "requests for pods, and passed-through connections, at a time of one route",
            Auto("max-requests-per-route", format!("as many as connections at a time, less one in {ROUTE_LEAVES}")),
            "503 with `Retry-After`, and the connection is closed; passed through: closed",
            Limit::RequestsPerRoute,
        ),
        row(
            "requests for pods at a time, of all routes",
            Fixed("as many as connections at a time".to_owned()),
            "503 with `Retry-After`, and the connection is closed",
            Limit::Requests,
        ),
        Row {
            what: "requests of one client for one route, at a time or in a time",
            how_much: Annotation("nearside.dev/rate-limit-connections", "any number"),
            client: "429 with `Retry-After`; passed through: closed",
            counted: Other("nearside_http_requests_total", "status", "429"),
        },
        Row {
            what: "requests at a time for one pod",
            how_much: Annotation("nearside.dev/pod-concurrent-connections", "any number"),
            client: "waits; 503 with `Retry-After` after the connect timeout",
            counted: Other("nearside_queued_requests_total", "result", "timeout"),
        },
        Row {
            what: "requests that wait for room at one pod",
            how_much: Fixed(number(POD_QUEUE)),
            client: again,
            counted: Other("nearside_queued_requests_total", "result", "full"),
        },
        row(
            "requests of a rule that are sent to another pod after one has had them (`nearside.dev/retry-on`)",
            Fixed(format!(
                "one in {RETRIES_ONE_IN} of those within {}, but {RETRIES_LEAST} in any case",
                time(RETRIES_WINDOW)
            )),
            "what the first pod makes of it",
            Limit::Retries,
        ),
        Row {
            what: "bytes of a password",
            how_much: Fixed(bytes(PASSWORD_BYTES)),
            client: "401",
            counted: Other("nearside_authentications_total", "result", "refused"),
        },
        Row {
            what: "passwords that wait to be verified for the objects of one namespace",
            how_much: Fixed(number(VERIFICATIONS_WAITING)),
            client: again,
            counted: Other("nearside_authentications_total", "result", "busy"),
        },
        Row {
            what: "time for which one waits",
            how_much: Fixed(time(VERIFICATION_PATIENCE)),
            client: again,
            counted: Other("nearside_authentications_total", "result", "busy"),
        },
        Row {
            what: "answers that are compressed at a time",
            how_much: Fixed(number(COMPRESSED_AT_A_TIME)),
            client: "an answer that is not compressed",
            counted: No,
        },
    ]
}

fn row(what: &'static str, how_much: HowMuch, client: &'static str, limit: Limit) -> Row {
    Row { what, how_much, client, counted: Counted::Limit(limit) }
}

/// `docs/limits.md`.
fn document() -> String {
    let mut text = HEAD.to_owned();
    for (title, rows) in sections() {
        let _ = write!(
            text,
            "\n## {title}\n\n| what | how much | said by | what the client gets | counted by |\n|---|---|---|---|---|\n"
        );
        for Row { what, how_much, client, counted } in rows {
            let (how_much, by) = match how_much {
                Flag(flag) => (format!("`{}`", default(flag)), format!("`--{flag}`")),
                Auto(flag, text) => {
                    assert_eq!(default(flag), "auto", "--{flag}");
                    (text, format!("`--{flag}`"))
                }
                Fixed(value) => (value, String::new()),
                Annotation(name, value) => (value.to_owned(), format!("`{name}`")),
            };
            let counted = match counted {
                Counted::Limit(limit) => format!("`{}{{limit=\"{}\"}}`", EXCEEDED, limit.name()),
                Other(metric, label, value) => format!("`{metric}{{{label}=\"{value}\"}}`"),
                No => String::new(),
            };
            let _ = writeln!(text, "| {what} | {how_much} | {by} | {client} | {counted} |");
        }
    }
    text + TAIL
}

/// The default of a flag, as the command line has it.
fn default(flag: &str) -> String {
    let command = Arguments::command();
    let argument = command.get_arguments().find(|argument| argument.get_long() == Some(flag));
    let argument = argument.unwrap_or_else(|| panic!("there is no --{flag}"));
    argument.get_default_values()[0].to_str().unwrap().to_owned()
}

fn number(value: impl ToString) -> String {
    value.to_string()
}

fn bytes(value: impl TryInto<u64>) -> String {
    let value = value.try_into().unwrap_or(u64::MAX);
    if value.is_multiple_of(1024 * 1024) {
        format!("{} MiB", value / 1024 / 1024)
    } else if value.is_multiple_of(1024) {
        format!("{} KiB", value / 1024)
    } else {
        format!("{value} bytes")
    }
}

fn time(value: Duration) -> String {
    format!("{} s", value.as_secs_f64())
}

/// Where the annotations are read.
const ANNOTATIONS: [&str; 3] = [
    include_str!("../../../routing/src/policy/balance.rs"),
    include_str!("../../../routing/src/policy/body.rs"),
    include_str!("../../../routing/src/policy/rate.rs"),
];

const EXCEEDED: &str = "nearside_limit_exceeded_total";

const HEAD: &str = "\
# Limits

What a client may take of the proxy, and what it gets beyond that. Written by `make render` from `proxy/src/edge/table.rs`; change it
there. Flags are in [command-lines.md](command-lines.md), metrics in [operations.md](operations.md); each limit that an operator may want
to know of has a counter.
";

const TAIL: &str = "
## Why these

* The bytes of a body count while the proxy waits for the client, and for nothing else: time in which the pod takes nothing is the pod's.
  A client has a credit of `--client-body-grace`, which waiting for it spends and bytes earn again, so that a fast beginning buys no slow
  end. Once the pod has begun to answer, both sides may speak when they like, with a silence of `--tunnel-timeout`; so WebSockets and
  whatever else goes both ways over HTTP/1.1 is free. Requests to pods over HTTP/2, gRPC among them, are not measured: behind its flow
  control nobody sees who is slow. They are held by `--client-timeout`.
* No speed is demanded of a client that takes an answer. Whoever takes single bytes is a slow reader until it takes none for
  `--client-stall-timeout`, and costs no more than its connection, of which each source may have so many.
* A source that stands for many clients, such as a proxy in front of this one, belongs into `--trusted-proxies`. With the PROXY protocol
  the address that is told counts. Where a load balancer with one address hides its clients without either,
  `--max-connections-per-source=off` is right.
* Connections need descriptors: `--max-connections` is cut to what the limit on open files has room for, with one more for each
  connection's pod, so that there is one when it is needed. Requests for pods are bounded by the same number, for over HTTP/2 one
  connection brings many.
* A handshake has its turn only while it is computed. Whoever stops within it takes no turn, only a connection and at most the time of a
  handshake.
";

#[test]
fn the_document_is_what_the_table_says() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/limits.md");
    let document = document();
    if std::env::var_os("NEARSIDE_RENDER").is_some() {
        std::fs::write(&path, &document).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == document, "docs/limits.md is out of date: make render");
}

#[test]
fn every_counter_has_a_row_and_every_metric_of_a_row_is_described() {
    let rows: Vec<Row> = sections().into_iter().flat_map(|(_, rows)| rows).collect();
    for limit in Limit::ALL {
        let is_it = |row: &Row| matches!(row.counted, Counted::Limit(counted) if counted == limit);
        assert!(rows.iter().any(is_it), "{limit:?} is in no row");
    }
    let described = include_str!("../../../docs/operations.md");
    for row in &rows {
        if let Other(metric, _, value) = row.counted {
            assert!(described.contains(&format!("`{metric}`")), "{metric}");
            assert!(value.parse::<u16>().is_ok() || described.contains(&format!("`{value}`")), "{metric}: {value}");
        }
        if let Annotation(name, _) = row.how_much {
            assert!(ANNOTATIONS.iter().any(|source| source.contains(&format!("{name}\""))), "{name}");
        }
    }
}
