//! Which responses are compressed on their way to a client, and how their header changes: the operator's media types, the header
//! of a request and that of its response flow in. `gzip` does it. Pure.
//!
//! Off unless the operator asks for it: a page that repeats what an attacker chose beside a secret tells the secret by its
//! compressed length (the BREACH attack).

use super::fields::Fields;
use crate::limits::COMPRESSED_BODY_LEAST;
use http::header::{
    ACCEPT_ENCODING, ACCEPT_RANGES, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG,
    TRAILER, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version};

/// What counts of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Asked {
    /// Whether the client can read a coded body, and its framing.
    accepted: bool,
    /// Whether the response has no body whatever its header says.
    pub(super) head: bool,
}

/// What is done with a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Plan {
    /// Nothing.
    Leave,
    /// It stays as it is for this client; a cache is told that others get it compressed.
    Vary,
    /// It is compressed.
    Compress,
}

impl Asked {
    /// Reads a request.
    pub(super) fn of(method: &Method, version: Version, headers: &HeaderMap) -> Self {
        // HTTP/1.0 has no body of unknown length but one that ends with the connection.
        Self { accepted: version >= Version::HTTP_11 && accepts_gzip(headers), head: *method == Method::HEAD }
    }

    /// Decides for a response. `empty` says that it has no body.
    pub(super) fn plan(self, types: &[String], status: StatusCode, headers: &HeaderMap, empty: bool) -> Plan {
        let bodiless = status.is_informational()
            || matches!(
                status,
                StatusCode::NO_CONTENT
                    | StatusCode::RESET_CONTENT
                    | StatusCode::PARTIAL_CONTENT
                    | StatusCode::NOT_MODIFIED
            );
        let bound = [CONTENT_ENCODING, CONTENT_RANGE, TRAILER, CONTENT_DIGEST, DIGEST, CONTENT_MD5];
        let small = match headers.get(CONTENT_LENGTH) {
            Some(length) => {
                !length.to_str().is_ok_and(|length| length.parse().is_ok_and(|n: u64| n >= COMPRESSED_BODY_LEAST))
            }
            None => empty && !self.head,
        };
        let left = bodiless
            || small
            || bound.iter().any(|name| headers.contains_key(name))
            || has_word(headers, &CACHE_CONTROL, "no-transform")
            || !has_type(headers, types);
        match (left, self.accepted) {
            (true, _) => Plan::Leave,
            (false, false) => Plan::Vary,
            (false, true) => Plan::Compress,
        }
    }
}

/// Says that the body is compressed: its length is not known, its bytes are not those that the pod's validator names (RFC
/// 9110 §8.8.1), and parts of it cannot be asked for.
pub(super) fn mark(response: &mut impl Fields) {
    response.set(&CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    for name in [&CONTENT_LENGTH, &ACCEPT_RANGES] {
        response.remove(name);
    }
    let strong = response.all().get(ETAG).filter(|tag| tag.as_bytes().starts_with(b"\"")).cloned();
    if let Some(weak) = strong.and_then(|tag| HeaderValue::from_bytes(&[b"W/", tag.as_bytes()].concat()).ok()) {
        response.set(&ETAG, weak);
    }
    vary(response);
}

/// Says that the response depends on what the client accepts.
pub(super) fn vary(response: &mut impl Fields) {
    if !has_word(response.all(), &VARY, "accept-encoding") && !has_word(response.all(), &VARY, "*") {
        response.add(&VARY, HeaderValue::from_static("Accept-Encoding"));
    }
}

/// Whether gzip is acceptable and nothing says that the plain body is liked better (RFC 9110 §12.5.3).
fn accepts_gzip(headers: &HeaderMap) -> bool {
    let (mut gzip, mut any, mut identity) = (None, None, 0);
    for value in headers.get_all(ACCEPT_ENCODING) {
        for item in value.to_str().unwrap_or_default().split(',') {
            let mut parts = item.split(';').map(str::trim);
            let coding = parts.next().unwrap_or_default().to_ascii_lowercase();
            let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
            let weight = weight.map_or(1000, thousandths);
            match &*coding {
                "gzip" | "x-gzip" => gzip = Some(weight),
                "*" => any = Some(weight),
                "identity" => identity = weight,
                _ => {}
            }
        }
    }
    let gzip = gzip.or(any).unwrap_or(0);
    gzip > 0 && gzip >= identity
}

/// A weight (RFC 9110 §12.4.2); what is none means that nothing is asked for.
fn thousandths(text: &str) -> u32 {
    let weight = text.parse::<f32>().ok().filter(|weight| (0.0..=1.0).contains(weight));
    // Rounded to the precision that weights have.
    weight.map_or(0, |weight| (weight * 1000.0).round() as u32)
}

fn has_word(headers: &HeaderMap, name: &HeaderName, word: &str) -> bool {
    let mut items = headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).flat_map(|v| v.split(','));
    items.any(|item| item.trim().eq_ignore_ascii_case(word))
}

