//! Who asked, told to the pod: the client's connection flows in, `X-Forwarded-*` and `Forwarded` (RFC 7239) flow out. The
//! lists are appended to, as the OpenShift router does by default; what a client says of host, port and scheme, and
//! spellings that a pod could take for the real fields, are removed.

use http::{HeaderName, header};
use nearside_routing::Scheme;
use pingora::Result;
use pingora::http::RequestHeader;
use std::io::Write;
use std::net::IpAddr;

/// What a pod is told of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Forwarded<'f> {
    /// The client.
    pub(crate) client: IpAddr,
    /// How it came.
    pub(crate) scheme: Scheme,
    /// `Host` or `:authority`, as the client wrote it.
    pub(crate) host: &'f [u8],
    /// The port that the client connected to.
    pub(crate) port: u16,
}

impl Forwarded<'_> {
    /// Adds the fields to the header for the pod.
    ///
    /// # Errors
    /// Pingora's, for a value that no header field may have; the host was checked before.
    pub(crate) fn add(&self, header: &mut RequestHeader) -> Result<()> {
        let scheme = match self.scheme {
            Scheme::Http => "http",
            Scheme::Https => "https",
        };
        header.append_header("X-Forwarded-For", self.client.to_string())?;
        header.insert_header("X-Forwarded-Proto", scheme)?;
        header.insert_header("X-Forwarded-Port", self.port.to_string())?;
        if !self.host.is_empty() {
            header.insert_header("X-Forwarded-Host", self.host)?;
        }
        header.append_header("Forwarded", self.element(scheme))?;
        Ok(())
    }

    /// One element of `Forwarded`. A colon is no token character, so that IPv6 addresses and hosts with a port are quoted
    /// (RFC 7239 §4, §6).
    fn element(&self, scheme: &str) -> Vec<u8> {
        let mut element = Vec::with_capacity(96);
        // Writing to a Vec does not fail.
        let _ = match self.client {
            IpAddr::V4(client) => write!(element, "for={client}"),
            IpAddr::V6(client) => write!(element, "for=\"[{client}]\""),
        };
        if !self.host.is_empty() {
            let quoted = self.host.iter().any(|byte| !byte.is_ascii_alphanumeric() && !b"-._".contains(byte));
            let quote = if quoted { "\"" } else { "" };
            element.extend_from_slice(b";host=");
            element.extend_from_slice(quote.as_bytes());
            element.extend_from_slice(self.host);
            element.extend_from_slice(quote.as_bytes());
        }
        element.extend_from_slice(b";proto=");
        element.extend_from_slice(scheme.as_bytes());
        element
    }
}

/// Removes what a client must not tell a pod: `Proxy` (httpoxy), client certificate fields, which only a router that has
/// verified one sets, and fields with `_` that some servers read like the ones with `-`.
///
/// # Errors
/// None at present.
pub(crate) fn remove_spoofed(header: &mut RequestHeader) -> Result<()> {
    let spoofed: Vec<HeaderName> = header.headers.keys().filter(|name| is_spoofed(name)).cloned().collect();
    for name in spoofed {
        header.remove_header(&name);
    }
    Ok(())
}

fn is_spoofed(name: &HeaderName) -> bool {
    if *name == HeaderName::from_static("proxy") {
        return true;
    }
    let name = name.as_str();
    if name.starts_with("x-ssl") {
        return true;
    }
    if !name.contains('_') {
        return false;
    }
    let twin = name.replace('_', "-");
    twin.starts_with("x-forwarded-") || twin.starts_with("x-ssl") || twin == header::FORWARDED.as_str()
}

/// The value of a header field as bytes; for tests of this module.
#[cfg(test)]
fn values(header: &RequestHeader, name: &str) -> Vec<String> {
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    header.headers.get_all(name).iter().map(text).collect()
}

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

    #[test]
    fn lists_are_appended_to_and_claims_are_replaced() {
        let mut header = header(&[
            ("X-Forwarded-For", "192.0.2.1"),
            ("X-Forwarded-Proto", "https"),
            ("X-Forwarded-Host", "bank.example.com"),
            ("X-Forwarded-Port", "443"),
            ("Forwarded", "for=192.0.2.1"),
        ]);
        let client = "198.18.0.9".parse().unwrap();
        Forwarded { client, scheme: Scheme::Http, host: b"a.example.com:8080", port: 80 }.add(&mut header).unwrap();
        assert_eq!(values(&header, "x-forwarded-for"), ["192.0.2.1", "198.18.0.9"]);
        assert_eq!(values(&header, "x-forwarded-proto"), ["http"]);
        assert_eq!(values(&header, "x-forwarded-host"), ["a.example.com:8080"]);
        assert_eq!(values(&header, "x-forwarded-port"), ["80"]);
        let expected = "for=198.18.0.9;host=\"a.example.com:8080\";proto=http";
        assert_eq!(values(&header, "forwarded"), ["for=192.0.2.1", expected]);
    }

    #[test]
    fn an_ipv6_client_is_bracketed_and_quoted() {
        let mut header = header(&[]);
        let client = "fd00::9".parse().unwrap();
        Forwarded { client, scheme: Scheme::Https, host: b"a.example.com", port: 443 }.add(&mut header).unwrap();
        assert_eq!(values(&header, "forwarded"), ["for=\"[fd00::9]\";host=a.example.com;proto=https"]);
        assert_eq!(values(&header, "x-forwarded-for"), ["fd00::9"]);
    }

    #[test]
    fn spoofed_spellings_are_removed_and_others_stay() {
        let mut header = header(&[
            ("Proxy", "http://evil"),
            ("X_Forwarded_For", "127.0.0.1"),
            ("X-SSL-Client-CN", "root"),
            ("x-request_id", "1"),
            ("X-Forwarded-For", "192.0.2.1"),
        ]);
        remove_spoofed(&mut header).unwrap();
        let mut left: Vec<&str> = header.headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["x-forwarded-for", "x-request_id"]);
    }
}
