//! Answers of known length that are large and go out as they are, to a client without TLS or with that of the kernel: their header flows
//! out as that of any answer, their body from socket to socket without passing through this process. Called by `exchange` and `lasting`;
//! one of the few modules that name Pingora types.

use super::client;
use super::pod::{self, Detached, PodSocket};
use crate::http::HttpService;
use crate::http::context::RequestContext;
use crate::limits::SPLICED_LEAST;
use crate::splice::{Length, Patience, RelayError, Side, Terms, relay, send_all};
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, Method};
use pingora::http::ResponseHeader;
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::v1::client::HttpSession;
use pingora::proxy::Session;
use pingora::{Error, ErrorType, Result};

/// The length of an answer that is to be moved in the kernel.
pub(super) fn length(
    service: &HttpService,
    pod: &HttpSession,
    response: &ResponseHeader,
    session: &Session,
) -> Option<u64> {
    let length = whole(service, pod, response, session)?;
    (service.shared.config.byte_path.splice && client::sink(session).is_some()).then_some(length)
}

/// The length of a large answer that is passed on as it is.
pub(super) fn whole(
    service: &HttpService,
    pod: &HttpSession,
    response: &ResponseHeader,
    session: &Session,
) -> Option<u64> {
    let length = announced(&response.headers).filter(|length| *length >= SPLICED_LEAST)?;
    // Only what the pod says is what it sends.
    let said = pod.resp_header().and_then(|header| announced(&header.headers));
    (said == Some(length) && client::takes_as_it_is(service, response, session)).then_some(length)
}

/// Gives the client the answer, whole.
///
/// # Errors
/// What failed, marked with the side that did.
pub(super) async fn answer(
    service: &HttpService,
    reader: HttpSession,
    response: Box<ResponseHeader>,
    length: u64,
    session: &mut Session,
    ctx: &mut RequestContext,
) -> Result<Option<Box<PodSocket>>> {
    let patience = Patience { silence: reader.read_timeout, stall: Some(service.shared.timeouts().client_stall) };
    // In a box of its own, so that a transfer does not keep the room that its beginning took.
    let begun = Box::pin(begin(service, reader, response, length, session, ctx)).await?;
    let terms = Terms { length: Length::Exactly(begun.left), patience, pace: None };
    let client = client::sink(session).ok_or_else(client::gone)?;
    let moved = |bytes| ctx.spliced += bytes;
    relay(begun.pod.socket(), client, terms, service.shared.pipes(), moved).await.map_err(fault)?;
    Ok(begun.serves_on.then_some(begun.pod))
}

/// Sends the header, and what came with it. Gives the connection that has the rest.
async fn begin(
    service: &HttpService,
    mut reader: HttpSession,
    response: Box<ResponseHeader>,
    length: u64,
    session: &mut Session,
    ctx: &mut RequestContext,
) -> Result<Detached> {
    write_header(session, response).await?;
    let client = client::sink(session).ok_or_else(client::gone)?.socket();
    let stall = service.shared.timeouts().client_stall;
    let early = pod::early(&mut reader).await?;
    send_all(client, early, stall).await.map_err(fault)?;
    ctx.spliced += early.len() as u64;
    let mut detached = Detached::from(reader, length)?;
    let unread = std::mem::take(&mut detached.unread);
    send_all(client, &unread, stall).await.map_err(fault)?;
    ctx.spliced += unread.len() as u64;
    Ok(detached)
}

/// Sends the header as that of an answer to HEAD, whose body Pingora does not expect: dates, connection and what becomes of it stay
/// Pingora's business.
async fn write_header(session: &mut Session, response: Box<ResponseHeader>) -> Result<()> {
    let ServerSession::H1(client) = session.as_downstream_mut() else {
        return Error::e_explain(ErrorType::InternalError, "HTTP/2 has no socket of its own");
    };
    let method = client.req_header().method.clone();
    client.req_header_mut().set_method(Method::HEAD);
    let written = client.write_response_header(response).await;
    client.req_header_mut().set_method(method);
    written.map_err(Error::into_down)
}

/// An end that came too early, as Pingora tells it.
pub(super) fn fault(error: RelayError) -> Box<Error> {
    let kind = match (error.side(), error.is_timeout()) {
        (Side::Source, true) => ErrorType::ReadTimedout,
        (Side::Source, false) => ErrorType::ReadError,
        (Side::Sink, true) => ErrorType::WriteTimedout,
        (Side::Sink, false) => ErrorType::WriteError,
    };
    let side = error.side();
    let error = Error::because(kind, "while a body is moved", error);
    match side {
        Side::Source => error.into_up(),
        Side::Sink => error.into_down(),
    }
}

/// `Content-Length` of a body that has no other framing.
fn announced(headers: &HeaderMap) -> Option<u64> {
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let (Some(length), None, false) = (lengths.next(), lengths.next(), headers.contains_key(TRANSFER_ENCODING)) else {
        return None;
    };
    length.to_str().ok()?.parse().ok()
}
