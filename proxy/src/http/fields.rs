//! Header fields that can be changed, whether of a request or of a response: what writes fields needs no type of Pingora, and
//! Pingora keeps its notes on the case of names. One of the few modules that name Pingora types.

use http::{HeaderMap, HeaderName, HeaderValue};
use pingora::http::{RequestHeader, ResponseHeader};

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
