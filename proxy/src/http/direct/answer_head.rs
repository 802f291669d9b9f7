//! The header of an answer: bytes that a pod sent flow in, the header and how the body that follows ends flow out, where nothing
//! about them is unusual. Everything else is left to Pingora's reader: interim answers, other framings than one `Content-Length`,
//! `chunked` or none, switched protocols, bodies that are longer than the caller reads, and what the strict grammar does not know. Called
//! by `small`; one of the few modules that name Pingora types.

use crate::limits::SMALL_HEADER_FIELDS;
use bytes::Bytes;
use http::{HeaderValue, Version};
use pingora::http::ResponseHeader;

/// What the first bytes of an answer are.
#[derive(Debug)]
pub(super) enum Head {
    /// Not the whole header.
    Partial,
    /// Nothing that is read here.
    Other,
    /// A header.
    Whole {
        /// Without its bytes.
        response: Box<ResponseHeader>,
        /// Of the header, in bytes.
        length: usize,
        /// How the body ends.
        end: BodyEnd,
        /// Whether the pod leaves the connection open after it.
        serves_on: bool,
    },
}

/// How a body ends (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyEnd {
    /// After so many bytes.
    Length(usize),
    /// With its last chunk.
    LastChunk,
    /// With the connection.
    Connection,
}

/// Reads the header of an answer (RFC 9112 §4 to §6) to a request that is none of HEAD or CONNECT, and whose body has less than `limit`
/// bytes, if it says how many.
pub(super) fn read(bytes: &[u8], limit: u64) -> Head {
    let mut fields = [httparse::EMPTY_HEADER; SMALL_HEADER_FIELDS];
    let mut parsed = httparse::Response::new(&mut fields);
    let length = match parsed.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Head::Partial,
        Err(_) => return Head::Other,
    };
    whole(bytes, length, limit, &parsed).unwrap_or(Head::Other)
}

fn whole(bytes: &[u8], length: usize, limit: u64, parsed: &httparse::Response<'_, '_>) -> Option<Head> {
    let status = parsed.code.filter(|status| *status >= 200)?;
    let Framing { end, serves_on } = Framing::of(parsed.headers, limit)?;
    let bodiless = matches!(status, 204 | 304);
    let old = match parsed.version {
        Some(1) => false,
        // What older servers say of a body that has an end of its own is another matter.
        Some(0) if !bodiless && end == BodyEnd::Connection => true,
        _ => return None,
    };
    if bodiless && end == BodyEnd::LastChunk {
        return None;
    }
    let end = if bodiless { BodyEnd::Length(0) } else { end };
    let mut response = ResponseHeader::build(status, Some(parsed.headers.len() + WRITTEN)).ok()?;
    if parsed.reason != response.status.canonical_reason() {
        response.set_reason_phrase(parsed.reason).ok()?;
    }
    if old {
        response.set_version(Version::HTTP_10);
    }
    // One buffer for all, apart from the one that the body was read to.
    let own = Bytes::copy_from_slice(&bytes[..length]);
    for field in parsed.headers.iter() {
        let name = own.slice_ref(within(bytes, &own, field.name.as_bytes())?);
        let value = own.slice_ref(within(bytes, &own, field.value)?);
        response.append_header(name, HeaderValue::from_maybe_shared(value).ok()?).ok()?;
    }
    Some(Head::Whole { response: Box::new(response), length, end, serves_on })
}

/// The part of the copy that a part of the original became.
fn within<'o>(original: &[u8], own: &'o Bytes, part: &[u8]) -> Option<&'o [u8]> {
    let at = (part.as_ptr() as usize).checked_sub(original.as_ptr() as usize)?;
    own.get(at..at + part.len())
}

struct Framing {
    end: BodyEnd,
    serves_on: bool,
}

impl Framing {
    /// What the fields say of what follows them; nothing where they say something unusual.
    fn of(fields: &[httparse::Header<'_>], limit: u64) -> Option<Self> {
        let (mut end, mut serves_on) = (BodyEnd::Connection, true);
        for field in fields {
            match field.name.len() {
                14 if is(field, "content-length") => {
                    let digits = !field.value.is_empty() && field.value.iter().all(u8::is_ascii_digit);
                    let length = std::str::from_utf8(field.value).ok().filter(|_| digits)?.parse::<u64>().ok()?;
                    if end != BodyEnd::Connection || length >= limit {
                        return None;
                    }
                    end = BodyEnd::Length(usize::try_from(length).ok()?);
                }
                10 if is(field, "connection") => {
                    for option in field.value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
                        if option.eq_ignore_ascii_case(b"close") {
                            serves_on = false;
                        } else if !option.eq_ignore_ascii_case(b"keep-alive") {
                            return None;
                        }
                    }
                }
                17 if is(field, "transfer-encoding") => {
                    if end != BodyEnd::Connection || !field.value.eq_ignore_ascii_case(b"chunked") {
                        return None;
                    }
                    end = BodyEnd::LastChunk;
                }
                7 if is(field, "upgrade") || is(field, "trailer") => return None,
                _ => {}
            }
        }
        Some(Self { end, serves_on })
    }
}

fn is(field: &httparse::Header<'_>, name: &str) -> bool {
    field.name.eq_ignore_ascii_case(name)
}

