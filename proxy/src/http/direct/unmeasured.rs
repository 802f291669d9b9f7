//! Answers whose length nobody knows and that turn out to be large, to a client without TLS or with that of the kernel: once much of the
//! body has gone the way of any answer, the rest goes from socket to socket, in chunks of the same form. Called by `direct` and `lasting`;
//! one of the few modules that name Pingora types.

use super::body::{Body, Rest};
use super::client;
use super::exchange;
use super::pod::PodSocket;
use super::spliced::fault;
use crate::http::HttpService;
use crate::http::context::RequestContext;
use crate::limits::SPLICED_LEAST;
use crate::splice::{Patience, relay_chunks};
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use pingora::Result;
use pingora::http::ResponseHeader;
use pingora::proxy::Session;

/// How much of a body is copied before the rest may be left to [`finish`]; `None` where all of it is.
pub(super) fn copied(service: &HttpService, body: &Body, response: &ResponseHeader, session: &Session) -> Option<u64> {
    let headers = &response.headers;
    let chunked =
        headers.get(TRANSFER_ENCODING).is_some_and(|coding| coding.as_bytes().eq_ignore_ascii_case(b"chunked"));
    let moved = service.shared.config.byte_path.splice
        && body.is_unmeasured()
        && chunked
        && !headers.contains_key(CONTENT_LENGTH)
        && client::may_be_sink(session)
        && client::takes_as_it_is(service, response, session);
    moved.then_some(SPLICED_LEAST)
}

/// Gives the client the rest of an answer. Gives the connection to the pod, where it can serve on.
///
/// # Errors
/// What failed, marked with the side that did.
pub(super) async fn finish(
    service: &HttpService,
    rest: Rest,
    session: &mut Session,
    ctx: &mut RequestContext,
) -> Result<Option<Box<PodSocket>>> {
    let client = client::sink(session).ok_or_else(client::gone)?;
    let Rest { pod, body, silence, serves_on } = rest;
    let patience = Patience { silence: Some(silence), stall: Some(service.shared.timeouts().client_stall) };
    let moved = |bytes| ctx.spliced += bytes;
    let surplus = relay_chunks(pod.socket(), client, body, patience, service.shared.pipes(), moved).await;
    let surplus = surplus.map_err(fault)?;
    exchange::end(session, false).await?;
    // Whoever says more than the answer is not asked again.
    Ok((serves_on && surplus == 0).then_some(pod))
}
