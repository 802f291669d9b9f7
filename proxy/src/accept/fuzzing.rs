//! The fuzz targets of what is read before the first phase: the first bytes of a connection flow in, in one part or in two.

use super::client_hello::{HelloError, parse};
use super::http1_stream::end_of_header;
use super::preface;
use crate::fuzzing::cuts;
use nearside_routing::hostname::canonical_host;

/// See [`crate::fuzzing::client_hello`].
pub(crate) fn client_hello(bytes: &[u8]) {
    let whole = parse(bytes);
    for cut in cuts(bytes.len()) {
        match (parse(&bytes[..cut]), &whole) {
            (Ok(None), _) | (Err(HelloError::NotTls), Err(HelloError::NotTls)) => {}
            (Ok(early), Ok(late)) => assert_eq!(early, *late, "after {cut} bytes"),
            (early, late) => panic!("after {cut} bytes {early:?}, then {late:?}"),
        }
    }
    if let Ok(Some(hello)) = whole
        && let Some(name) = hello.server_name
    {
        assert_eq!(canonical_host(&name), name);
        assert!(!name.is_empty() && name.len() <= 255, "{name}");
    }
}

/// Where a header of HTTP/1 ends, and whether it is HTTP/2.
pub(crate) fn first_bytes(bytes: &[u8]) {
    let end = bytes.windows(4).position(|part| part == b"\r\n\r\n").map(|at| at + 4);
    for cut in cuts(bytes.len()) {
        let mut seen = 0;
        let early = end_of_header(&mut seen, &bytes[..cut]);
        let found = early.or_else(|| end_of_header(&mut seen, &bytes[cut..]).map(|end| cut + end));
        assert_eq!(found, end, "cut at {cut}");
        // No more is read than that.
        if let Some(verdict) = preface::verdict(&bytes[..cut.min(PREFACE.len())]) {
            assert_eq!(verdict, bytes.starts_with(PREFACE));
        }
    }
}

/// RFC 9113 §3.4.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
