//! One request that is complete and its answer on a connection to a pod: the client's session and the pod's flow in, the connection
//! flows out if it can serve on. What the pod says is on its way to the client before more of it is read. Called by `direct`,
//! and step by step by `streaming`; one of the few modules that name Pingora types.

use super::client;
use super::frames;
use super::lasting::{Announced, Rest, Way};
use super::pod::{PodSocket, kept};
use super::request;
use super::sealed;
use super::spliced;
use super::upload::Framing;
use crate::connection::Hold;
use crate::http::HttpService;
use crate::http::body;
use crate::http::context::RequestContext;
use crate::http::gzip;
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderValue, Version};
use pingora::http::ResponseHeader;
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::v1::client::HttpSession;
use pingora::proxy::Session;
use pingora::{Error, ErrorSource, Result};
use std::future::{pending, ready};

/// What became of an exchange.
pub(super) enum Exchanged {
    /// It is over, and the connection can serve on, where there is one.
    Over(Option<Box<PodSocket>>),
    /// It is over, and Pingora has not seen all of the request.
    Unnoticed(Option<Box<PodSocket>>),
    /// Its answer is decided and still to be given, which will last.
    Lasting(Rest),
}

/// Asks the pod, and gives the client what it answers.
///
/// # Errors
/// What failed, marked with the side that did.
pub(super) async fn exchange(
    service: &HttpService,
    mut pod: HttpSession,
    session: &mut Session,
    ctx: &mut RequestContext,
) -> Result<Exchanged> {
    write_header(service, &mut pod, session, ctx).await?;
    let unsent = write_body(service, &mut pod, session, ctx).await?;
    read(service, pod, unsent, session, ctx).await
}

/// Gives the client what the pod answers to what it was asked. `unsent` is why it has not taken the request, where it has not.
///
/// # Errors
/// What failed, marked with the side that did.
pub(super) async fn read(
    service: &HttpService,
    mut pod: HttpSession,
    unsent: Option<Box<Error>>,
    session: &mut Session,
    ctx: &mut RequestContext,
) -> Result<Exchanged> {
    let response = match final_response(service, &mut pod, session, ctx).await {
        Ok(response) => response,
        Err(error) => return Err(cause(error, unsent)),
    };
    let sent = unsent.is_none();
    if let Some(length) = spliced::length(service, &pod, &response, session) {
        return Ok(Announced { pod, response, length, way: Way::Spliced, sent }.into());
    }
    if let Some(length) = sealed::length(service, &pod, &response, session) {
        return Ok(Announced { pod, response, length, way: Way::Sealed, sent }.into());
    }
    answer(&mut pod, response, session, ctx).await?;
    Ok(Exchanged::Over(kept(pod).await.filter(|_| sent)))
}

/// Why there is no answer: a pod that does not take the request may have said why; if not, the first fault is the cause.
pub(super) fn cause(error: Box<Error>, unsent: Option<Box<Error>>) -> Box<Error> {
    match unsent {
        Some(unsent) if *error.esource() == ErrorSource::Upstream => unsent,
        _ => error,
    }
}

/// The body of an answer, read part by part.
pub(super) trait PodBody {
    /// Whether nothing is left of it.
    fn is_done(&mut self) -> bool;
    /// Whether everything that was read of it was given out.
    fn is_spent(&self) -> bool {
        true
    }
    /// The next part; `None` after the last one.
    ///
    /// # Errors
    /// The pod breaks it off, or is silent for too long.
    fn next(&mut self) -> impl Future<Output = Result<Option<&[u8]>>> + Send;
    /// The same, to be kept.
    ///
    /// # Errors
    /// See [`next`](Self::next).
    fn next_kept(&mut self) -> impl Future<Output = Result<Option<Bytes>>> + Send;
}

impl PodBody for HttpSession {
    fn is_done(&mut self) -> bool {
        self.is_body_done()
    }

    async fn next(&mut self) -> Result<Option<&[u8]>> {
        self.read_body_ref().await.map_err(Error::into_up)
    }

