//! Trailer fields (RFC 9110 §6.5): the trailer section of an HTTP/1 message flows in, the fields of it that may be passed on
//! flow out, as a section again. Fields that decide on framing, routing, authentication or the meaning of the content, and those
//! that the router itself vouches for, are left out: a recipient that merged them into the header would be deceived. Pure.

use crate::chunked::Malformed;
use crate::limits::TRAILER_FIELDS;
use bytes::{BufMut, Bytes, BytesMut};
use http::header::TRAILER;
use http::{HeaderMap, HeaderName, HeaderValue};

/// Reads a trailer section of HTTP/1, from the end of the last chunk's line to the empty line, and leaves out what must not be
/// passed on.
///
/// # Errors
/// The section is not exactly what RFC 9112 §7.1.2 says, or too large.
pub(super) fn parse(section: &[u8]) -> Result<HeaderMap, Malformed> {
    let mut fields = HeaderMap::new();
    let lines = section.strip_suffix(b"\r\n").ok_or(Malformed::Trailers)?;
    let mut rest = lines;
    let mut count = 0;
    while !rest.is_empty() {
        let end = rest.iter().position(|byte| *byte == b'\r').ok_or(Malformed::Trailers)?;
        let line = &rest[..end];
        rest = rest[end..].strip_prefix(b"\r\n").ok_or(Malformed::Trailers)?;
        count += 1;
        if count > TRAILER_FIELDS {
            return Err(Malformed::TooLarge);
        }
        let colon = line.iter().position(|byte| *byte == b':').ok_or(Malformed::Trailers)?;
        // A name is a token: white space before the colon or in front of the line (obs-fold) is none.
        let name = HeaderName::from_bytes(&line[..colon]).map_err(|_| Malformed::Trailers)?;
        let value = HeaderValue::from_bytes(without_blanks(&line[colon + 1..])).map_err(|_| Malformed::Trailers)?;
        if may_be_trailer(&name) {
            fields.append(name, value);
        }
    }
    Ok(fields)
}

