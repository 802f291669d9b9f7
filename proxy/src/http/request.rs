//! What a request asks for: its header flows in, host and path flow out, or the status with which it is refused. Stricter
//! than the parser below, so that the proxy and a pod never read one request in two ways. Pure.

use crate::limits::{REQUEST_HEADER_BYTES, REQUEST_HEADER_FIELDS, REQUEST_TARGET_BYTES};
use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, HOST};
use http::request::Parts;
use http::uri::Scheme;
use http::{HeaderValue, Method, Version};
use nearside_routing::hostname::canonical_host;
use std::borrow::Cow;

/// The target of a request (RFC 9112 §3.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RequestTarget<'r> {
    /// Canonical; empty where an HTTP/1.0 client sent none.
    pub(crate) host: Cow<'r, str>,
    /// The port in `Host` or `:authority`, as the client wrote it.
    pub(crate) port: Option<&'r str>,
    /// The raw path, without query.
    pub(crate) path: &'r [u8],
    /// The raw query, without its question mark.
    pub(crate) query: Option<&'r [u8]>,
    absolute: bool,
}

/// A request that is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The status.
    pub(crate) status: u16,
    /// Why, in one word for the access log.
    pub(crate) reason: &'static str,
}

impl<'r> RequestTarget<'r> {
    /// Reads a header. `raw` is the request target as the client sent it.
    ///
    /// # Errors
    /// [`Refusal`] with the status that RFC 9110 and 9112 give.
    pub(crate) fn parse(header: &'r Parts, raw: &'r [u8]) -> Result<Self, Refusal> {
        // A proxy in front of pods is no way to anywhere else.
        if header.method == Method::TRACE || header.method == Method::CONNECT {
            return Err(refuse(405, "method"));
        }
        let absolute = if header.version < Version::HTTP_2 { split_absolute(raw) } else { None };
        let named = match absolute {
            Some((authority, _)) => Some(std::str::from_utf8(authority).map_err(|_| refuse(400, "target"))?),
            None => header.uri.authority().map(http::uri::Authority::as_str),
        };
        let (host, port) = host_and_port(authority(header, named)?)?;
        let target = absolute.map_or(raw, |(_, target)| target);
        if !target.iter().copied().all(is_of_target) {
            return Err(refuse(400, "target"));
        }
        let (path, query) = match target.iter().position(|byte| *byte == b'?') {
            Some(at) => (&target[..at], Some(&target[at + 1..])),
            None => (target, None),
        };
        match path.first() {
            Some(b'/') | None => {}
            Some(b'*') if path.len() == 1 && header.method == Method::OPTIONS => {}
            Some(_) => return Err(refuse(400, "target")),
        }
        Ok(Self { host, port, path, query, absolute: absolute.is_some() })
    }

    /// The target to send to the pod where the client's was in absolute form.
    pub(crate) fn origin_form(&self) -> Option<Vec<u8>> {
        self.absolute.then(|| self.path_and_query())
    }

    /// Path and query as the client sent them.
    pub(crate) fn path_and_query(&self) -> Vec<u8> {
        let mut target = if self.path.is_empty() { b"/".to_vec() } else { self.path.to_vec() };
        if let Some(query) = self.query {
            target.push(b'?');
            target.extend_from_slice(query);
        }
        target
    }
}

/// Refuses a header that exceeds the limits.
pub(crate) fn too_large(header: &Parts) -> Option<Refusal> {
    if header.uri.path_and_query().is_some_and(|target| target.as_str().len() > REQUEST_TARGET_BYTES) {
        return Some(refuse(414, "target_size"));
    }
    // What separates a name from its value and one field from the next is part of the size.
    let bytes: usize = header.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    let large = bytes > REQUEST_HEADER_BYTES || header.headers.len() > REQUEST_HEADER_FIELDS;
    large.then_some(refuse(431, "header_size"))
}

