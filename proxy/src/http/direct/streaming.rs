//! Exchanges whose request is still on its way when the pod is asked: what the client still sends and what the pod answers flow past
//! each other, and each side's silence is judged by how far both are. Called by `direct`; one of the few modules that name
//! Pingora types.

use super::client;
use super::exchange::{self, Exchanged};
use super::pod::{PodSocket, kept};
use super::upload::Upload;
use crate::edge;
use crate::http::HttpService;
use crate::http::context::RequestContext;
use crate::http::exchange::Silence;
use crate::http::failure;
use crate::splice::{Lot, RelayError, Side};
use bytes::Bytes;
use pingora::protocols::http::v1::client::HttpSession;
use pingora::protocols::http::{HttpTask, ServerSession};
use pingora::proxy::Session;
use pingora::{Error, ErrorType, Result};
use std::io;
use std::time::Duration;
use tokio::time::{Instant, sleep};

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
    // Its own is for pods that have the whole request.
    pod.read_timeout = None;
    let patience = pod.write_timeout;
    let framing = exchange::write_header(service, &mut pod, session, ctx).await?;
    let Some(socket) = (**pod.stream()).as_any().downcast_ref::<PodSocket>().map(PodSocket::shared) else {
        return Error::e_explain(ErrorType::InternalError, "the connection to the pod is none of the proxy's own");
    };
    let upload = Upload::new(socket, framing, service.shared.pipes().clone());
    let rate = ctx.exchange.as_ref().and_then(|exchange| exchange.body_rate());
    let speed = rate.map(|rate| edge::Upload::begin(rate, Instant::now()));
    let mut streaming = Streaming { upload, speed, read: false, answered: false, empty: false, fault: None };
    session.as_downstream_mut().enable_retry_buffering();
    if let Some(begun) = session.as_downstream().get_retry_buffer().filter(|begun| !begun.is_empty()) {
        let last = session.as_downstream_mut().is_body_done();
        streaming.take(service, Some(begun), last, session, ctx).await?;
    }
    while !streaming.is_over() {
        streaming.step(service, &mut pod, patience, session, ctx).await?;
    }
    let sent = streaming.upload.is_sent();
    drop(streaming);
    let kept = if sent { kept(pod).await } else { None };
    // Pingora does not know that it has the whole request.
    Ok(if ctx.spliced_up > 0 { Exchanged::Unnoticed(kept) } else { Exchanged::Over(kept) })
}

/// How far both sides are.
struct Streaming {
    upload: Upload,
    /// How fast that must be, if that matters.
    speed: Option<edge::Upload>,
    /// The client has sent everything.
    read: bool,
    /// The pod has.
    answered: bool,
    /// Its answer has no body.
    empty: bool,
    /// The pod takes no more of the request.
    fault: Option<Box<Error>>,
}

/// What happened.
enum Event {
    Answer(HttpTask),
    Sent(io::Result<()>),
    Part(Option<Bytes>),
    Lot(Lot),
    Silence,
}

impl Streaming {
    /// Whether nothing is left to be done: after its answer a pod may still take the rest of the request.
    fn is_over(&self) -> bool {
        self.answered && (self.fault.is_some() || (self.read && !self.upload.is_pending()))
    }

    async fn step(
        &mut self,
        service: &HttpService,
        pod: &mut HttpSession,
        patience: Option<Duration>,
        session: &mut Session,
        ctx: &mut RequestContext,
    ) -> Result<()> {
        let pending = self.upload.is_pending() && self.fault.is_none();
        let awaited = ctx.exchange.as_ref().map(|exchange| exchange.awaited());
        let patience = patience.filter(|_| pending);
        // Once the pod answers, both sides may take their time.
        let speed = self.speed.as_ref().filter(|_| matches!(awaited, Some((Silence::Client, _))));
        let left = speed.and_then(|speed| speed.left(Instant::now()));
        let limit = awaited.map(|(_, limit)| limit).into_iter().chain(patience).chain(left).min();
        let event = tokio::select! {
            biased;
            read = pod.read_response_task(), if !self.answered => Event::Answer(read.map_err(|error| self.cause(error))?),
            done = next(service, &mut self.upload, self.read, session), if pending || self.fault.is_none() => done?,
            () = sleep(limit.unwrap_or_default()), if limit.is_some() => Event::Silence,
        };
        match event {
            Event::Answer(task) => self.answer(service, task, session, ctx).await,
            Event::Sent(Ok(())) => {
                self.watch(0);
                Ok(())
            }
            Event::Sent(Err(error)) => {
                // It may have said why.
                self.fault = Some(Error::because(ErrorType::WriteError, "a request body to a pod", error).into_up());
                Ok(())
            }
            Event::Part(part) => {
                let last = session.as_downstream_mut().is_body_done();
                self.take(service, part, last, session, ctx).await
            }
            Event::Lot(lot) => {
                let bytes = self.upload.put_lot(lot);
                self.watch(usize::try_from(bytes).unwrap_or(usize::MAX));
                ctx.spliced_up += bytes;
                self.read = self.upload.is_complete();
                service.note_request_body(session, self.read, ctx)
            }
            Event::Silence => {
                let Some((silence, limit)) = awaited else { return Ok(()) };
                if left.is_some_and(|left| left < limit && patience.is_none_or(|patience| left < patience)) {
                    return Err(failure::of_slow_client());
                }
                if patience.is_some_and(|patience| patience < limit) {
                    return Err(Error::explain(ErrorType::WriteTimedout, "a request body to a pod").into_up());
                }
                if let Some(exchange) = &ctx.exchange {
                    exchange.expire(silence);
                }
                Err(Error::explain(ErrorType::ReadError, "nothing moved for too long").into_up())
            }
        }
    }