/// Whether the media type is one of these, `TYPE/*` included. Video and audio never are: they are compressed already.
fn has_type(headers: &HeaderMap, types: &[String]) -> bool {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let never = kind.starts_with("video/") || kind.starts_with("audio/");
    !never
        && types.iter().any(|known| match known.strip_suffix('*') {
            Some(start) => kind.starts_with(start),
            None => kind == *known,
        })
}

const CONTENT_DIGEST: HeaderName = HeaderName::from_static("content-digest");
const CONTENT_MD5: HeaderName = HeaderName::from_static("content-md5");
const DIGEST: HeaderName = HeaderName::from_static("digest");

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&str, &str)]) -> HeaderMap {
        fields.iter().map(|(n, v)| (n.parse::<HeaderName>().unwrap(), v.parse::<HeaderValue>().unwrap())).collect()
    }

    #[test]
    fn a_client_that_reads_gzip_gets_it_unless_it_likes_the_plain_body_better() {
        for (accept, expected) in [
            ("gzip, deflate, br, zstd", true),
            ("GZIP", true),
            ("x-gzip;q=0.1", true),
            ("*", true),
            ("*;q=0, gzip", true),
            ("identity;q=0.5, gzip;q=0.5", true),
            ("", false),
            ("br", false),
            ("gzip;q=0", false),
            ("gzip; q=0.000", false),
            ("*, gzip;q=0", false),
            ("gzip;q=x", false),
            ("gzip;q=0.5, identity", false),
            ("gzipped", false),
        ] {
            let asked = Asked::of(&Method::GET, Version::HTTP_11, &headers(&[("accept-encoding", accept)]));
            assert_eq!(asked.accepted, expected, "{accept}");
        }
        let old = Asked::of(&Method::GET, Version::HTTP_10, &headers(&[("accept-encoding", "gzip")]));
        assert!(!old.accepted);
    }

    /// Status, header fields, and whether it may be compressed.
    type Case<'a> = (u16, &'a [(&'a str, &'a str)], bool);

    #[test]
    fn only_whole_bodies_of_these_types_are_compressed() {
        let types = ["text/html".to_owned(), "application/*".to_owned(), "video/mp4".to_owned()];
        let html = ("content-type", "text/html; charset=utf-8");
        let cases: &[Case<'_>] = &[
            (200, &[html], true),
            (404, &[html], true),
            (200, &[("content-type", "Text/HTML")], true),
            (200, &[("content-type", "application/json")], true),
            (200, &[("content-type", "text/htmlx")], false),
            (200, &[("content-type", "video/mp4")], false),
            (200, &[], false),
            (200, &[html, ("content-length", "1024")], true),
            (200, &[html, ("content-length", "1023")], false),
            (204, &[html], false),
            (206, &[html], false),
            (304, &[html], false),
            (101, &[html], false),
            (200, &[html, ("content-encoding", "br")], false),
            (200, &[html, ("cache-control", "public, no-transform")], false),
            (200, &[html, ("content-digest", "sha-256=:x:")], false),
            (200, &[html, ("trailer", "x-sum")], false),
        ];
        for (status, fields, expected) in cases {
            let (status, fields) = (StatusCode::from_u16(*status).unwrap(), headers(fields));
            for (accepted, done) in [(true, Plan::Compress), (false, Plan::Vary)] {
                let plan = Asked { accepted, head: false }.plan(&types, status, &fields, false);
                assert_eq!(plan, if *expected { done } else { Plan::Leave }, "{status} {fields:?}");
            }
        }
    }

    #[test]
    fn the_header_says_what_the_body_has_become() {
        let mut response = headers(&[("etag", "\"a\""), ("content-length", "9000"), ("accept-ranges", "bytes")]);
        mark(&mut response);
        let expected = headers(&[("etag", "W/\"a\""), ("content-encoding", "gzip"), ("vary", "Accept-Encoding")]);
        assert_eq!(response, expected);
        for known in ["origin, accept-ENCODING", "*"] {
            let mut response = headers(&[("etag", "W/\"a\""), ("vary", known)]);
            mark(&mut response);
            assert_eq!((&response["vary"], &response["etag"]), (&known.parse().unwrap(), &"W/\"a\"".parse().unwrap()));
            assert_eq!(response.get_all("vary").iter().count(), 1);
        }
    }
}
