//! Odd requests over HTTP/1, one row each: refused, with which status, or what the pod gets of them. Behind each comes another request,
//! which is answered with its own answer or not at all.

use super::pods;
use super::site::{Served, Site, Way};
use crate::support::PATIENCE;
use crate::support::client::read_to_end;
use crate::support::wire::{read_body, read_head};
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

/// What becomes of a request.
#[derive(Clone, Copy, Debug)]
pub(super) enum Expected {
    /// The client gets this status, and the connection ends; no pod gets a whole request.
    Refused(u16),
    /// The pod gets this: method and target, fields with all their values in order (none: the field is not there), and a body.
    Served(&'static str, &'static [(&'static str, &'static [&'static str])], &'static str),
}

use Expected::{Refused, Served as Gets};

/// A request, with `{H}` for its host and `{S}` for one that must never reach a pod, and what becomes of it.
pub(super) const ROWS: &[(&str, &str, Expected)] = &[
    // Lengths and codings: CL.TE, TE.CL, TE.TE, CL.CL.
    (
        "a length and a coding",
        "POST /a HTTP/1.1\r\nHost: {H}\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{S}",
        Refused(400),
    ),
    (
        "a coding and a length",
        "POST /a HTTP/1.1\r\nHost: {H}\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n1e\r\n{S}\r\n0\r\n\r\n",
        Refused(400),
    ),
    (
        "a length of nothing and a coding",
        "POST /a HTTP/1.1\r\nHost: {H}\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        Refused(400),
    ),
    (
        "two codings",
        "POST /a HTTP/1.1\r\nHost: {H}\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{S}",
        Refused(400),
    ),
    (
        "two codings that differ",
        "POST /a HTTP/1.1\r\nHost: {H}\r\nTransfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        Refused(400),
    ),
    (
        "chunked twice",
        "POST /a HTTP/1.1\r\nHost: {H}\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        Refused(400),
    ),
    (
        "chunked not last",
        "POST /a HTTP/1.1\r\nHost: {H}\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
        Refused(400),
    ),
    (
        "a coding that is not known",
        "POST /a HTTP/1.1\r\nHost: {H}\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        Refused(501),
    ),
    ("a coding that is none", "POST /a HTTP/1.1\r\nHost: {H}\r\nTransfer-Encoding: identity\r\n\r\n", Refused(400)),
    (
        "a coding like chunked",
        "POST /a HTTP/1.1\r\nHost: {H}\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        Refused(400),
    ),
    (
        "a coding in quotes",
        "POST /a HTTP/1.1\r\nHost: {H}\r\nTransfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n",
        Refused(400),
    ),
    (
        "a coding with parameters",
        "POST /a HTTP/1.1\r\nHost: {H}\r\nTransfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n",
        Refused(400),
    ),
    (
        "a coding and a comma",
        "POST /a HTTP/1.1\r\nHost: {H}\r\nTransfer-Encoding: chunked,\r\n\r\n0\r\n\r\n",
        Refused(400),
    ),
    ("a coding of nothing", "POST /a HTTP/1.1\r\nHost: {H}\r\nTransfer-Encoding:\r\n\r\n0\r\n\r\n", Refused(400)),
    (
        "a coding after a vertical tab",
        "POST /a HTTP/1.1\r\nHost: {H}\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
        Refused(400),
    ),
    (
        "a space before the colon",
        "POST /a HTTP/1.1\r\nHost: {H}\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        Refused(400),
    ),
    (
        "a coding folded",
        "POST /a HTTP/1.1\r\nHost: {H}\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
        Refused(400),
    ),
    (
        "a coding in HTTP/1.0",
        "POST /a HTTP/1.0\r\nHost: {H}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        Refused(400),
    ),
    (
        "a length twice",
        "POST /a HTTP/1.1\r\nHost: {H}\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nab",
        Refused(400),
    ),
    ("two lengths", "POST /a HTTP/1.1\r\nHost: {H}\r\nContent-Length: 0\r\nContent-Length: 2\r\n\r\nab", Refused(400)),
    ("a list of one length", "POST /a HTTP/1.1\r\nHost: {H}\r\nContent-Length: 2, 2\r\n\r\nab", Refused(400)),
    ("a length with a sign", "POST /a HTTP/1.1\r\nHost: {H}\r\nContent-Length: +2\r\n\r\nab", Refused(400)),
    ("a length below nothing", "POST /a HTTP/1.1\r\nHost: {H}\r\nContent-Length: -2\r\n\r\nab", Refused(400)),
    ("a length in hexadecimal digits", "POST /a HTTP/1.1\r\nHost: {H}\r\nContent-Length: 0x2\r\n\r\nab", Refused(400)),
    ("a length with a blank", "POST /a HTTP/1.1\r\nHost: {H}\r\nContent-Length: 0 2\r\n\r\nab", Refused(400)),
    ("a length of no digits", "POST /a HTTP/1.1\r\nHost: {H}\r\nContent-Length:\r\n\r\nab", Refused(400)),
    (
        "a length beyond 64 bits",
        "POST /a HTTP/1.1\r\nHost: {H}\r\nContent-Length: 18446744073709551618\r\n\r\nab",
        Refused(400),
    ),
    (
        "a length with a zero in front",
        "POST /a HTTP/1.1\r\nHost: {H}\r\nContent-Length: 002\r\n\r\nab",
        Gets("POST /a", &[("content-length", &["2"])], "ab"),
    ),
    (
        "a length between blanks",
        "POST /a HTTP/1.1\r\nHost: {H}\r\nContent-Length: \t2 \r\n\r\nab",
        Gets("POST /a", &[("content-length", &["2"])], "ab"),
    ),
    (
        "CL.0: a request as a body",
        "GET /a HTTP/1.1\r\nHost: {H}\r\nContent-Length: 26\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n",
        Gets("GET /a", &[("content-length", &["26"])], "GET /smuggled HTTP/1.1\r\n\r\n"),
    ),
    (
        "0.CL: a body that HEAD has",
        "HEAD /a HTTP/1.1\r\nHost: {H}\r\nContent-Length: 26\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n",
        Gets("HEAD /a", &[], "GET /smuggled HTTP/1.1\r\n\r\n"),
    ),
    (
        "a twin of the length",
        "POST /a HTTP/1.1\r\nHost: {H}\r\nContent-Length: 2\r\nContent_Length: 0\r\n\r\nab",
        Gets("POST /a", &[("content_length", &[]), ("content-length", &["2"])], "ab"),
    ),
    (
        "a twin of the coding",
        "POST /a HTTP/1.1\r\nHost: {H}\r\nContent-Length: 2\r\nTransfer_Encoding: chunked\r\n\r\nab",
        Gets("POST /a", &[("transfer_encoding", &[]), ("transfer-encoding", &[])], "ab"),
    ),
    // Chunks.
    (
        "a body in chunks",
        "POST /a HTTP/1.1\r\nHost: {H}\r\ntransfer-encoding: Chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n",
        Gets("POST /a", &[("content-length", &[])], "abc"),
    ),
    (
        "zeros before a size",
        "POST /a HTTP/1.1\r\nHost: {H}\r\nTransfer-Encoding: chunked\r\n\r\n0002\r\nab\r\n0\r\n\r\n",
        Gets("POST /a", &[], "ab"),
    ),
    (
        "an extension",
        "POST /a HTTP/1.1\r\nHost: {H}\r\nTransfer-Encoding: chunked\r\n\r\n2;a=b\r\nab\r\n0;c\r\n\r\n",
        Gets("POST /a", &[], "ab"),
    ),
    (
        "an extension with a line feed (TERM.EXT)",
        "POST /a HTTP/1.1\r\nHost: {H}\r\nTransfer-Encoding: chunked\r\n\r\n2;\nxx\r\n40\r\n0\r\n\r\n{S}",
        Refused(400),
    ),
    (
        "a carriage return in an extension",
        "POST /a HTTP/1.1\r\nHost: {H}\r\nTransfer-Encoding: chunked\r\n\r\n2;\rx\r\nab\r\n0\r\n\r\n",
        Refused(400),
    ),
    (
        "a size that ends with a line feed",
        "POST /a HTTP/1.1\r\nHost: {H}\r\nTransfer-Encoding: chunked\r\n\r\n2\nab\r\n0\r\n\r\n",
        Refused(400),
    ),
    (
        "data that ends with a line feed",
        "POST /a HTTP/1.1\r\nHost: {H}\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\n0\r\n\r\n",
        Refused(400),
    ),
    (
        "data without an end",
        "POST /a HTTP/1.1\r\nHost: {H}\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabcd0\r\n\r\n",
        Refused(400),
    ),
    (
        "a size beyond 64 bits",
        "POST /a HTTP/1.1\r\nHost: {H}\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000002\r\nab\r\n0\r\n\r\n",
        Refused(400),
    ),
    (
        "a size with a sign",
        "POST /a HTTP/1.1\r\nHost: {H}\r\nTransfer-Encoding: chunked\r\n\r\n+2\r\nab\r\n0\r\n\r\n",
        Refused(400),
    ),
    (
        "a size with a prefix",
        "POST /a HTTP/1.1\r\nHost: {H}\r\nTransfer-Encoding: chunked\r\n\r\n0x2\r\nab\r\n0\r\n\r\n",
        Refused(400),
    ),
    ("no size", "POST /a HTTP/1.1\r\nHost: {H}\r\nTransfer-Encoding: chunked\r\n\r\n\r\nab\r\n0\r\n\r\n", Refused(400)),
    (
        "blanks before a size",
        "POST /a HTTP/1.1\r\nHost: {H}\r\nTransfer-Encoding: chunked\r\n\r\n 2\r\nab\r\n0\r\n\r\n",
        Refused(400),
    ),
    (
        "a last chunk that ends with line feeds",
        "POST /a HTTP/1.1\r\nHost: {H}\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\n\n",
        Refused(400),
    ),
    (
        "trailers that are none",
        "POST /a HTTP/1.1\r\nHost: {H}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nGET /smuggled HTTP/1.1\r\n\r\n",
        Refused(400),
    ),
    (
        "trailers that nobody asked for",
        "POST /a HTTP/1.1\r\nHost: {H}\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\nContent-Length: 5\r\nX: y\r\n\r\n",
        Gets("POST /a", &[("content-length", &[]), ("x", &[])], "ab"),
    ),
    // Lines.
    ("line feeds alone", "GET /a HTTP/1.1\nHost: {H}\n\n", Refused(400)),
    ("one line feed alone", "GET /a HTTP/1.1\r\nX: y\nHost: {H}\r\n\r\n", Refused(400)),
    (
        "an end of line feeds",
        "POST /a HTTP/1.1\r\nHost: {H}\r\nContent-Length: 32\r\n\nGET /smuggled HTTP/1.1\r\n\r\n",
        Refused(400),
    ),
    ("a carriage return alone", "GET /a HTTP/1.1\r\nHost: {H}\r\nX: a\rb\r\n\r\n", Refused(400)),
    ("a folded field", "GET /a HTTP/1.1\r\nHost: {H}\r\nX: a\r\n b\r\n\r\n", Refused(400)),
    ("a folded first field", "GET /a HTTP/1.1\r\n Host: {H}\r\n\r\n", Refused(400)),
    ("a zero in a value", "GET /a HTTP/1.1\r\nHost: {H}\r\nX: a\0b\r\n\r\n", Refused(400)),
    ("a zero in a name", "GET /a HTTP/1.1\r\nHost: {H}\r\nX\0: a\r\n\r\n", Refused(400)),
    ("a field without a name", "GET /a HTTP/1.1\r\nHost: {H}\r\n: a\r\n\r\n", Refused(400)),
    ("a field without a colon", "GET /a HTTP/1.1\r\nHost: {H}\r\nX\r\n\r\n", Refused(400)),
    ("a name in brackets", "GET /a HTTP/1.1\r\nHost: {H}\r\n(X): a\r\n\r\n", Refused(400)),
    ("empty lines before it", "\r\n\r\nGET /a HTTP/1.1\r\nHost: {H}\r\n\r\n", Gets("GET /a", &[], "")),
    // Hosts.
    ("no host", "GET /a HTTP/1.1\r\n\r\n", Refused(400)),
    ("two hosts", "GET /a HTTP/1.1\r\nHost: {H}\r\nHost: {H}\r\n\r\n", Refused(400)),
    ("a list of hosts", "GET /a HTTP/1.1\r\nHost: {H}, b.example.com\r\n\r\n", Refused(400)),
    ("a host with a user", "GET /a HTTP/1.1\r\nHost: user@{H}\r\n\r\n", Refused(400)),
    ("a host with a path", "GET /a HTTP/1.1\r\nHost: {H}/b\r\n\r\n", Refused(400)),
    ("a host with a blank", "GET /a HTTP/1.1\r\nHost: {H} b\r\n\r\n", Refused(400)),
    ("a host with two ports", "GET /a HTTP/1.1\r\nHost: {H}:80:81\r\n\r\n", Refused(400)),
    (
        "a twin of the host",
        "GET /a HTTP/1.1\r\nHost: {H}\r\nHost_: b\r\nX-Host: c\r\n\r\n",
        Gets("GET /a", &[("x-host", &["c"])], ""),
    ),
    ("the absolute form", "GET http://{H}/a?b HTTP/1.1\r\nHost: {H}\r\n\r\n", Gets("GET /a?b", &[], "")),
    ("the absolute form of another host", "GET http://b.example.com/a HTTP/1.1\r\nHost: {H}\r\n\r\n", Refused(400)),
    ("the absolute form of a user", "GET http://user@{H}/a HTTP/1.1\r\nHost: {H}\r\n\r\n", Refused(400)),
    ("the absolute form of another scheme", "GET ftp://{H}/a HTTP/1.1\r\nHost: {H}\r\n\r\n", Refused(400)),
    ("the authority form", "GET {H}:80 HTTP/1.1\r\nHost: {H}\r\n\r\n", Refused(400)),
    ("the asterisk form", "GET * HTTP/1.1\r\nHost: {H}\r\n\r\n", Refused(400)),
    ("a target without a slash", "GET a HTTP/1.1\r\nHost: {H}\r\n\r\n", Refused(400)),
    // Targets and versions.
    ("a blank in the target", "GET /a b HTTP/1.1\r\nHost: {H}\r\n\r\n", Refused(400)),
    ("two blanks before the target", "GET  /a HTTP/1.1\r\nHost: {H}\r\n\r\n", Refused(400)),
    ("a blank after the version", "GET /a HTTP/1.1 \r\nHost: {H}\r\n\r\n", Refused(400)),
    ("a tab after the method", "GET\t/a HTTP/1.1\r\nHost: {H}\r\n\r\n", Refused(400)),
    ("a fragment", "GET /a#b HTTP/1.1\r\nHost: {H}\r\n\r\n", Refused(400)),
    ("quotes in the target", "GET /a\"b HTTP/1.1\r\nHost: {H}\r\n\r\n", Refused(400)),
    ("brackets around the target", "GET </a> HTTP/1.1\r\nHost: {H}\r\n\r\n", Refused(400)),
    ("letters beyond ASCII in the target", "GET /ä HTTP/1.1\r\nHost: {H}\r\n\r\n", Refused(400)),
    ("a backslash", "GET /a\\b HTTP/1.1\r\nHost: {H}\r\n\r\n", Refused(400)),
    ("an escape that is none", "GET /a%zz HTTP/1.1\r\nHost: {H}\r\n\r\n", Refused(400)),
    ("a zero in the path", "GET /a%00 HTTP/1.1\r\nHost: {H}\r\n\r\n", Refused(400)),
    (
        "an escape in the path",
        "GET /%61%2f..%2Fa?%00 HTTP/1.1\r\nHost: {H}\r\n\r\n",
        Gets("GET /%61%2f..%2Fa?%00", &[], ""),
    ),
    ("brackets in the query", "GET /a?b[]={c|d} HTTP/1.1\r\nHost: {H}\r\n\r\n", Gets("GET /a?b[]={c|d}", &[], "")),
    ("HTTP/0.9", "GET /a\r\n", Refused(400)),
    ("HTTP/1.2", "GET /a HTTP/1.2\r\nHost: {H}\r\n\r\n", Refused(400)),
    ("HTTP/2.0", "GET /a HTTP/2.0\r\nHost: {H}\r\n\r\n", Refused(400)),
    ("http/1.1", "GET /a http/1.1\r\nHost: {H}\r\n\r\n", Refused(400)),
    ("HTTP/11", "GET /a HTTP/11\r\nHost: {H}\r\n\r\n", Refused(400)),
    // Methods, expectations, upgrades.
    ("TRACE", "TRACE /a HTTP/1.1\r\nHost: {H}\r\n\r\n", Refused(405)),
    ("CONNECT", "CONNECT {H}:80 HTTP/1.1\r\nHost: {H}:80\r\n\r\n", Refused(405)),
    ("a method that is none", "GE(T /a HTTP/1.1\r\nHost: {H}\r\n\r\n", Refused(400)),
    (
        "an expectation of anything",
        "POST /a HTTP/1.1\r\nHost: {H}\r\nExpect: 200-ok\r\nContent-Length: 2\r\n\r\nab",
        Refused(417),
    ),
    (
        "an expectation of much",
        "POST /a HTTP/1.1\r\nHost: {H}\r\nExpect: 100-continue, x\r\nContent-Length: 2\r\n\r\nab",
        Refused(417),
    ),
    (
        "an expectation in HTTP/1.0",
        "POST /a HTTP/1.0\r\nHost: {H}\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nab",
        Gets("POST /a", &[("expect", &[])], "ab"),
    ),
    (
        "an upgrade to HTTP/2",
        "GET /a HTTP/1.1\r\nHost: {H}\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
        Gets("GET /a", &[("upgrade", &[]), ("http2-settings", &[]), ("connection", &[])], ""),
    ),
    (
        "an upgrade to HTTP/2 with a body",
        "POST /a HTTP/1.1\r\nHost: {H}\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\nab",
        Gets("POST /a", &[("upgrade", &[]), ("content-length", &["2"])], "ab"),
    ),
    (
        "an upgrade with a body in chunks",
        "POST /a HTTP/1.1\r\nHost: {H}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n",
        Gets("POST /a", &[("upgrade", &[])], "ab"),
    ),
    (
        "an upgrade to two protocols",
        "GET /a HTTP/1.1\r\nHost: {H}\r\nConnection: Upgrade\r\nUpgrade: websocket, h2c\r\n\r\n",
        Gets("GET /a", &[("upgrade", &[])], ""),
    ),
    // What is named by Connection, and other fields of a hop.
    ("the host named", "GET /a HTTP/1.1\r\nHost: {H}\r\nConnection: Host\r\n\r\n", Refused(400)),
    (
        "the length named",
        "POST /a HTTP/1.1\r\nHost: {H}\r\nConnection: Content-Length\r\nContent-Length: 2\r\n\r\nab",
        Refused(400),
    ),
    (
        "forwarded fields named",
        "GET /a HTTP/1.1\r\nHost: {H}\r\nConnection: close, X-Forwarded-Proto\r\n\r\n",
        Refused(400),
    ),
    (
        "credentials named",
        "GET /a HTTP/1.1\r\nHost: {H}\r\nConnection: Authorization\r\nAuthorization: a\r\n\r\n",
        Refused(400),
    ),
    ("something that is no name", "GET /a HTTP/1.1\r\nHost: {H}\r\nConnection: \"x\"\r\n\r\n", Refused(400)),
    (
        "a field of the client's own named",
        "GET /a HTTP/1.1\r\nHost: {H}\r\nConnection: X-Mine\r\nX-Mine: 1\r\nX-Other: 2\r\n\r\n",
        Gets("GET /a", &[("x-mine", &[]), ("x-other", &["2"])], ""),
    ),
    (
        "fields of a hop",
        "GET /a HTTP/1.1\r\nHost: {H}\r\nTE: gzip\r\nKeep-Alive: 5\r\nProxy-Connection: keep-alive\r\nProxy-Authorization: a\r\nProxy: b\r\n\r\n",
        Gets(
            "GET /a",
            &[("keep-alive", &[]), ("proxy-connection", &[]), ("proxy-authorization", &[]), ("proxy", &[])],
            "",
        ),
    ),
];

/// A request that must never reach a pod.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: a.example.com\r\n\r\n";

/// The bytes of a row for a host.
pub(super) fn written(request: &str, host: &str) -> Vec<u8> {
    request.replace("{H}", host).replace("{S}", SMUGGLED).into_bytes()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_odd_request_is_refused_or_reaches_the_pod_in_one_form() {
    let site = Site::new().await;
    let mut wrong = Vec::new();
    for served in site.served() {
        for way in &site.ways {
            for (what, request, expected) in ROWS {
                let found = row(&served, way, request, *expected).await;
                if let Err(found) = found {
                    wrong.push(format!("{what} ({} {:?}): {found}", way.host, served.flags));
                }
            }
            assert_eq!(way.record.faults(), Vec::<String>::new(), "{}", way.host);
        }
    }
    assert!(wrong.is_empty(), "{} of them: {wrong:#?}", wrong.len());
}

async fn row(served: &Served<'_>, way: &Way, request: &str, expected: Expected) -> Result<(), String> {
    let mut client = served.connect(way).await;
    // The proxy may refuse it before all of it has come.
    drop(client.write_all(&written(request, way.host)).await);
    drop(client.flush().await);
    if let Refused(status) = expected {
        let answer = read_to_end(&mut client).await;
        let whole = answer.starts_with(&format!("HTTP/1.1 {status} ")) && answer.matches("HTTP/1.1 ").count() == 1;
        let reached = way.record.take();
        return if whole && reached.is_empty() { Ok(()) } else { Err(format!("{answer:?}, the pod got {reached:?}")) };
    }
    let Gets(line, fields, body) = expected else { return Ok(()) };
    let head = line.starts_with("HEAD ");
    let mut read = Vec::new();
    let header = timeout(PATIENCE, read_head(&mut client, &mut read)).await.map_err(|_| "no answer comes")?;
    let header = header.ok_or("the connection ends")?;
    if !header.starts_with("HTTP/1.1 200 ") {
        return Err(format!("{header:?}, the pod got {:?}", way.record.take()));
    }
    if !head {
        let token = timeout(PATIENCE, read_body(&mut client, &header, &mut read)).await.map_err(|_| "no body comes")?;
        if token.as_deref() != Some(pods::token(line).as_bytes()) {
            return Err(format!("the answer is {token:?}"));
        }
    }
    let next = format!("GET /next HTTP/1.1\r\nHost: {}\r\n\r\n", way.host);
    // Whether the connection goes on is for the proxy to say.
    drop(client.write_all(next.as_bytes()).await);
    drop(client.flush().await);
    let mut expected = vec![line.to_owned()];
    if let Some(header) = timeout(PATIENCE, read_head(&mut client, &mut read)).await.map_err(|_| "no end comes")? {
        let token = timeout(PATIENCE, read_body(&mut client, &header, &mut read)).await.map_err(|_| "no body comes")?;
        if token.as_deref() != Some(b"next") {
            return Err(format!("the next answer is {header:?} {token:?}"));
        }
        expected.push("GET /next".to_owned());
    }
    let recorded = way.record.take();
    let lines: Vec<&str> = recorded.iter().map(|recorded| &*recorded.line).collect();
    if lines != expected {
        return Err(format!("the pod got {lines:?}"));
    }
    let wrong = fields.iter().any(|(name, values)| recorded[0].values(name) != *values);
    if wrong || recorded[0].body != body.as_bytes() {
        return Err(format!("the pod got {:?}", recorded[0]));
    }
    Ok(())
}