    async fn next_kept(&mut self) -> Result<Option<Bytes>> {
        self.read_body_bytes().await.map_err(Error::into_up)
    }
}

/// Sends the request's header. Gives the framing of what follows it.
pub(super) async fn write_header(
    service: &HttpService,
    pod: &mut HttpSession,
    session: &mut Session,
    ctx: &mut RequestContext,
) -> Result<Framing> {
    let mut request = request::of_client(session.req_header()).map_err(Error::into_down)?;
    if ctx.upgrade {
        request::upgrade(&mut request)?;
    }
    service.write_request(session.req_header(), &mut request, ctx)?;
    request::settle(&mut request, !ctx.upgrade && !session.as_downstream_mut().is_body_empty())?;
    let framing = Framing::of(&request.headers);
    pod.write_request_header(Box::new(request)).await.map_err(Error::into_up)?;
    Ok(framing)
}

/// Sends the body, which is there. Gives the fault of a pod that does not take it.
async fn write_body(
    service: &HttpService,
    pod: &mut HttpSession,
    session: &mut Session,
    ctx: &mut RequestContext,
) -> Result<Option<Box<Error>>> {
    let body = session.as_downstream().get_retry_buffer();
    service.note_request_body(session, true, ctx)?;
    let sent = match &body {
        Some(body) => pod.write_body(body).await.map(drop),
        None => Ok(()),
    };
    let finished = match sent {
        Ok(()) => pod.finish_body().await.map(drop),
        Err(error) => Err(error),
    };
    Ok(finished.err().map(Error::into_up))
}

/// The answer's header as the client is to get it, after the interim ones, which it has got by then.
async fn final_response(
    service: &HttpService,
    pod: &mut HttpSession,
    session: &mut Session,
    ctx: &mut RequestContext,
) -> Result<Box<ResponseHeader>> {
    loop {
        let response = tokio::select! {
            biased;
            read = pod.read_resp_header_parts() => read.map_err(Error::into_up)?,
            error = gone(session.as_downstream_mut()) => return Err(error),
        };
        let empty = pod.is_body_done();
        if let Some(response) = prepare(service, response, empty, session, ctx).await? {
            return Ok(response);
        }
    }
}

/// Makes the header of an answer what the client is to get. An interim one is sent.
pub(super) async fn prepare(
    service: &HttpService,
    mut response: Box<ResponseHeader>,
    empty: bool,
    session: &mut Session,
    ctx: &mut RequestContext,
) -> Result<Option<Box<ResponseHeader>>> {
    if !response.status.is_informational() {
        prepare_final(service, &mut response, empty, session, ctx).await?;
        return Ok(Some(response));
    }
    service.judge_response(session, &response, ctx)?;
    service.write_response(session, &mut response, ctx)?;
    session.write_response_header(response, false).await.map_err(Error::into_down)?;
    Ok(None)
}

/// Makes the header of an answer that is no interim one what the client is to get.
///
/// # Errors
/// Another pod is to be asked, or the answer is to be replaced.
pub(super) async fn prepare_final(
    service: &HttpService,
    response: &mut ResponseHeader,
    empty: bool,
    session: &mut Session,
    ctx: &mut RequestContext,
) -> Result<()> {
    service.judge_response(session, response, ctx)?;
    let bodiless = body::is_bodiless(&session.req_header().method, response.status);
    let framed = response.headers.contains_key(TRANSFER_ENCODING) || response.headers.contains_key(CONTENT_LENGTH);
    if !bodiless && !framed && !empty {
        // A body that ends with the pod's connection need not end the client's.
        response.set_version(Version::HTTP_11);
        response.insert_header(TRANSFER_ENCODING, HeaderValue::from_static("chunked"))?;
    }
    service.write_response(session, response, ctx)?;
    session.downstream_modules_ctx.response_header_filter(response, empty).await
}

/// Gives the client the answer, whole.
///
/// # Errors
/// What failed, marked with the side that did.
pub(super) async fn answer(
    pod: &mut impl PodBody,
    response: Box<ResponseHeader>,
    session: &mut Session,
    ctx: &mut RequestContext,
) -> Result<()> {
    begin_answer(pod, response, None, session, ctx).await.map(drop)
}