/// The fields of a trailer section that came otherwise, without what must not be passed on.
pub(super) fn passed_on(fields: &HeaderMap) -> HeaderMap {
    let passed = fields.iter().filter(|(name, _)| may_be_trailer(name)).take(TRAILER_FIELDS);
    passed.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// The fields as they stand in HTTP/1, without the empty line.
pub(super) fn to_http1(fields: &HeaderMap) -> Bytes {
    let mut section = BytesMut::new();
    for (name, value) in fields {
        section.put_slice(name.as_str().as_bytes());
        section.put_slice(b": ");
        section.put_slice(value.as_bytes());
        section.put_slice(b"\r\n");
    }
    section.freeze()
}

/// What `Trailer` announces and may be passed on.
pub(super) fn announced(header: &HeaderMap) -> Option<HeaderValue> {
    let lists = header.get_all(TRAILER).iter().filter_map(|value| value.to_str().ok());
    let names = lists.flat_map(|list| list.split(',')).filter_map(|name| HeaderName::try_from(name.trim()).ok());
    let names: Vec<HeaderName> = names.filter(may_be_trailer).take(TRAILER_FIELDS).collect();
    let names: Vec<&str> = names.iter().map(HeaderName::as_str).collect();
    HeaderValue::try_from(names.join(", ")).ok().filter(|value| !value.is_empty())
}

/// Without the blanks around a value (RFC 9110 §5.5), which are no other white space.
fn without_blanks(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// Whether a field may be passed on in a trailer section.
fn may_be_trailer(name: &HeaderName) -> bool {
    let name = name.as_str();
    // Some servers read `_` like `-`.
    !name.contains('_') && !NEVER.contains(&name) && !NEVER_BEGINNING.iter().any(|start| name.starts_with(start))
}

const NEVER: [&str; 39] = [
    // Framing and connection.
    "connection",
    "content-length",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
    // Routing, and how a request is treated.
    "host",
    "cache-control",
    "expect",
    "max-forwards",
    "pragma",
    "priority",
    "range",
    "origin",
    "early-data",
    // Authentication and state.
    "authorization",
    "www-authenticate",
    "cookie",
    "set-cookie",
    "clear-site-data",
    // The meaning of the content.
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-location",
    "content-range",
    "content-type",
    // How a response is treated.
    "age",
    "alt-svc",
    "date",
    "expires",
    "location",
    "retry-after",
    "strict-transport-security",
    "vary",
    // Whom the router speaks for.
    "forwarded",
    "true-client-ip",
    "x-real-ip",
];
const NEVER_BEGINNING: [&str; 9] = [
    "access-control-",
    "content-security-policy",
    "if-",
    "proxy",
    "sec-",
    "x-accel-",
    "x-forwarded-",
    "x-original-",
    "x-ssl",
];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn round(section: &str) -> Result<String, Malformed> {
        let fields = parse(section.as_bytes())?;
        Ok(String::from_utf8(to_http1(&fields).to_vec()).unwrap())
    }

    #[test]
    fn fields_are_passed_on_in_their_order_and_others_left_out() {
        for (section, expected) in [
            ("\r\n", ""),
            ("X-Checksum: abc\r\n\r\n", "x-checksum: abc\r\n"),
            ("a: 1\r\na:2\r\nb:\t x y \r\n\r\n", "a: 1\r\na: 2\r\nb: x y\r\n"),
            ("Digest: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", "digest: x\r\n"),
            (
                "Host: evil\r\nAuthorization: Basic eA==\r\nCookie: a=b\r\nServer-Timing: t\r\n\r\n",
                "server-timing: t\r\n",
            ),
            ("X-Forwarded-For: ::1\r\nX_Forwarded_For: ::1\r\nX-SSL-Client-CN: root\r\nProxy: x\r\n\r\n", ""),
            ("Set-Cookie: a=b\r\nLocation: /\r\nContent-Type: a/b\r\nIf-Match: *\r\n\r\n", ""),
        ] {
            assert_eq!(round(section).as_deref(), Ok(expected), "{section:?}");
        }
    }

    #[test]
    fn a_section_that_two_parsers_could_read_differently_is_refused() {
        for section in [
            "",
            "a: b",
            "a: b\r\n",
            "a: b\n\r\n",
            "a: b\r\n c: d\r\n\r\n",
            "a: b\r\n\tc\r\n\r\n",
            "a : b\r\n\r\n",
            ": b\r\n\r\n",
            "a\r\n\r\n",
            "a b: c\r\n\r\n",
            "a: b\rc\r\n\r\n",
            "a: b\0\r\n\r\n",
            "a: \n\r\n\r\n",
            "a: b\r\n\r\nGET / HTTP/1.1\r\n\r\n",
        ] {
            assert_eq!(parse(section.as_bytes()), Err(Malformed::Trailers), "{section:?}");
        }
        let many = "a: b\r\n".repeat(TRAILER_FIELDS + 1) + "\r\n";
        assert_eq!(parse(many.as_bytes()), Err(Malformed::TooLarge));
    }

    #[test]
    fn only_what_may_come_is_announced() {
        let announced_by = |values: &[&'static str]| {
            let header = values.iter().map(|value| (TRAILER, HeaderValue::from_static(value))).collect();
            announced(&header).map(|value| value.to_str().unwrap().to_owned())
        };
        assert_eq!(announced_by(&["X-Checksum, content-length", "Digest"]).as_deref(), Some("x-checksum, digest"));
        assert_eq!(announced_by(&["Host, , b@d"]), None);
        assert_eq!(announced_by(&[]), None);
    }

    proptest! {
        #[test]
        fn any_section_is_refused_or_passed_on_as_one_that_reads_the_same(section in "[aB:\r\n \tX-]{0,24}\r\n") {
            if let Ok(fields) = parse(section.as_bytes()) {
                let mut again = to_http1(&fields).to_vec();
                again.extend_from_slice(b"\r\n");
                prop_assert_eq!(parse(&again), Ok(fields));
            }
        }
    }
}