/// Fields that the proxy writes, usually.
const WRITTEN: usize = 6;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMIT: u64 = 131_072;

    fn head(bytes: &str) -> Option<(u16, usize, BodyEnd, bool)> {
        match read(bytes.as_bytes(), LIMIT) {
            Head::Whole { response, length, end, serves_on } => {
                Some((response.status.as_u16(), length, end, serves_on))
            }
            Head::Partial | Head::Other => None,
        }
    }

    #[test]
    fn what_is_usual_is_read_and_all_else_is_left() {
        let length = |length, serves_on| Some((BodyEnd::Length(length), serves_on));
        for (fields, expected) in [
            ("Content-Length: 5", length(5, true)),
            ("content-length:5\r\nConnection: Keep-Alive", length(5, true)),
            ("Content-Length: 5\r\nConnection: close", length(5, false)),
            ("Content-Length: 5\r\nConnection: keep-alive, Close", length(5, false)),
            ("Content-Length: 0", length(0, true)),
            ("Content-Length: 131071", length(131_071, true)),
            ("Content-Length: 131072", None),
            ("Content-Length: 5\r\nContent-Length: 5", None),
            ("Content-Length: 5, 5", None),
            ("Content-Length: +5", None),
            ("Content-Length: 5 5", None),
            ("Content-Length:", None),
            ("Content-Length: 99999999999999999999999", None),
            ("Content-Length: 5\r\nTransfer-Encoding: chunked", None),
            ("Transfer-Encoding: chunked\r\nContent-Length: 5", None),
            ("Transfer-Encoding: chunked", Some((BodyEnd::LastChunk, true))),
            ("transfer-encoding: Chunked \r\nConnection: close", Some((BodyEnd::LastChunk, false))),
            ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", None),
            ("Transfer-Encoding: gzip, chunked", None),
            ("Transfer-Encoding: identity", None),
            ("Transfer-Encoding:", None),
            ("Transfer-Encoding: chunked\r\nTrailer: x", None),
            ("Content-Length: 5\r\nConnection: upgrade", None),
            ("Content-Length: 5\r\nUpgrade: h2c", None),
            ("Content-Length: 5\r\nTrailer: x", None),
            ("Content-Length : 5", None),
            ("Content-Length: 5\r\n folded", None),
            ("X: 1", Some((BodyEnd::Connection, true))),
        ] {
            let bytes = format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\nhello");
            let found = head(&bytes).map(|(status, length, end, serves_on)| {
                assert_eq!((status, &bytes[length..]), (200, "hello"));
                (end, serves_on)
            });
            assert_eq!(found, expected, "{fields}");
        }
        for (line, length) in [
            ("HTTP/1.1 304 Not Modified", Some(0)),
            ("HTTP/1.1 204 No Content", Some(0)),
            ("HTTP/1.1 599 ", Some(5)),
            ("HTTP/1.1 100 Continue", None),
            ("HTTP/1.1 101 Switching Protocols", None),
            ("HTTP/1.0 200 OK", None),
            ("HTTP/1.1 20 OK", None),
        ] {
            let found = head(&format!("{line}\r\nContent-Length: 5\r\n\r\n"));
            assert_eq!(found.map(|(_, _, end, _)| end), length.map(BodyEnd::Length), "{line}");
        }
        for (line, end) in [
            ("HTTP/1.0 200 OK", Some(BodyEnd::Connection)),
            ("HTTP/1.0 304 Not Modified", None),
            ("HTTP/1.1 304 Not Modified", Some(BodyEnd::Length(0))),
            ("HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked", None),
            ("HTTP/2.0 200 OK", None),
        ] {
            assert_eq!(head(&format!("{line}\r\nX: 1\r\n\r\n")).map(|(_, _, end, _)| end), end, "{line}");
        }
    }

    #[test]
    fn names_values_and_reasons_are_those_of_the_pod() {
        let bytes = "HTTP/1.1 200 Fine\r\nX-mIXed:  a b \r\nContent-Length: 0\r\nx-mixed: c\r\n\r\n";
        let Head::Whole { response, .. } = read(bytes.as_bytes(), LIMIT) else { panic!("not read") };
        let mut wire = Vec::new();
        response.header_to_h1_wire(&mut wire);
        let wire = String::from_utf8(wire).unwrap();
        assert!(wire.contains("X-mIXed: a b\r\n") && wire.contains("x-mixed: c\r\n"), "{wire}");
        assert_eq!(response.get_reason_phrase(), Some("Fine"));
    }

    proptest! {
        #[test]
        fn a_header_is_the_same_however_much_of_it_and_of_what_follows_is_there(
            fields in prop::collection::vec(("[A-Za-z][A-Za-z0-9-]{0,12}", "[ -~]{0,20}"), 0..8),
            length in 0_usize..200,
            more in prop::collection::vec(any::<u8>(), 0..50),
        ) {
            let fields: String = fields.iter().map(|(name, value)| format!("X-{name}: {value}\r\n")).collect();
            let bytes = format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: {length}\r\n\r\n");
            for cut in 0..bytes.len() {
                prop_assert!(matches!(read(&bytes.as_bytes()[..cut], LIMIT), Head::Partial));
            }
            let followed = [bytes.as_bytes(), &more].concat();
            let Head::Whole { length: header, end, .. } = read(&followed, LIMIT) else { return Err(TestCaseError::fail("not read")) };
            prop_assert_eq!((header, end), (bytes.len(), BodyEnd::Length(length)));
        }

        #[test]
        fn no_bytes_make_it_fail(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            read(&bytes, LIMIT);
        }
    }
}
