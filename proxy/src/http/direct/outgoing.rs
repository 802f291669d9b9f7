//! The header of a complete request on its way to a pod: the client's header flows in, the phases of `http` write to it, its bytes
//! flow out. What is the business of one hop stays behind (RFC 9110 §7.6.1), and names are spelled as the client spelled them.
//! Called by `small`; one of the few modules that name Pingora types.

use super::request::{self, HOP_BY_HOP};
use crate::http::fields::{Fields, PodHeader};
use crate::options::headers::CasedName;
use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::uri::Authority;
use http::{HeaderMap, HeaderName, HeaderValue, Version};
use pingora::http::RequestHeader;
use pingora::{Error, ErrorType, Result};

/// A header for a pod, by HTTP/1.1.
#[derive(Debug)]
pub(super) struct Outgoing<'c> {
    client: &'c RequestHeader,
    target: Option<Vec<u8>>,
    headers: HeaderMap,
    cased: Vec<CasedName>,
}

impl<'c> Outgoing<'c> {
    /// What of the client's header is for the pod.
    ///
    /// # Errors
    /// The client's `Connection` names what it may not name, or what is no name.
    pub(super) fn of(client: &'c RequestHeader) -> Result<Self> {
        let nominated = request::nominated(client)?;
        let mut headers = HeaderMap::with_capacity(client.headers.len() + WRITTEN);
        for (name, value) in &client.headers {
            if !HOP_BY_HOP.contains(name) && !nominated.contains(name) {
                headers.append(name, value.clone());
            }
        }
        if let Some(host) = request::authority(client)? {
            headers.insert(HOST, host);
        }
        Ok(Self { client, target: None, headers, cased: Vec::new() })
    }

    /// The bytes of the header, and of the body that follows it, whatever was written to it.
    ///
    /// # Errors
    /// What was written makes no request.
    pub(super) fn into_bytes(mut self, body: &[u8]) -> Result<Vec<u8>> {
        let mut hosts = self.headers.get_all(HOST).iter();
        let fault = match (hosts.next(), hosts.next()) {
            (_, Some(_)) => Some("multiple Host header fields"),
            (Some(host), None) if host.as_bytes().contains(&b'@') => Some("userinfo in Host header"),
            _ => None,
        };
        let target = self.target.as_deref().unwrap_or_else(|| self.client.raw_path());
        let fault =
            fault.or_else(|| target.iter().any(|byte| b"\0\n\r ".contains(byte)).then_some("no request target"));
        if let Some(fault) = fault {
            return Error::e_explain(ErrorType::InvalidHTTPHeader, fault);
        }
        if !self.headers.contains_key(HOST) {
            self.headers.insert(HOST, HeaderValue::from_static(""));
        }
        // Whatever was written, the pod is to find the end where it is: the next request follows at once.
        self.headers.remove(TRANSFER_ENCODING);
        if !body.is_empty() || self.headers.contains_key(CONTENT_LENGTH) {
            self.headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        }
        let mut bytes = Vec::with_capacity(USUAL_BYTES + body.len());
        for part in [self.client.method.as_str().as_bytes(), b" ", target, b" HTTP/1.1\r\n"] {
            bytes.extend_from_slice(part);
        }
        let mut spellings = Spellings::of(self.client);
        for (name, value) in &self.headers {
            let cased = self.cased.iter().find(|cased| cased.name == *name).map(|cased| cased.written.as_bytes());
            let written = cased.or_else(|| spellings.find(name)).unwrap_or_else(|| name.as_str().as_bytes());
            for part in [written, b": ", value.as_bytes(), b"\r\n"] {
                bytes.extend_from_slice(part);
            }
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(body);
        Ok(bytes)
    }
}

impl Fields for Outgoing<'_> {
    fn all(&self) -> &HeaderMap {
        &self.headers
    }

    fn set(&mut self, name: &HeaderName, value: HeaderValue) {
        self.headers.set(name, value);
    }

    fn add(&mut self, name: &HeaderName, value: HeaderValue) {
        self.headers.add(name, value);
    }

    fn remove(&mut self, name: &HeaderName) {
        Fields::remove(&mut self.headers, name);
    }
}