    /// A part of the request came.
    async fn take(
        &mut self,
        service: &HttpService,
        part: Option<Bytes>,
        last: bool,
        session: &mut Session,
        ctx: &mut RequestContext,
    ) -> Result<()> {
        let last = last || part.is_none();
        service.note_request_body(session, last, ctx)?;
        let bytes = part.as_ref().map_or(0, Bytes::len);
        self.read = last;
        self.upload.put(part, last);
        self.watch(bytes);
        Ok(())
    }

    /// So many bytes came. While the pod has not taken what is there, nobody waits for the client.
    fn watch(&mut self, bytes: usize) {
        let Some(speed) = &mut self.speed else { return };
        let now = Instant::now();
        speed.came(bytes, now);
        if self.upload.is_pending() {
            speed.pause(now);
        }
    }

    /// A part of the answer came.
    async fn answer(
        &mut self,
        service: &HttpService,
        task: HttpTask,
        session: &mut Session,
        ctx: &mut RequestContext,
    ) -> Result<()> {
        match task {
            HttpTask::Header(response, empty) => {
                let Some(response) = exchange::prepare(service, response, empty, session, ctx).await? else {
                    return Ok(());
                };
                if !empty {
                    self.upload.acknowledge();
                }
                if self.read
                    && ctx.spliced_up > 0
                    && let ServerSession::H1(client) = session.as_downstream_mut()
                {
                    // It has not seen all of the request, but there is no more of it.
                    client.set_close_on_response_before_downstream_finish(false);
                }
                session.as_downstream_mut().write_response_header(response).await.map_err(Error::into_down)?;
                (self.answered, self.empty) = (empty, empty);
            }
            HttpTask::Body(part, last) => {
                exchange::pass(&part.unwrap_or_default(), session).await?;
                self.answered = last;
            }
            _ => self.answered = true,
        }
        if self.answered {
            exchange::end(session, self.empty).await?;
        }
        Ok(())
    }

    /// The pod broke off; if it had taken no more before that, this is why.
    fn cause(&mut self, error: Box<Error>) -> Box<Error> {
        self.fault.take().unwrap_or_else(|| error.into_up())
    }
}

/// Sends what is pending; where nothing is, gives what the client sends next: a lot, once more of the request was read than could be
/// repeated to another pod, and where both sides are plain. `read` says that it has sent everything, and only its end is of interest.
async fn next(service: &HttpService, upload: &mut Upload, read: bool, session: &mut Session) -> Result<Event> {
    if upload.is_pending() {
        return Ok(Event::Sent(upload.send().await));
    }
    let moved = !read && service.shared.config.byte_path.splice && session.as_downstream().retry_buffer_truncated();
    if let (Some(left), Some(client)) = (upload.spliced().filter(|_| moved), client::plain(session)) {
        return upload.fetch(client, left).await.map(Event::Lot).map_err(fault);
    }
    let part = session.as_downstream_mut().read_body_or_idle(read).await.map_err(Error::into_down)?;
    Ok(Event::Part(part))
}

/// An end that came too early, as Pingora tells it.
fn fault(error: RelayError) -> Box<Error> {
    match error.side() {
        Side::Source => Error::because(ErrorType::ConnectionClosed, "while a request body is moved", error).into_down(),
        Side::Sink => Error::because(ErrorType::WriteError, "a request body to a pod", error).into_up(),
    }
}
