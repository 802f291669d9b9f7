//! Request bodies: how large they may be, and how much of them is there before a pod is asked. A small body is awaited, so
//! that a slow client holds no pod and retries stay possible; a larger one is streamed. One of the few modules that name
//! Pingora types.

use super::failure;
use super::request::Refusal;
use crate::edge::{BodyRate, Upload};
use crate::limits::{GATHERED_BODY, PROMPT_BODY, UNREAD_BODY, UNREAD_BODY_TIME};
use http::header::{CONTENT_LENGTH, EXPECT, TRANSFER_ENCODING};
use http::request::Parts;
use http::{HeaderValue, Method, StatusCode};
use pingora::protocols::http::ServerSession;
use pingora::proxy::Session;
use pingora::{Error, ErrorType, Result};
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// How much of a body is awaited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Plan {
    /// All of it; it is small.
    Whole,
    /// What comes at once, for it may be all.
    Prompt,
    /// Nothing.
    Stream,
}

/// Whether a client over HTTP/2 sends a body that its header says is none (RFC 9113 §8.1.1), which Pingora does not wait for. Over HTTP/1
/// it would be the next request.
async fn contradicts(session: &mut Session, patience: Duration) -> Result<bool> {
    let is_none = |length: &HeaderValue| length.as_bytes() == b"0";
    if session.as_http1().is_some() || !session.req_header().headers.get(CONTENT_LENGTH).is_some_and(is_none) {
        return Ok(false);
    }
    let Ok(read) = timeout(patience, session.as_mut().read_request_body()).await else { return Ok(true) };
    Ok(read.map_err(Error::into_down)?.is_some_and(|part| !part.is_empty()))
}

