//! Header fields that can be changed, whether of a request or of a response: what writes fields needs no type of Pingora, and
//! Pingora keeps its notes on the case of names. One of the few modules that name Pingora types.

use super::header_case;
use crate::options::headers::CasedName;
use http::uri::Authority;
use http::{HeaderMap, HeaderName, HeaderValue, Version};
use pingora::Result;
use pingora::http::{RequestHeader, ResponseHeader};

/// A name as programs know it that are told of fields in variables (RFC 3875 §4.1.18): there `X_Real.IP` is `X-Real-IP`.
/// `None` where it is written with letters, digits and dashes already.
pub(super) fn dashed(name: &HeaderName) -> Option<String> {
    let name = name.as_str();
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    if name.bytes().all(is_plain) {
        return None;
    }
    Some(name.bytes().map(|byte| if is_plain(byte) { char::from(byte) } else { '-' }).collect())
}

/// Header fields.
pub(super) trait Fields {
    /// All of them.
    fn all(&self) -> &HeaderMap;
    /// Replaces all fields of a name by one.
    fn set(&mut self, name: &HeaderName, value: HeaderValue);
    /// Adds a field after those of the same name.
    fn add(&mut self, name: &HeaderName, value: HeaderValue);
    /// Removes all fields of a name.
    fn remove(&mut self, name: &HeaderName);
}

/// The header of a request on its way to a pod.
pub(super) trait PodHeader: Fields {
    /// `:authority`, or that of a target in absolute form.
    fn authority(&self) -> Option<&str>;
    /// The version of HTTP that the pod is asked by.
    fn version(&self) -> Version;
    /// Replaces the request target.
    ///
    /// # Errors
    /// No request can have it.
    fn set_target(&mut self, target: &[u8]) -> Result<()>;
    /// Has these fields written in a case of their own.
    ///
    /// # Errors
    /// There are more fields than a header can have.
    fn adjust_case(&mut self, names: &[CasedName]) -> Result<()>;
}

impl Fields for RequestHeader {
    fn all(&self) -> &HeaderMap {
        &self.headers
    }

    fn set(&mut self, name: &HeaderName, value: HeaderValue) {
        // Name and value are checked by their types; nothing is left that could fail.
        drop(self.insert_header(name, value));
    }

    fn add(&mut self, name: &HeaderName, value: HeaderValue) {
        // Fails beyond 32,768 fields, far above what the proxy accepts.
        drop(self.append_header(name, value));
    }

    fn remove(&mut self, name: &HeaderName) {
        self.remove_header(name);
    }
}

impl PodHeader for RequestHeader {
    fn authority(&self) -> Option<&str> {
        self.uri.authority().map(Authority::as_str)
    }

    fn version(&self) -> Version {
        self.version
    }

    fn set_target(&mut self, target: &[u8]) -> Result<()> {
        self.set_raw_path(target)
    }

    fn adjust_case(&mut self, names: &[CasedName]) -> Result<()> {
        header_case::adjust_request(names, self)
    }
}

impl Fields for ResponseHeader {
    fn all(&self) -> &HeaderMap {
        &self.headers
    }

    fn set(&mut self, name: &HeaderName, value: HeaderValue) {
        // Name and value are checked by their types; nothing is left that could fail.
        drop(self.insert_header(name, value));
    }

    fn add(&mut self, name: &HeaderName, value: HeaderValue) {
        // Fails beyond 32,768 fields, far above what the proxy accepts.
        drop(self.append_header(name, value));
    }

    fn remove(&mut self, name: &HeaderName) {
        self.remove_header(name);
    }
}

impl Fields for HeaderMap {
    fn all(&self) -> &HeaderMap {
        self
    }

    fn set(&mut self, name: &HeaderName, value: HeaderValue) {
        self.insert(name, value);
    }

    fn add(&mut self, name: &HeaderName, value: HeaderValue) {
        self.append(name, value);
    }

    fn remove(&mut self, name: &HeaderName) {
        Self::remove(self, name);
    }
}
