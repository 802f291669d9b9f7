//! Exchanges in which everything is small: a complete request goes to the pod in one write, and an answer whose header comes in one
//! piece and says how long the body is flows to the client. Any other answer is left to Pingora's reader, from its first byte on.
//! Called by `direct`; one of the few modules that name Pingora types.

use super::answer_head::{self, Head};
use super::exchange::{self, PodBody};
use super::outgoing::Outgoing;
use super::pod::PodSocket;
use crate::http::HttpService;
use crate::http::context::RequestContext;
use crate::limits::SMALL_HEADER_BYTES;
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
    /// A small one: its header, and its body.
    Small(Box<ResponseHeader>, Body),
    /// One that Pingora's reader is to read from the connection, as if nobody had read of it.
    Other(Box<PodSocket>),
}

/// Reads the header of the answer to a request that is none of HEAD.
///
/// # Errors
/// The pod is silent for too long, or the client has left.
pub(super) async fn begin(mut pod: Box<PodSocket>, patience: Duration, session: &mut Session) -> Result<Begun> {
    let mut read = BytesMut::with_capacity(USUAL_ANSWER);
    loop {
        let count = tokio::select! {
            biased;
            count = timeout(patience, pod.read_buf(&mut read)) => count,
            error = exchange::gone(session.as_downstream_mut()) => return Err(error),
        };
        let silent = |_| Error::explain(ErrorType::ReadTimedout, "while reading response headers").into_up();
        let head = match count.map_err(silent)? {
            Ok(1..) => answer_head::read(&read),
            // It has closed, or fails: Pingora's reader says so in its own words.
            _ => Head::Other,
        };
        match head {
            Head::Partial if read.len() < SMALL_HEADER_BYTES => {
                pod.acknowledge();
                read.reserve(USUAL_ANSWER);
            }
            Head::Whole { response, length, body, serves_on } if length + body >= read.len() => {
                read.advance(length);
                let left = body - read.len();
                if left > 0 {
                    pod.acknowledge();
                }
                return Ok(Begun::Small(response, Body { pod, patience, read, given: false, left, serves_on }));
            }
            // A pod that says more than it announced is not to be asked again: Pingora's reader sees to it.
            _ => break,
        }
    }
    pod.acknowledge();
    pod.unread(read.freeze());
    Ok(Begun::Other(pod))
}

/// The body of an answer that says how long it is.
#[derive(Debug)]
pub(super) struct Body {
    pod: Box<PodSocket>,
    patience: Duration,
    /// What was read last.
    read: BytesMut,
    /// Whether that was given out.
    given: bool,
    /// What the pod still has to send.
    left: usize,
    serves_on: bool,
}

impl Body {
    /// The connection, where it can serve on after the body.
    pub(super) fn into_kept(self) -> Option<Box<PodSocket>> {
        (self.serves_on && self.left == 0).then_some(self.pod)
    }
}

impl PodBody for Body {
    fn is_done(&mut self) -> bool {
        self.left == 0 && (self.given || self.read.is_empty())
    }

    async fn next(&mut self) -> Result<Option<&[u8]>> {
        if std::mem::replace(&mut self.given, true) {
            self.read.clear();
        }
        if self.read.is_empty() && self.left > 0 {
            // Not more than was announced: what comes beyond it is no part of it.
            let part = self.left.min(PART);
            self.read.reserve(part);
            let mut pod = (&mut *self.pod).take(part as u64);
            let read = timeout(self.patience, pod.read_buf(&mut self.read)).await;
            let fault = |kind, word| Error::explain(kind, word).into_up();
            match read.map_err(|_| fault(ErrorType::ReadTimedout, "reading a body"))? {
                Ok(0) => return Err(fault(ErrorType::ConnectionClosed, "a body ends before its end")),
                Ok(read) => self.left -= read,
                Err(error) => return Err(Error::because(ErrorType::ReadError, "reading a body", error).into_up()),
            }
        }
        Ok((!self.read.is_empty()).then_some(&self.read[..]))
    }
}

/// A short answer with its header; a longer one is read in parts.
const USUAL_ANSWER: usize = 8 * 1024;
/// What is read of a body at a time.
const PART: usize = 64 * 1024;