/// Whether the answer to a request has no body, whatever its header announces (RFC 9112 §6.3).
pub(super) fn is_bodiless(method: &Method, status: StatusCode) -> bool {
    *method == Method::HEAD || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

/// Refuses a body whose announced length is too large.
pub(super) fn announced_too_large(header: &Parts, largest: Option<u64>) -> Option<Refusal> {
    let announced = header.headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse::<u64>();
    // A number that is too long for 64 bits is larger than any limit.
    (announced.unwrap_or(u64::MAX) > largest?).then_some(TOO_LARGE)
}

/// Refuses a body that turns out to be too large on its way.
///
/// # Errors
/// With the status 413.
pub(super) fn check_size(received: usize, largest: Option<u64>) -> Result<()> {
    if largest.is_some_and(|largest| received as u64 > largest) {
        return Error::e_explain(ErrorType::HTTPStatus(TOO_LARGE.status), TOO_LARGE.reason);
    }
    Ok(())
}

/// Waits for what is worth waiting for, and says whether the request is complete. What was read is what Pingora sends
/// first.
///
/// # Errors
/// The client fails, is silent for too long, or is slower than `rate`.
pub(super) async fn gather(session: &mut Session, patience: Duration, rate: Option<BodyRate>) -> Result<bool> {
    if session.as_mut().is_body_done() {
        if contradicts(session, patience).await? {
            return Err(Error::explain(ErrorType::InvalidHTTPHeader, "a body that was said to be none").into_down());
        }
        return Ok(true);
    }
    match plan(session.req_header()) {
        Plan::Stream => Ok(false),
        Plan::Whole => {
            session.as_mut().enable_retry_buffering();
            let mut upload = rate.map(|rate| Upload::begin(rate, Instant::now()));
            while !session.as_mut().is_body_done() {
                let left = upload.as_ref().and_then(|upload| upload.left(Instant::now()));
                if left.is_some_and(|left| left.is_zero()) {
                    return Err(failure::of_slow_client());
                }
                let limit = left.map_or(patience, |left| left.min(patience));
                match timeout(limit, session.as_mut().read_request_body()).await {
                    Ok(read) => {
                        let Some(part) = read.map_err(Error::into_down)? else { break };
                        upload.iter_mut().for_each(|upload| upload.came(part.len(), Instant::now()));
                    }
                    Err(_) if limit < patience => {}
                    Err(_) => {
                        return Err(Error::explain(ErrorType::ReadTimedout, "a small request body").into_down());
                    }
                }
            }
            Ok(true)
        }
        Plan::Prompt => {
            session.as_mut().enable_retry_buffering();
            Ok(timeout(PROMPT_BODY, prompt(session)).await.unwrap_or(Ok(false))?)
        }
    }
}

/// Whether a connection of HTTP/1 can live on after an answer that nobody read the body for: it is read and thrown away then,
/// if it is not too long. A client that waits for leave to send its body (RFC 9110 §10.1.1) and has got an answer instead may
/// leave it out, so that nobody knows what the next byte belongs to.
pub(super) fn may_be_dropped(session: &mut Session) -> bool {
    if session.as_mut().is_body_done() {
        return true;
    }
    let headers = &session.req_header().headers;
    let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    let short = length.is_some_and(|length| length <= UNREAD_BODY);
    let dropped = short && !headers.contains_key(EXPECT) && !headers.contains_key(TRANSFER_ENCODING);
    if let (true, ServerSession::H1(http1)) = (dropped, session.as_downstream_mut()) {
        http1.set_close_on_response_before_downstream_finish(false);
        http1.set_total_drain_timeout(Some(UNREAD_BODY_TIME));
    }
    dropped
}

/// Reads to the end, but not beyond what Pingora keeps.
async fn prompt(session: &mut Session) -> Result<bool> {
    let mut left = GATHERED_BODY;
    while left >= H2_FRAME {
        match session.as_mut().read_request_body().await.map_err(Error::into_down)? {
            Some(part) => left = left.saturating_sub(part.len() as u64),
            None => return Ok(true),
        }
        if session.as_mut().is_body_done() {
            return Ok(true);
        }
    }
    Ok(false)
}

fn plan(header: &Parts) -> Plan {
    // Who waits for leave to send its body (RFC 9110 §10.1.1) gets it from the pod.
    if header.headers.contains_key(EXPECT) || header.headers.contains_key(TRANSFER_ENCODING) {
        return Plan::Stream;
    }
    match header
        .headers
        .get(CONTENT_LENGTH)
        .map(|length| length.to_str().ok().and_then(|text| text.parse::<u64>().ok()))
    {
        Some(Some(length)) if length <= GATHERED_BODY => Plan::Whole,
        Some(_) => Plan::Stream,
        None => Plan::Prompt,
    }
}

const TOO_LARGE: Refusal = Refusal { status: 413, reason: "body_size" };
/// The largest part that an HTTP/2 client may send (`SETTINGS_MAX_FRAME_SIZE`, RFC 9113 §6.5.2, which is not raised).
const H2_FRAME: u64 = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn parts(fields: &[(&str, &str)]) -> Parts {
        let request = fields.iter().fold(Request::post("/"), |request, (name, value)| request.header(*name, *value));
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn only_small_bodies_and_those_that_may_be_complete_are_awaited() {
        for (fields, expected) in [
            (&[("content-length", "10")][..], Plan::Whole),
            (&[("content-length", "65536")], Plan::Whole),
            (&[("content-length", "65537")], Plan::Stream),
            (&[("content-length", "99999999999999999999999")], Plan::Stream),
            (&[("content-length", "10"), ("expect", "100-continue")], Plan::Stream),
            (&[("transfer-encoding", "chunked")], Plan::Stream),
            (&[], Plan::Prompt),
        ] {
            assert_eq!(plan(&parts(fields)), expected, "{fields:?}");
        }
    }

    #[test]
    fn an_announced_length_is_refused_beyond_the_limit_alone() {
        let refused = |length: &str, largest| announced_too_large(&parts(&[("content-length", length)]), largest);
        assert_eq!(refused("1000", Some(1000)), None);
        assert_eq!(refused("1001", Some(1000)).map(|refusal| refusal.status), Some(413));
        assert_eq!(refused("99999999999999999999999", Some(1000)).map(|refusal| refusal.status), Some(413));
        assert_eq!(refused("99999999999999999999999", None), None);
        assert_eq!(announced_too_large(&parts(&[]), Some(0)), None);
        assert!(check_size(1000, Some(1000)).is_ok() && check_size(1001, Some(1000)).is_err());
    }
}
