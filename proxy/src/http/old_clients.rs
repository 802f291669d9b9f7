//! Answers to clients over HTTP/1.0, which know no transfer coding (RFC 9112 §6.1): the header of an answer flows in as the pod framed it,
//! and flows out framed by its length or by the end of the connection. Called by `http` for each answer of a pod. One of the few modules
//! that name Pingora types.

use super::body::is_bodiless;
use http::Version;
use http::header::{CONTENT_LENGTH, TRAILER, TRANSFER_ENCODING};
use pingora::http::ResponseHeader;
use pingora::proxy::Session;
use pingora::{Error, ErrorType, Result};

/// Frames an answer for the client that asked.
///
/// # Errors
/// A pod that speaks HTTP/2 alone does not say how long its answer is: Pingora would put a transfer coding in afterwards.
pub(super) fn frame(session: &mut Session, response: &mut ResponseHeader) -> Result<()> {
    if session.req_header().version > Version::HTTP_10 {
        return Ok(());
    }
    if response.remove_header(&TRANSFER_ENCODING).is_some() {
        response.remove_header(&CONTENT_LENGTH);
        response.remove_header(&TRAILER);
        session.set_keepalive(None);
    }
    let bodiless = is_bodiless(&session.req_header().method, response.status);
    if response.version == Version::HTTP_2 && !bodiless && !response.headers.contains_key(CONTENT_LENGTH) {
        return Error::e_explain(ErrorType::HTTPStatus(505), "a body of unknown length over HTTP/1.0");
    }
    Ok(())
}
