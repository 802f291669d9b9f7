//! Trailers on HTTP/1, which Pingora 0.9.1 drops: what a client and a pod send after a chunked body flows in from below
//! Pingora, and flows out where Pingora ends the chunked body for the other side. Only requests that can carry trailers, or whose
//! client asks for those of the response, have [`Trailers`]. Of others a body in chunks is gone over, strictly, and nothing else.
//!
//! `watch` is what a client's connection knows of them, [`Incoming`] and [`Outgoing`] go along with the bytes of one direction.
//! The rest is pure: the framing (`framing`, `head`, and `crate::chunked`) and the fields (`fields`).

mod fields;
mod framing;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod head;
mod incoming;
mod outgoing;
mod watch;

pub(crate) use incoming::Incoming;
pub(crate) use outgoing::Outgoing;
pub(crate) use watch::TrailerWatch;

use bytes::Bytes;
use http::header::{TE, TRAILER, TRANSFER_ENCODING, UPGRADE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Version};
use std::sync::{Arc, OnceLock};

/// The trailers of one request and its response, as far as they are known.
#[derive(Debug)]
pub(crate) struct Trailers {
    carried: Carried,
    announced: Option<HeaderValue>,
    request: Arc<Section>,
    response: Arc<Section>,
}

/// Which trailers a request has to do with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Carried {
    /// It announces its own.
    request: bool,
    /// Its client takes those of the response.
    response: bool,
}

/// The fields of a trailer section as they stand in HTTP/1, without the empty line; set once they are known.
type Section = OnceLock<Bytes>;

impl Trailers {
    /// For a request over HTTP/1.1; `None` where there is nothing to carry.
    fn of(header: &Parts) -> Option<Self> {
        let carried = Carried::of(header)?;
        let announced = if carried.request { fields::announced(&header.headers) } else { None };
        Some(Self { carried, announced, request: Arc::default(), response: Arc::default() })
    }

    /// Whether the client takes trailers of the response (`TE: trailers`, RFC 9110 §10.1.4).
    pub(crate) fn wanted(&self) -> bool {
        self.carried.response
    }

    /// `Trailer` for the pod.
    pub(crate) fn announced(&self) -> Option<&HeaderValue> {
        self.announced.as_ref()
    }

    /// Notes the trailers of a response that did not come over HTTP/1.
    pub(crate) fn note_response(&self, trailers: &HeaderMap) {
        // Trailers come once.
        drop(self.response.set(fields::to_http1(&fields::passed_on(trailers))));
    }

    /// For what a pod sends over HTTP/1, from its first byte on.
    pub(crate) fn response_in(&self) -> Option<Incoming> {
        self.carried.response.then(|| Incoming::of_response(Arc::clone(&self.response)))
    }

    /// For what a pod is sent over HTTP/1, from its first byte on.
    pub(crate) fn request_out(&self) -> Option<Outgoing> {
        self.carried.request.then(|| Outgoing::of_request(Arc::clone(&self.request)))
    }

    /// For the body of the request.
    fn request_in(&self) -> Option<Incoming> {
        self.carried.request.then(|| Incoming::of_body(Arc::clone(&self.request)))
    }

    /// For what the client is sent, from the first byte of the response on.
    fn response_out(&self) -> Option<Outgoing> {
        self.carried.response.then(|| Outgoing::of_response(Arc::clone(&self.response)))
    }
}

impl Carried {
    fn of(header: &Parts) -> Option<Self> {
        if header.version != Version::HTTP_11 || header.headers.contains_key(UPGRADE) {
            return None;
        }
        let takes = || {
            let lists = header.headers.get_all(TE).iter().filter_map(|value| value.to_str().ok());
            lists.flat_map(|list| list.split(',')).any(|coding| coding.trim().eq_ignore_ascii_case("trailers"))
        };
        let chunked = header.headers.contains_key(TRANSFER_ENCODING);
        let carried = Self {
            request: chunked && header.headers.contains_key(TRAILER),
            response: header.method != Method::HEAD && takes(),
        };
        (carried.request || carried.response).then_some(carried)
    }
}
#[cfg(test)]
mod tests;
