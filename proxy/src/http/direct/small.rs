//! Exchanges in which everything is small, or may be: a complete request goes to the pod in one write, and the header of an answer and
//! its body flow out. An answer with anything unusual about it is left to Pingora's reader, from its first byte on. Called by `direct`;
//! one of the few modules that name Pingora types.

use super::answer_head::{self, BodyEnd, Head};
use super::body::Body;
use super::exchange;
use super::outgoing::Outgoing;
use super::pod::PodSocket;
use crate::http::HttpService;
use crate::http::context::RequestContext;
use crate::limits::{SMALL_HEADER_BYTES, SPLICED_LEAST};
use bytes::{Buf, BytesMut};
use pingora::http::ResponseHeader;
use pingora::proxy::Session;
// As Pingora's reader counts: a limit of a millisecond is not the same on one way as on another otherwise.
use pingora::time::timeout;
use pingora::{Error, ErrorType, Result};
use std::time::Duration;
use tokio::io::AsyncReadExt;

/// Sends a complete request. Gives the fault of a pod that does not take it.
///
/// # Errors
/// Nothing can be sent, for a reason of the client's or our own.
pub(super) async fn ask(
    service: &HttpService,
    pod: &PodSocket,
    patience: Duration,
    session: &mut Session,
    ctx: &mut RequestContext,
) -> Result<Option<Box<Error>>> {
    let body = session.as_downstream().get_retry_buffer();
    let client = session.req_header();
    let mut header = Outgoing::of(client).map_err(Error::into_down)?;
    service.write_request(client, &mut header, ctx)?;
    let bytes = header.into_bytes(body.as_deref().unwrap_or_default())?;
    service.note_request_body(session, true, ctx)?;
    let sent = pod.send(&bytes, patience).await;
    Ok(sent.err().map(Error::into_up))
}

/// What an answer turns out to be.
#[derive(Debug)]
pub(super) enum Begun {
    /// A usual one: its header, and its body.
    Usual(Box<ResponseHeader>, Body),
    /// One that Pingora's reader is to read from the connection, as if nobody had read of it.
    Other(Box<PodSocket>),
}

/// Reads the header of the answer to a request that is none of HEAD.
///
/// # Errors
/// The pod is silent for too long, or the client has left.
pub(super) async fn begin(mut pod: Box<PodSocket>, patience: Duration, session: &mut Session) -> Result<Begun> {
    // A long body goes to a socket in a way of its own; the frames of HTTP/2 are made of parts whatever its length.
    let limit = if session.as_http1().is_some() { SPLICED_LEAST } else { u64::MAX };
    let mut read = BytesMut::with_capacity(USUAL_ANSWER);
    loop {
        let count = tokio::select! {
            biased;
            count = timeout(patience, pod.read_buf(&mut read)) => count,
            error = exchange::gone(session.as_downstream_mut()) => return Err(error),
        };
        let silent = |_| Error::explain(ErrorType::ReadTimedout, "while reading response headers").into_up();
        let head = match count.map_err(silent)? {
            Ok(1..) => answer_head::read(&read, limit),
            // It has closed, or fails: Pingora's reader says so in its own words.
            _ => Head::Other,
        };
        match head {
            Head::Partial if read.len() < SMALL_HEADER_BYTES => {
                pod.acknowledge();
                read.reserve(USUAL_ANSWER);
            }
            Head::Whole { response, length, end, serves_on } if is_within(read.len() - length, end) => {
                read.advance(length);
                let body = Body::new(pod, patience, read, end, serves_on);
                return Ok(Begun::Usual(response, body));
            }
            // A pod that says more than it announced is not to be asked again: Pingora's reader sees to it.
            _ => break,
        }
    }
    pod.acknowledge();
    pod.unread(read.freeze());
    Ok(Begun::Other(pod))
}

/// Whether a body that ends so may have so many bytes.
fn is_within(bytes: usize, end: BodyEnd) -> bool {
    !matches!(end, BodyEnd::Length(length) if length < bytes)
}

/// A short answer with its header; a longer one is read in parts.
pub(super) const USUAL_ANSWER: usize = 8 * 1024;