/// Refuses what a header says of its body, of the connection and of the scheme that no proxy can follow, in either version of HTTP.
pub(crate) fn check(header: &Parts) -> Result<(), Refusal> {
    if header.uri.scheme().is_some_and(|scheme| *scheme != Scheme::HTTP && *scheme != Scheme::HTTPS) {
        return Err(refuse(400, "target"));
    }
    // Also where the library takes several equal ones for one.
    let mut lengths = header.headers.get_all(CONTENT_LENGTH).iter();
    let is_number = |length: &HeaderValue| !length.is_empty() && length.as_bytes().iter().all(u8::is_ascii_digit);
    if !lengths.next().is_none_or(is_number) || lengths.next().is_some() {
        return Err(refuse(400, "framing"));
    }
    // RFC 9110 §10.1.1.
    let is_known = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"100-continue");
    if !header.headers.get_all(EXPECT).iter().all(is_known) {
        return Err(refuse(417, "expectation"));
    }
    let options = header.headers.get_all(CONNECTION).iter();
    let mut options = options.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    if options.any(|option| is_protected(option.trim_ascii())) {
        return Err(refuse(400, "connection"));
    }
    Ok(())
}

/// A length in its one normal form, where the client wrote it otherwise.
pub(crate) fn plain_length(header: &Parts) -> Option<u64> {
    let written = header.headers.get(CONTENT_LENGTH)?.to_str().ok()?;
    (written.len() > 1 && written.starts_with('0')).then(|| written.parse().ok()).flatten()
}

/// Whether `Connection` must not name a field, which then would not reach the pod (RFC 9110 §7.6.1): the pod would not know who asks,
/// for what, or where the body ends.
fn is_protected(option: &[u8]) -> bool {
    let is = |name: &&str| option.eq_ignore_ascii_case(name.as_bytes());
    let begins =
        |name: &&str| option.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name.as_bytes()));
    // By far the most usual ones.
    if is(&"keep-alive") || is(&"close") || option.is_empty() {
        return false;
    }
    PROTECTED.iter().any(is) || PROTECTED_BEGINNING.iter().any(begins)
}

/// Whether a byte can be one of a request target: a visible character of ASCII, and none that stands for the end of a target in text
/// around it (RFC 3986 appendix C) or begins what is never sent. Some others are of no URI either, but browsers send them.
pub(crate) const fn is_of_target(byte: u8) -> bool {
    matches!(byte, b'!'..=b'~') && !matches!(byte, b'"' | b'#' | b'<' | b'>')
}

/// Authority and path of a target in absolute form (RFC 9112 §3.2.2).
fn split_absolute(raw: &[u8]) -> Option<(&[u8], &[u8])> {
    let scheme = [&b"http://"[..], b"https://"]
        .into_iter()
        .find(|scheme| raw.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme)))?;
    let rest = &raw[scheme.len()..];
    let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#')).unwrap_or(rest.len());
    Some(rest.split_at(end))
}

/// The one authority of a request. `named` is `:authority` or that of an absolute target, and `Host` must agree with it.
fn authority<'r>(header: &'r Parts, named: Option<&'r str>) -> Result<&'r str, Refusal> {
    let mut hosts = header.headers.get_all(HOST).iter();
    let host = match hosts.next() {
        Some(host) => Some(host.to_str().map_err(|_| refuse(400, "host"))?),
        None => None,
    };
    if hosts.next().is_some() {
        return Err(refuse(400, "host"));
    }
    match (named, host) {
        (Some(named), Some(host)) if !named.eq_ignore_ascii_case(host) => Err(refuse(400, "host")),
        (Some(named), None) if header.version != Version::HTTP_11 => Ok(named),
        (_, Some(host)) => Ok(host),
        (None, None) if header.version <= Version::HTTP_10 => Ok(""),
        (_, None) => Err(refuse(400, "host")),
    }
}

