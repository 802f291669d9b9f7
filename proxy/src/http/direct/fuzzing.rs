//! The fuzz targets of headers on the way without Pingora: what a pod answers, and what it is asked.

use super::answer_head::{self, BodyEnd, Head};
use super::request::{HOP_BY_HOP, of_client};
use crate::fuzzing::cuts;
use crate::http::fuzzing::request;
use crate::trailers::fuzzing::reads_chunks;
use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};

/// See [`crate::fuzzing::answer_head`].
pub(crate) fn answer_head(bytes: &[u8]) {
    let whole = Seen::of(bytes);
    for cut in cuts(bytes.len()) {
        let early = Seen::of(&bytes[..cut]);
        assert!(early == Seen::Partial || early == whole, "after {cut} bytes {early:?}, then {whole:?}");
    }
    let Head::Whole { response, length, end, serves_on } = read(bytes) else { return };
    let head = &bytes[..length];
    assert!(response.status.as_u16() >= 200 && head.ends_with(b"\n"));
    let bodiless = matches!(response.status.as_u16(), 204 | 304);
    assert!(!response.headers.contains_key(CONTENT_LENGTH) || !response.headers.contains_key(TRANSFER_ENCODING));
    assert_eq!(end == BodyEnd::LastChunk, reads_chunks(head), "the trailers are looked for in another body");
    assert!(!bodiless || end == BodyEnd::Length(0));
    // What is read is what is written.
    let mut again = format!("{:?} {}\r\n", response.version, response.status.as_u16()).into_bytes();
    for (name, value) in &response.headers {
        again.extend([name.as_str().as_bytes(), b":", value.as_bytes(), b"\r\n"].concat());
    }
    again.extend(b"\r\n");
    let Head::Whole { response: same, length, end: same_end, serves_on: same_serves_on } = read(&again) else {
        panic!("what was read is not read again")
    };
    assert_eq!((length, same_end, same_serves_on), (again.len(), end, serves_on));
    assert_eq!(same.headers, response.headers);
}

/// With bodies of any length.
fn read(bytes: &[u8]) -> Head {
    answer_head::read(bytes, u64::MAX)
}

/// See [`crate::fuzzing::request_head`].
pub(crate) fn request_head(bytes: &[u8]) {
    let Some((client, _)) = request(bytes) else { return };
    let Ok(upstream) = of_client(&client) else { return };
    for name in &HOP_BY_HOP {
        assert!(!upstream.headers.contains_key(name), "{name}");
    }
    assert_eq!(upstream.headers.get(HOST), client.headers.get(HOST));
    assert!(upstream.headers.len() <= client.headers.len());
}

/// What can be compared of a header.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Partial,
    Other,
    Whole { status: u16, fields: String, length: usize, end: BodyEnd, serves_on: bool },
}

impl Seen {
    fn of(bytes: &[u8]) -> Self {
        match read(bytes) {
            Head::Partial => Self::Partial,
            Head::Other => Self::Other,
            Head::Whole { response, length, end, serves_on } => {
                let (status, fields) = (response.status.as_u16(), format!("{:?}", response.headers));
                Self::Whole { status, fields, length, end, serves_on }
            }
        }
    }
}
