//! The header for a pod before the phases of `http` write to it, and its framing after them: the client's header flows in, that
//! of one hop further flows out. As Pingora's pipeline does it for a request in origin form. One of the few modules that name Pingora
//! types.

use crate::chunked::is_of_token;
use http::header::{
    CONNECTION, CONTENT_LENGTH, HOST, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::uri::Authority;
use http::{HeaderName, HeaderValue, Version};
use pingora::http::RequestHeader;
use pingora::protocols::http::authority::validate_request_authority;
use pingora::{Error, ErrorType, Result};

/// The client's header by HTTP/1.1, without what is the business of each hop (RFC 9110 §7.6.1).
///
/// # Errors
/// The client's `Connection` names what it may not name, or what is no name.
pub(super) fn of_client(client: &RequestHeader) -> Result<RequestHeader> {
    let nominated = nominated(client)?;
    let mut request = client.clone();
    if let Some(host) = authority(client)? {
        request.insert_header(HOST, host)?;
        request.set_raw_path(client.raw_path())?;
    }
    request.set_version(Version::HTTP_11);
    for name in nominated.iter().chain(&HOP_BY_HOP) {
        if request.headers.contains_key(name) {
            request.remove_header(name);
        }
    }
    Ok(request)
}

/// Asks for WebSocket.
pub(super) fn upgrade(request: &mut RequestHeader) -> Result<()> {
    request.insert_header(UPGRADE, HeaderValue::from_static("websocket"))?;
    request.insert_header(CONNECTION, HeaderValue::from_static("Upgrade"))
}

/// Frames a body, and sees to it that the host is still there and is one, whatever was written to the header.
///
/// # Errors
/// What was written makes no request.
pub(super) fn settle(request: &mut RequestHeader, has_body: bool) -> Result<()> {
    if !request.headers.contains_key(HOST) {
        request.insert_header(HOST, HeaderValue::from_static(""))?;
    }
    validate_request_authority(request).map_err(Error::into_in)?;
    let framed = request.headers.contains_key(CONTENT_LENGTH) || request.headers.contains_key(TRANSFER_ENCODING);
    if has_body && !framed {
        request.insert_header(TRANSFER_ENCODING, HeaderValue::from_static("chunked"))?;
    }
    Ok(())
}

/// What a client over HTTP/2 says in the place of `Host` (RFC 9113 §8.3.1), as which a pod is to get it.
///
/// # Errors
/// It is no value of a field.
pub(super) fn authority(client: &RequestHeader) -> Result<Option<HeaderValue>> {
    let authority = client.uri.authority().filter(|_| client.version == Version::HTTP_2).map(Authority::as_str);
    let host = authority.map(HeaderValue::from_str).transpose();
    host.map_err(|error| Error::because(ErrorType::InvalidHTTPHeader, "the authority of a request", error))
}

/// The fields that `Connection` names.
pub(super) fn nominated(client: &RequestHeader) -> Result<Vec<HeaderName>> {
    let mut names = Vec::new();
    let values = client.headers.get_all(CONNECTION).iter();
    for option in values.flat_map(|value| value.as_bytes().split(|byte| *byte == b',')) {
        let option = option.trim_ascii();
        // By far the most usual ones, and no fields.
        if option.is_empty() || is_usual(option) {
            continue;
        }
        let name = HeaderName::from_bytes(option).ok().filter(|_| option.iter().copied().all(is_of_token));
        match name {
            Some(name) if !PROTECTED.contains(&name.as_str()) && names.len() < NOMINATIONS => names.push(name),
            _ => return Err(Error::explain(ErrorType::InvalidHTTPHeader, "Connection names a field it may not name")),
        }
    }
    Ok(names)
}

fn is_usual(option: &[u8]) -> bool {
    option.eq_ignore_ascii_case(b"keep-alive") || option.eq_ignore_ascii_case(b"close")
}

/// The fields that are the business of one hop, beside those that `Connection` names.
pub(super) const HOP_BY_HOP: [HeaderName; 10] = [
    CONNECTION,
    UPGRADE,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("http2-settings"),
];
/// Without them a pod would not know who asks, or for what.
const PROTECTED: [&str; 4] = ["host", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"];
/// As many fields as Pingora lets a client name.
const NOMINATIONS: usize = 9;

#[cfg(test)]
mod tests {
    use super::*;

    fn header(fields: &[(&'static str, &str)]) -> RequestHeader {
        let mut header = RequestHeader::build("GET", b"/", None).unwrap();
        for (name, value) in fields {
            header.append_header(*name, *value).unwrap();
        }
        header
    }

    fn sent(fields: &[(&'static str, &str)]) -> Option<Vec<String>> {
        let request = of_client(&header(fields)).ok()?;
        let mut names: Vec<String> = request.headers.keys().map(|name| name.as_str().to_owned()).collect();
        names.sort();
        Some(names)
    }

    #[test]
    fn what_is_the_business_of_a_hop_stays_on_it() {
        let fields = [
            ("Host", "a.example.com"),
            ("Connection", "keep-alive, X-Mine"),
            ("Connection", "close"),
            ("X-Mine", "1"),
            ("X-Other", "2"),
            ("Keep-Alive", "timeout=5"),
            ("TE", "trailers"),
            ("Transfer-Encoding", "chunked"),
            ("Proxy-Authorization", "Basic x"),
            ("Content-Length", "0"),
        ];
        assert_eq!(sent(&fields).unwrap(), ["content-length", "host", "x-other"]);
    }

    #[test]
    fn an_authority_is_the_host_of_a_request_in_origin_form() {
        let (mut parts, ()) = http::Request::get("https://a.example.com:8443/x?y").body(()).unwrap().into_parts();
        parts.version = Version::HTTP_2;
        let client = RequestHeader::from(parts);
        let mut request = of_client(&client).unwrap();
        settle(&mut request, false).unwrap();
        assert_eq!((request.version, request.raw_path()), (Version::HTTP_11, &b"/x?y"[..]));
        assert_eq!(request.headers["host"], "a.example.com:8443");
        // Whatever host a pod is told instead.
        request.insert_header("host", "inner").unwrap();
        settle(&mut request, false).unwrap();
        assert_eq!(authority(&header(&[("host", "a")])).unwrap(), None);
    }

    #[test]
    fn a_connection_that_names_what_it_may_not_is_refused() {
        for (named, served) in [
            ("x-forwarded-for", false),
            ("Host", false),
            (":authority", false),
            ("\"x-mine\"", false),
            ("a b", false),
            ("a, b, c, d, e, f, g, h, i", true),
            ("a, b, c, d, e, f, g, h, i, j", false),
            (", keep-alive,,close", true),
        ] {
            assert_eq!(sent(&[("Connection", named)]).is_some(), served, "{named}");
        }
    }

    #[test]
    fn a_body_is_framed_and_one_host_is_there() {
        let mut request = header(&[]);
        settle(&mut request, true).unwrap();
        assert_eq!(
            (&request.headers["host"], &request.headers["transfer-encoding"]),
            (&"".parse().unwrap(), &"chunked".parse().unwrap())
        );
        let mut request = header(&[("host", "a"), ("content-length", "3")]);
        settle(&mut request, true).unwrap();
        assert!(!request.headers.contains_key("transfer-encoding"));
        assert!(settle(&mut header(&[("host", "a"), ("host", "b")]), false).is_err());
        assert!(settle(&mut header(&[("host", "x@a")]), false).is_err());
    }
}
