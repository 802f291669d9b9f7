//! Odd requests over HTTP/2, one row each: refused by the reset of their stream, an answer that is none of a pod or the end of the
//! connection, or what the pod gets of them, whichever version of HTTP it speaks.

use super::site::{Served, Site, Way};
use crate::support::h2_wire::{DATA, END_HEADERS, END_STREAM, HEADERS, Wire, block, frame};

/// What becomes of a request.
#[derive(Clone, Copy, Debug)]
enum Expected {
    /// No pod answers it, and none gets a whole request.
    Refused,
    /// The pod gets this: method and target, fields with all their values, and a body.
    Served(&'static str, &'static [(&'static str, &'static [&'static str])], &'static str),
}

use Expected::{Refused, Served as Gets};

type Fields = &'static [(&'static str, &'static str)];

/// Fields of a request in their order, with `{H}` for its host; what comes in DATA, and then in trailers; what becomes of it.
const ROWS: &[(&str, Fields, &str, Fields, Expected)] = &[
    (
        "a plain one",
        &[(":method", "GET"), (":scheme", "{S}"), (":path", "/a?b"), (":authority", "{H}")],
        "",
        &[],
        Gets("GET /a?b", &[("host", &["{H}"])], ""),
    ),
    (
        "a plain one with a body",
        &[(":method", "POST"), (":scheme", "{S}"), (":path", "/a"), (":authority", "{H}"), ("content-length", "2")],
        "ab",
        &[],
        Gets("POST /a", &[("content-length", &["2"])], "ab"),
    ),
    (
        "a body without a length",
        &[(":method", "POST"), (":scheme", "{S}"), (":path", "/a"), (":authority", "{H}")],
        "ab",
        &[],
        Gets("POST /a", &[], "ab"),
    ),
    (
        "the host alone",
        &[(":method", "GET"), (":scheme", "{S}"), (":path", "/a"), ("host", "{H}")],
        "",
        &[],
        Gets("GET /a", &[("host", &["{H}"])], ""),
    ),
    (
        "cookies in crumbs",
        &[
            (":method", "GET"),
            (":scheme", "{S}"),
            (":path", "/a"),
            (":authority", "{H}"),
            ("cookie", "a=1"),
            ("cookie", "b=2"),
        ],
        "",
        &[],
        Gets("GET /a", &[], ""),
    ),
    // RFC 9113 §8.2.2.
    (
        "connection",
        &[(":method", "GET"), (":scheme", "{S}"), (":path", "/a"), (":authority", "{H}"), ("connection", "close")],
        "",
        &[],
        Refused,
    ),
    (
        "transfer-encoding",
        &[
            (":method", "POST"),
            (":scheme", "{S}"),
            (":path", "/a"),
            (":authority", "{H}"),
            ("transfer-encoding", "chunked"),
        ],
        "0\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n",
        &[],
        Refused,
    ),
    (
        "keep-alive",
        &[(":method", "GET"), (":scheme", "{S}"), (":path", "/a"), (":authority", "{H}"), ("keep-alive", "5")],
        "",
        &[],
        Refused,
    ),
    (
        "proxy-connection",
        &[
            (":method", "GET"),
            (":scheme", "{S}"),
            (":path", "/a"),
            (":authority", "{H}"),
            ("proxy-connection", "keep-alive"),
        ],
        "",
        &[],
        Refused,
    ),
    (
        "upgrade",
        &[(":method", "GET"), (":scheme", "{S}"), (":path", "/a"), (":authority", "{H}"), ("upgrade", "websocket")],
        "",
        &[],
        Refused,
    ),
    (
        "te of more than trailers",
        &[(":method", "GET"), (":scheme", "{S}"), (":path", "/a"), (":authority", "{H}"), ("te", "trailers, gzip")],
        "",
        &[],
        Refused,
    ),
    // RFC 9113 §8.2.1.
    (
        "a name in capitals",
        &[(":method", "GET"), (":scheme", "{S}"), (":path", "/a"), (":authority", "{H}"), ("X-A", "b")],
        "",
        &[],
        Refused,
    ),
    (
        "a name with a colon",
        &[(":method", "GET"), (":scheme", "{S}"), (":path", "/a"), (":authority", "{H}"), ("x:a", "b")],
        "",
        &[],
        Refused,
    ),
    (
        "a name with a blank",
        &[(":method", "GET"), (":scheme", "{S}"), (":path", "/a"), (":authority", "{H}"), ("x a", "b")],
        "",
        &[],
        Refused,
    ),
    (
        "a name with a line end",
        &[(":method", "GET"), (":scheme", "{S}"), (":path", "/a"), (":authority", "{H}"), ("x\r\ny", "b")],
        "",
        &[],
        Refused,
    ),
    (
        "no name",
        &[(":method", "GET"), (":scheme", "{S}"), (":path", "/a"), (":authority", "{H}"), ("", "b")],
        "",
        &[],
        Refused,
    ),
    (
        "a line end in a value",
        &[
            (":method", "GET"),
            (":scheme", "{S}"),
            (":path", "/a"),
            (":authority", "{H}"),
            ("x", "a\r\nTransfer-Encoding: chunked"),
        ],
        "",
        &[],
        Refused,
    ),
    (
        "a line feed in a value",
        &[(":method", "GET"), (":scheme", "{S}"), (":path", "/a"), (":authority", "{H}"), ("x", "a\nb")],
        "",
        &[],
        Refused,
    ),
    (
        "a zero in a value",
        &[(":method", "GET"), (":scheme", "{S}"), (":path", "/a"), (":authority", "{H}"), ("x", "a\0b")],
        "",
        &[],
        Refused,
    ),
    // RFC 9113 §8.3.
    ("no method", &[(":scheme", "{S}"), (":path", "/a"), (":authority", "{H}")], "", &[], Refused),
    ("no scheme", &[(":method", "GET"), (":path", "/a"), (":authority", "{H}")], "", &[], Refused),
    ("no path", &[(":method", "GET"), (":scheme", "{S}"), (":authority", "{H}")], "", &[], Refused),
    (
        "an empty path",
        &[(":method", "GET"), (":scheme", "{S}"), (":path", ""), (":authority", "{H}")],
        "",
        &[],
        Refused,
    ),
    ("no host at all", &[(":method", "GET"), (":scheme", "{S}"), (":path", "/a")], "", &[], Refused),
    (
        "two paths",
        &[(":method", "GET"), (":scheme", "{S}"), (":path", "/a"), (":path", "/smuggled"), (":authority", "{H}")],
        "",
        &[],
        Refused,
    ),
    (
        "two authorities",
        &[
            (":method", "GET"),
            (":scheme", "{S}"),
            (":path", "/a"),
            (":authority", "{H}"),
            (":authority", "b.example.com"),
        ],
        "",
        &[],
        Refused,
    ),
    (
        "a field before the path",
        &[(":method", "GET"), (":scheme", "{S}"), ("x", "a"), (":path", "/a"), (":authority", "{H}")],
        "",
        &[],
        Refused,
    ),
    (
        "a status",
        &[(":method", "GET"), (":scheme", "{S}"), (":path", "/a"), (":authority", "{H}"), (":status", "200")],
        "",
        &[],
        Refused,
    ),
    (
        "a pseudo-header field of its own",
        &[(":method", "GET"), (":scheme", "{S}"), (":path", "/a"), (":authority", "{H}"), (":mine", "1")],
        "",
        &[],
        Refused,
    ),
    (
        "another host",
        &[(":method", "GET"), (":scheme", "{S}"), (":path", "/a"), (":authority", "{H}"), ("host", "b.example.com")],
        "",
        &[],
        Refused,
    ),
    (
        "two hosts",
        &[(":method", "GET"), (":scheme", "{S}"), (":path", "/a"), ("host", "{H}"), ("host", "{H}")],
        "",
        &[],
        Refused,
    ),
    (
        "an authority with a user",
        &[(":method", "GET"), (":scheme", "{S}"), (":path", "/a"), (":authority", "user@{H}")],
        "",
        &[],
        Refused,
    ),
    (
        "an authority with a path",
        &[(":method", "GET"), (":scheme", "{S}"), (":path", "/a"), (":authority", "{H}/b")],
        "",
        &[],
        Refused,
    ),
    (
        "an authority with a line end",
        &[(":method", "GET"), (":scheme", "{S}"), (":path", "/a"), (":authority", "{H}\r\nX: y")],
        "",
        &[],
        Refused,
    ),
    (
        "a list of authorities",
        &[(":method", "GET"), (":scheme", "{S}"), (":path", "/a"), (":authority", "{H},b.example.com")],
        "",
        &[],
        Refused,
    ),
    (
        "another scheme",
        &[(":method", "GET"), (":scheme", "ftp"), (":path", "/a"), (":authority", "{H}")],
        "",
        &[],
        Refused,
    ),
    (
        "a scheme with a target",
        &[(":method", "GET"), (":scheme", "http://b/?"), (":path", "/a"), (":authority", "{H}")],
        "",
        &[],
        Refused,
    ),
    (
        "a method with a line end",
        &[(":method", "GET / HTTP/1.1\r\nX: y\r\n\r\nGET"), (":scheme", "{S}"), (":path", "/a"), (":authority", "{H}")],
        "",
        &[],
        Refused,
    ),
    (
        "a method with a blank",
        &[(":method", "GET /smuggled"), (":scheme", "{S}"), (":path", "/a"), (":authority", "{H}")],
        "",
        &[],
        Refused,
    ),
    (
        "a path with a blank",
        &[(":method", "GET"), (":scheme", "{S}"), (":path", "/a b"), (":authority", "{H}")],
        "",
        &[],
        Refused,
    ),
    (
        "a path with a line end",
        &[(":method", "GET"), (":scheme", "{S}"), (":path", "/a HTTP/1.1\r\nX: y\r\n\r\n"), (":authority", "{H}")],
        "",
        &[],
        Refused,
    ),
    (
        "a path without a slash",
        &[(":method", "GET"), (":scheme", "{S}"), (":path", "a"), (":authority", "{H}")],
        "",
        &[],
        Refused,
    ),
    (
        "a path in absolute form",
        &[(":method", "GET"), (":scheme", "{S}"), (":path", "http://b.example.com/"), (":authority", "{H}")],
        "",
        &[],
        Refused,
    ),
    ("an asterisk", &[(":method", "GET"), (":scheme", "{S}"), (":path", "*"), (":authority", "{H}")], "", &[], Refused),
    (
        "letters beyond ASCII in the path",
        &[(":method", "GET"), (":scheme", "{S}"), (":path", "/ä"), (":authority", "{H}")],
        "",
        &[],
        Refused,
    ),
    (
        "quotes in the path",
        &[(":method", "GET"), (":scheme", "{S}"), (":path", "/a\"b"), (":authority", "{H}")],
        "",
        &[],
        Refused,
    ),
    (
        "a backslash",
        &[(":method", "GET"), (":scheme", "{S}"), (":path", "/a\\b"), (":authority", "{H}")],
        "",
        &[],
        Refused,
    ),
    (
        "a zero in the path",
        &[(":method", "GET"), (":scheme", "{S}"), (":path", "/a%00"), (":authority", "{H}")],
        "",
        &[],
        Refused,
    ),
    ("TRACE", &[(":method", "TRACE"), (":scheme", "{S}"), (":path", "/a"), (":authority", "{H}")], "", &[], Refused),
    ("CONNECT", &[(":method", "CONNECT"), (":authority", "{H}:80")], "", &[], Refused),
    (
        "CONNECT to another protocol",
        &[
            (":method", "CONNECT"),
            (":protocol", "connect-udp"),
            (":scheme", "{S}"),
            (":path", "/a"),
            (":authority", "{H}"),
        ],
        "",
        &[],
        Refused,
    ),
    // H2.CL.
    (
        "less than the length",
        &[(":method", "POST"), (":scheme", "{S}"), (":path", "/a"), (":authority", "{H}"), ("content-length", "5")],
        "ab",
        &[],
        Refused,
    ),
    (
        "more than the length",
        &[(":method", "POST"), (":scheme", "{S}"), (":path", "/a"), (":authority", "{H}"), ("content-length", "1")],
        "abGET /smuggled HTTP/1.1\r\n\r\n",
        &[],
        Refused,
    ),
    (
        "a body against a length of nothing",
        &[(":method", "POST"), (":scheme", "{S}"), (":path", "/a"), (":authority", "{H}"), ("content-length", "0")],
        "GET /smuggled HTTP/1.1\r\n\r\n",
        &[],
        Refused,
    ),
    (
        "no body against a length",
        &[(":method", "POST"), (":scheme", "{S}"), (":path", "/a"), (":authority", "{H}"), ("content-length", "5")],
        "",
        &[],
        Refused,
    ),
    (
        "two lengths",
        &[
            (":method", "POST"),
            (":scheme", "{S}"),
            (":path", "/a"),
            (":authority", "{H}"),
            ("content-length", "2"),
            ("content-length", "0"),
        ],
        "ab",
        &[],
        Refused,
    ),
    (
        "a length with a sign",
        &[(":method", "POST"), (":scheme", "{S}"), (":path", "/a"), (":authority", "{H}"), ("content-length", "+2")],
        "ab",
        &[],
        Refused,
    ),
    (
        "a length twice",
        &[
            (":method", "POST"),
            (":scheme", "{S}"),
            (":path", "/a"),
            (":authority", "{H}"),
            ("content-length", "2"),
            ("content-length", "2"),
        ],
        "ab",
        &[],
        Refused,
    ),
    (
        "a list of one length",
        &[(":method", "POST"), (":scheme", "{S}"), (":path", "/a"), (":authority", "{H}"), ("content-length", "2, 2")],
        "ab",
        &[],
        Refused,
    ),
    // Trailers, and what else is odd.
    (
        "a path in trailers, which is none of the request",
        &[(":method", "POST"), (":scheme", "{S}"), (":path", "/a"), (":authority", "{H}")],
        "ab",
        &[(":path", "/smuggled")],
        Gets("POST /a", &[], "ab"),
    ),
    (
        "a line end in trailers",
        &[(":method", "POST"), (":scheme", "{S}"), (":path", "/a"), (":authority", "{H}")],
        "ab",
        &[("x", "a\r\nb")],
        Refused,
    ),
    (
        "a coding in trailers",
        &[(":method", "POST"), (":scheme", "{S}"), (":path", "/a"), (":authority", "{H}")],
        "ab",
        &[("transfer-encoding", "chunked")],
        Refused,
    ),
    (
        "an expectation of anything",
        &[(":method", "POST"), (":scheme", "{S}"), (":path", "/a"), (":authority", "{H}"), ("expect", "x")],
        "ab",
        &[],
        Refused,
    ),
    (
        "twins",
        &[
            (":method", "POST"),
            (":scheme", "{S}"),
            (":path", "/a"),
            (":authority", "{H}"),
            ("content_length", "0"),
            ("transfer_encoding", "chunked"),
            ("x_forwarded_for", "1"),
            ("x_mine", "2"),
        ],
        "ab",
        &[],
        Gets(
            "POST /a",
            &[("content_length", &[]), ("transfer_encoding", &[]), ("x_forwarded_for", &[]), ("x_mine", &["2"])],
            "ab",
        ),
    ),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_odd_request_of_http_2_is_refused_or_reaches_the_pod_in_one_form() {
    let site = Site::new().await;
    let mut wrong = Vec::new();
    for served in site.served() {
        for way in &site.ways {
            for (what, fields, body, trailers, expected) in ROWS {
                if let Err(found) = row(&served, way, fields, body, trailers, *expected).await {
                    wrong.push(format!("{what} ({} {:?}): {found}", way.host, served.flags));
                }
            }
            assert_eq!(way.record.faults(), Vec::<String>::new(), "{}", way.host);
        }
    }
    assert!(wrong.is_empty(), "{} of them: {wrong:#?}", wrong.len());
}

async fn row(
    served: &Served<'_>,
    way: &Way,
    fields: Fields,
    body: &str,
    trailers: Fields,
    expected: Expected,
) -> Result<(), String> {
    let mut wire = Wire::begin(served.connect_by(way, "h2").await, &[]).await;
    let scheme = if way.over_tls { "https" } else { "http" };
    let for_way = |text: &str| text.replace("{H}", way.host).replace("{S}", scheme);
    let written = |fields: Fields| {
        let fields: Vec<(&[u8], Vec<u8>)> =
            fields.iter().map(|(name, value)| (name.as_bytes(), for_way(value).into_bytes())).collect();
        block(&fields.iter().map(|(name, value)| (*name, &**value)).collect::<Vec<_>>())
    };
    let last = |end: bool| if end { END_STREAM } else { 0 };
    let mut frames = frame(HEADERS, END_HEADERS | last(body.is_empty() && trailers.is_empty()), 1, &written(fields));
    if !body.is_empty() {
        frames.extend(frame(DATA, last(trailers.is_empty()), 1, body.as_bytes()));
    }
    if !trailers.is_empty() {
        frames.extend(frame(HEADERS, END_HEADERS | END_STREAM, 1, &written(trailers)));
    }
    wire.send(&frames).await;
    let answer = wire.answer(1).await;
    let next = [(":method", "GET"), (":scheme", scheme), (":path", "/next"), (":authority", way.host)];
    let next = next.map(|(name, value)| (name.as_bytes(), value.as_bytes()));
    wire.send(&frame(HEADERS, END_HEADERS | END_STREAM, 3, &block(&next))).await;
    // Whether the connection goes on is for the proxy to say.
    let follows = wire.answer(3).await;
    let recorded = way.record.take();
    let lines: Vec<&str> = recorded.iter().map(|recorded| &*recorded.line).collect();
    let mut wanted = Vec::new();
    if let Gets(line, ..) = expected {
        wanted.push(line);
    }
    if follows == Some(200) {
        wanted.push("GET /next");
    }
    let served = matches!(expected, Gets(..));
    if served != (answer == Some(200)) || lines != wanted || follows.is_some_and(|status| status != 200) {
        return Err(format!("{answer:?}, then {follows:?}, the pod got {lines:?}"));
    }
    if let Gets(_, fields, body) = expected {
        let differs = |(name, values): &(&str, &[&str])| {
            let values: Vec<String> = values.iter().map(|value| for_way(value)).collect();
            recorded[0].values(name) != values
        };
        let cookies = recorded[0].values("cookie");
        let crumbled = !way.to_http2 && cookies.len() > 1;
        if fields.iter().any(differs) || recorded[0].body != body.as_bytes() || crumbled {
            return Err(format!("the pod got {:?}", recorded[0]));
        }
    }
    Ok(())
}