impl PodHeader for Outgoing<'_> {
    fn authority(&self) -> Option<&str> {
        self.client.uri.authority().map(Authority::as_str)
    }

    fn version(&self) -> Version {
        Version::HTTP_11
    }

    fn set_target(&mut self, target: &[u8]) -> Result<()> {
        self.target = Some(target.to_vec());
        Ok(())
    }

    fn adjust_case(&mut self, names: &[CasedName]) -> Result<()> {
        self.cased = names.to_vec();
        Ok(())
    }
}

/// How the client spelled the names of its fields, each asked for once, in about the order it sent them.
struct Spellings<'c> {
    spelled: Vec<(&'c HeaderName, Option<&'c [u8]>)>,
    next: usize,
}

impl<'c> Spellings<'c> {
    fn of(client: &'c RequestHeader) -> Self {
        let spelled = client.headers.iter().zip(client.case_header_iter());
        Self { spelled: spelled.map(|((name, _), (written, _))| (name, Some(written.as_slice()))).collect(), next: 0 }
    }

    /// Nothing for a field that the client has not sent, or not as often.
    fn find(&mut self, name: &HeaderName) -> Option<&'c [u8]> {
        let is_it = |(known, written): &(&HeaderName, Option<&[u8]>)| written.is_some() && *known == name;
        let from = self.next.min(self.spelled.len());
        let at = self.spelled[from..].iter().position(is_it).map(|at| from + at);
        let at = at.or_else(|| self.spelled[..from].iter().position(is_it))?;
        self.next = at + 1;
        self.spelled[at].1.take()
    }
}

/// Fields that the proxy writes, usually.
const WRITTEN: usize = 8;
/// What a header for a pod rarely exceeds.
const USUAL_BYTES: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn client(fields: &[(&'static str, &str)]) -> RequestHeader {
        let mut header = RequestHeader::build("GET", b"/a?b", None).unwrap();
        for (name, value) in fields {
            header.append_header(*name, *value).unwrap();
        }
        header
    }

    #[test]
    fn names_are_spelled_as_the_client_or_the_operator_has_them() {
        let client = client(&[
            ("HOST", "a.example.com"),
            ("x-A", "1"),
            ("Connection", "X-Gone"),
            ("X-Gone", "1"),
            ("X-a", "2"),
            ("aCCept", "*/*"),
        ]);
        let mut outgoing = Outgoing::of(&client).unwrap();
        outgoing.add(&HeaderName::from_static("x-a"), HeaderValue::from_static("3"));
        outgoing.adjust_case(&[CasedName { name: HOST, written: "hOST".into() }]).unwrap();
        let bytes = String::from_utf8(outgoing.into_bytes(b"").unwrap()).unwrap();
        let mut lines: Vec<&str> = bytes.strip_suffix("\r\n\r\n").unwrap().split("\r\n").collect();
        assert_eq!(lines.remove(0), "GET /a?b HTTP/1.1");
        lines.sort_unstable();
        assert_eq!(lines, ["X-a: 2", "aCCept: */*", "hOST: a.example.com", "x-A: 1", "x-a: 3"]);
    }

    #[test]
    fn what_makes_no_request_is_refused_and_a_body_is_framed() {
        let built = |client: &RequestHeader, target: Option<&[u8]>| {
            let mut outgoing = Outgoing::of(client).unwrap();
            target.into_iter().for_each(|target| outgoing.set_target(target).unwrap());
            outgoing.into_bytes(b"body").ok().map(|bytes| String::from_utf8(bytes).unwrap())
        };
        assert_eq!(built(&client(&[("host", "a"), ("host", "b")]), None), None);
        assert_eq!(built(&client(&[("host", "x@a")]), None), None);
        assert_eq!(built(&client(&[("host", "a")]), Some(b"/a b")), None);
        assert_eq!(built(&client(&[("host", "a")]), Some(b"/\r\nx: y")), None);
        let framed = built(&client(&[]), Some(b"/c")).unwrap();
        assert_eq!(framed, "GET /c HTTP/1.1\r\nhost: \r\ncontent-length: 4\r\n\r\nbody");
        let client = client(&[("host", "a"), ("Content-Length", "4")]);
        let mut outgoing = Outgoing::of(&client).unwrap();
        outgoing.set(&CONTENT_LENGTH, HeaderValue::from_static("2"));
        outgoing.set(&TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        let framed = String::from_utf8(outgoing.into_bytes(b"body").unwrap()).unwrap();
        assert!(
            framed.contains("Content-Length: 4\r\n") && !framed.to_lowercase().contains("transfer-encoding"),
            "{framed}"
        );
    }
}
