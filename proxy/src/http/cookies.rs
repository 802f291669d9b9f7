//! Cookies in header fields (RFC 6265 §4.2, §5.4): fields flow in, values flow out, and single cookies are taken out. Bytes
//! that are not ours stay as they are. Pure.

use http::HeaderMap;
use http::header::COOKIE;

/// The values that a request has for a cookie: the most specific path's first, as clients send them.
pub(super) fn values<'h>(headers: &'h HeaderMap, name: &'h str) -> impl Iterator<Item = &'h [u8]> {
    let pairs = headers.get_all(COOKIE).into_iter().flat_map(|field| field.as_bytes().split(|byte| *byte == b';'));
    pairs.filter_map(move |pair| value_of(pair, name))
}

/// The value in a pair such as ` name=value`, if it has this name.
pub(super) fn value_of<'p>(pair: &'p [u8], name: &str) -> Option<&'p [u8]> {
    let at = pair.iter().position(|byte| *byte == b'=')?;
    let (found, value) = (pair[..at].trim_ascii(), pair[at + 1..].trim_ascii());
    (found == name.as_bytes()).then(|| value.strip_prefix(b"\"").and_then(|v| v.strip_suffix(b"\"")).unwrap_or(value))
}