/// Gives the client the answer, or as much of it as `most` says before the rest may go another way: `false`, where everything is on its
/// way by then.
///
/// # Errors
/// What failed, marked with the side that did.
pub(super) async fn begin_answer(
    pod: &mut impl PodBody,
    response: Box<ResponseHeader>,
    most: Option<u64>,
    session: &mut Session,
    ctx: &mut RequestContext,
) -> Result<bool> {
    if matches!(session.as_downstream(), ServerSession::H2(_)) && !gzip::is_compressing(session) {
        return frames::answer(pod, response, session).await.map(|()| true);
    }
    let empty = pod.is_done();
    let hold = ctx.connection.as_ref().map(|connection| &connection.hold);
    // Where nothing is read of the client any more nothing would end a hold.
    if let (Some(hold), Some(client), false) = (hold, session.as_http1(), empty)
        && !client.is_half_closed()
    {
        hold.begin();
    }
    let sent = match session.as_downstream_mut().write_response_header(response).await {
        Ok(()) if empty => Ok(true),
        Ok(()) => copy(pod, most, hold, session, ctx).await,
        Err(error) => Err(error.into_down()),
    };
    hold.into_iter().for_each(Hold::end);
    match sent {
        Ok(true) => end(session, empty).await.map(|()| true),
        Ok(false) => Ok(false),
        Err(error) => {
            // What the pod said before it broke off is the client's.
            release(session).await;
            Err(error)
        }
    }
}

/// Passes the body on, part by part, and says whether that is all of it.
async fn copy(
    pod: &mut impl PodBody,
    mut most: Option<u64>,
    hold: Option<&Hold>,
    session: &mut Session,
    ctx: &RequestContext,
) -> Result<bool> {
    let mut copied = 0;
    while !pod.is_done() {
        // While the pod has more to say nothing is asked of the client, and what waits for more goes on waiting.
        let part = tokio::select! {
            biased;
            read = pod.next() => read?,
            error = gone(session.as_downstream_mut()) => return Err(error),
        };
        let Some(part) = part else { break };
        pass(part, session).await?;
        copied += part.len() as u64;
        if most.is_some_and(|most| copied >= most) && pod.is_spent() && !pod.is_done() {
            hold.into_iter().for_each(Hold::end);
            release(session).await;
            if client::seal(session, ctx).await {
                return Ok(false);
            }
            // Where it is encrypted here now, the rest is as well.
            most = most.filter(|_| client::secured(session).is_none());
        }
    }
    Ok(true)
}

/// Sends what waits for more, as far as the client takes it at once.
pub(super) async fn release(session: &mut Session) {
    tokio::select! {
        biased;
        _ = gone(session.as_downstream_mut()) => {}
        () = ready(()) => {}
    }
}

/// Passes on a part of a body.
pub(super) async fn pass(part: &[u8], session: &mut Session) -> Result<()> {
    if gzip::is_compressing(session) {
        let part = Some(Bytes::copy_from_slice(part));
        return session.write_response_body(part, false).await.map_err(Error::into_down);
    }
    if let (ServerSession::H1(client), false) = (session.as_downstream_mut(), part.is_empty()) {
        client.write_body(part).await.map_err(Error::into_down)?;
    }
    Ok(())
}

/// Ends an answer.
pub(super) async fn end(session: &mut Session, empty: bool) -> Result<()> {
    if !empty && gzip::is_compressing(session) {
        session.write_response_body(None, true).await.map_err(Error::into_down)?;
    }
    session.as_downstream_mut().finish_body().await.map_err(Error::into_down)
}

/// Returns when the client has left, or says something that nobody asked for.
pub(super) async fn gone(client: &mut ServerSession) -> Box<Error> {
    match client.read_body_or_idle(true).await {
        Err(error) => error.into_down(),
        // Only a request that has a body left to be read says anything here.
        Ok(_) => pending().await,
    }
}