/// A host is a name or an address (RFC 3986 §3.2.2) without user information; nothing else, and no second one.
fn host_and_port(authority: &str) -> Result<(Cow<'_, str>, Option<&str>), Refusal> {
    let (host, port) = match authority.rfind(']') {
        Some(end) => (&authority[..=end], authority[end + 1..].strip_prefix(':')),
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    let valid = match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').is_some_and(|ip| ip.parse::<std::net::Ipv6Addr>().is_ok()),
        // No name has an empty label, and cutting a final dot off twice would make another name of it.
        None => {
            let plain = host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
            plain && !host.starts_with('.') && !host.contains("..")
        }
    };
    let port_valid = port.is_none_or(|port| {
        port.is_empty() || (port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok())
    });
    let used = host.len() + port.map_or(0, |port| port.len() + 1);
    if !valid || !port_valid || used != authority.len() {
        return Err(refuse(400, "host"));
    }
    Ok((canonical_host(host), port.filter(|port| !port.is_empty())))
}

/// With this status, for this reason.
pub(crate) const fn refuse(status: u16, reason: &'static str) -> Refusal {
    Refusal { status, reason }
}

/// See [`is_protected`].
const PROTECTED: [&str; 13] = [
    "host",
    "content-length",
    "content-type",
    "content-encoding",
    "content-range",
    "authorization",
    "cookie",
    "origin",
    "range",
    "expect",
    "cache-control",
    "forwarded",
    "traceparent",
];
/// The same for all fields that begin so; the last are pseudo-header fields of HTTP/2.
const PROTECTED_BEGINNING: [&str; 6] = ["x-forwarded-", "x-ssl", "ssl-client-", "sec-", "if-", ":"];

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;
    use proptest::prelude::*;

    fn parts(method: &str, target: &str, version: Version, hosts: &[&str]) -> Parts {
        let mut builder = Request::builder().method(method).uri(target).version(version);
        for host in hosts {
            builder = builder.header(HOST, *host);
        }
        builder.body(()).unwrap().into_parts().0
    }

    fn status(parts: &Parts) -> u16 {
        let raw = match parts.version {
            Version::HTTP_2 => parts.uri.path().to_owned(),
            _ => parts.uri.to_string(),
        };
        RequestTarget::parse(parts, raw.as_bytes()).map_or_else(|refusal| refusal.status, |_| 200)
    }

    #[test]
    fn a_target_is_taken_apart_and_kept_raw() {
        let parts = parts("GET", "/a%2Fb?q=1?2", Version::HTTP_11, &["Video.Example.com.:8080"]);
        let target = RequestTarget::parse(&parts, b"/a%2Fb?q=1?2").unwrap();
        assert_eq!((&*target.host, target.port), ("video.example.com", Some("8080")));
        assert_eq!((target.path, target.query), (&b"/a%2Fb"[..], Some(&b"q=1?2"[..])));
        assert_eq!(target.origin_form(), None);
    }

    #[test]
    fn the_absolute_form_becomes_origin_form() {
        let parts = parts("GET", "http://a.example.com?x", Version::HTTP_11, &["a.example.com"]);
        let target = RequestTarget::parse(&parts, b"http://a.example.com?x").unwrap();
        assert_eq!(target.origin_form().as_deref(), Some(&b"/?x"[..]));
        assert_eq!(&*target.host, "a.example.com");
    }

    #[test]
    fn what_two_parsers_could_read_differently_is_refused() {
        let v11 = Version::HTTP_11;
        for (method, target, version, hosts, expected) in [
            ("GET", "/", v11, &["a.com"][..], 200),
            ("GET", "/", Version::HTTP_10, &[], 200),
            ("GET", "/", v11, &["[::1]:80"], 200),
            ("OPTIONS", "*", v11, &["a.com"], 200),
            ("GET", "/", v11, &[], 400),
            ("GET", "/", v11, &["a.com", "a.com"], 400),
            ("GET", "/", v11, &["a.com,b.com"], 400),
            ("GET", "/", v11, &["a.com b.com"], 400),
            ("GET", "/", v11, &["a.com."], 200),
            ("GET", "/", v11, &["a.com.."], 400),
            ("GET", "/", v11, &["a..com"], 400),
            ("GET", "/", v11, &["."], 400),
            ("GET", "/", v11, &["user@a.com"], 400),
            ("GET", "/", v11, &["a.com:80:81"], 400),
            ("GET", "/", v11, &["a.com:99999"], 400),
            ("GET", "/", v11, &["a.com:x"], 400),
            ("GET", "/", v11, &["[::1]x"], 400),
            ("GET", "/", v11, &["[zz]"], 400),
            ("GET", "*", v11, &["a.com"], 400),
            ("GET", "http://a.com/", v11, &["b.com"], 400),
            ("GET", "http://a.com/", v11, &[], 400),
            ("GET", "http://a.com/", Version::HTTP_10, &[], 200),
            ("GET", "https://a.com/", Version::HTTP_2, &[], 200),
            ("GET", "https://a.com/", Version::HTTP_2, &["b.com"], 400),
            ("TRACE", "/", v11, &["a.com"], 405),
            ("CONNECT", "a.com:443", v11, &["a.com:443"], 405),
            ("CONNECT", "a.com:443", Version::HTTP_2, &[], 405),
        ] {
            assert_eq!(status(&parts(method, target, version, hosts)), expected, "{method} {target} {hosts:?}");
        }
    }

    #[test]
    fn what_no_proxy_can_follow_is_refused() {
        for (name, value, expected) in [
            ("expect", "100-Continue", 200),
            ("expect", "200-ok", 417),
            ("expect", "100-continue, 200-ok", 417),
            ("expect", "", 417),
            ("connection", "keep-alive, Upgrade, X-Mine,, close", 200),
            ("connection", "Host", 400),
            ("connection", "close, content-LENGTH", 400),
            ("connection", "X-Forwarded-Prefix", 400),
            ("connection", "X-SSL-Client-CN", 400),
            ("connection", "\tCookie ", 400),
            ("connection", ":authority", 400),
            ("content-length", "5", 200),
            ("content-length", "5, 5", 400),
            ("content-length", "+5", 400),
            ("content-length", "", 400),
        ] {
            let mut parts = parts("GET", "/", Version::HTTP_11, &["a.com"]);
            parts.headers.insert(http::HeaderName::from_static(name), value.parse().unwrap());
            assert_eq!(check(&parts).map_or_else(|refusal| refusal.status, |()| 200), expected, "{name}: {value:?}");
        }
        let mut twice = parts("POST", "/", Version::HTTP_2, &["a.com"]);
        twice.headers =
            [(CONTENT_LENGTH, HeaderValue::from(5)), (CONTENT_LENGTH, HeaderValue::from(5))].into_iter().collect();
        assert_eq!(check(&twice), Err(refuse(400, "framing")));
        let other = parts("GET", "ftp://a.com/", Version::HTTP_2, &[]);
        assert_eq!(check(&other), Err(refuse(400, "target")));
    }

    #[test]
    fn headers_beyond_the_limits_are_refused() {
        let with = |fields: usize, length: usize| {
            let mut parts = parts("GET", "/", Version::HTTP_11, &["a.com"]);
            for number in 1..fields {
                let name = http::HeaderName::try_from(format!("x-{number}")).unwrap();
                parts.headers.insert(name, HeaderValue::try_from("v".repeat(length)).unwrap());
            }
            too_large(&parts).map(|refusal| refusal.status)
        };
        assert_eq!(with(REQUEST_HEADER_FIELDS, 10), None);
        assert_eq!(with(REQUEST_HEADER_FIELDS + 1, 10), Some(431));
        assert_eq!(with(2, REQUEST_HEADER_BYTES), Some(431));
        let long = parts("GET", &format!("/{}", "a".repeat(REQUEST_TARGET_BYTES)), Version::HTTP_11, &["a.com"]);
        assert_eq!(too_large(&long).unwrap().status, 414);
    }

    proptest! {
        #[test]
        fn any_host_is_read_as_one_host_or_refused(host in "[a-z0-9.:@,\\[\\]_ /-]{0,20}") {
            if let Ok((name, port)) = host_and_port(&host) {
                let bare = name.trim_matches(['[', ']']);
                prop_assert!(bare.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:".contains(&b)));
                prop_assert!(port.is_none_or(|port| port.parse::<u16>().is_ok()));
            }
        }
    }
}
