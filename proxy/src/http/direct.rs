//! Plain exchanges over HTTP/1.1 with a pod, without Pingora's pipeline: a request that a pod is to answer flows in, its answer
//! flows out, by the same phases of `http` in the same order. No task, no channel and no copy stands between the pod's socket and the
//! client's connection. Called by `http`, which leaves everything that is not plain to Pingora: HTTP/1.0, requests over HTTP/2 whose body
//! is still to come, upgrades over TLS or HTTP/2, trailers, TLS to the pod, relayed requests. One of the few modules that name Pingora
//! types.
//!
//! `small` is by far the most usual exchange: `outgoing` is the header for the pod, `answer_head` that of the answer and `body` its body,
//! `unmeasured` the rest of one whose length nobody knew and that turns out to be large. `exchange` is one whose answer Pingora's reader
//! reads, `request` the header for that, `spliced` and `sealed` a large answer in the clear and over TLS; `streaming` is one whose
//! request still comes and `upload` its body, `upgrade` one that becomes a tunnel; `lasting` has those that go on after Pingora.
//! `client` and `pod` are the two ends, `frames` is the body of an answer for a client over HTTP/2, and `pool` has the connections to pods
//! that are idle.

mod answer_head;
mod body;
mod client;
mod exchange;
mod frames;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod lasting;
mod outgoing;
mod pod;
mod pool;
mod request;
mod sealed;
mod small;
mod spliced;
mod streaming;
mod unmeasured;
mod upgrade;
mod upload;

use super::HttpService;
use super::context::RequestContext;
use super::{peer, selection};
use crate::limits::{TRIES, UPSTREAM_IDLE};
use exchange::{Exchanged, PodBody};
pub(crate) use lasting::Handed;

use http::{Method, Version};
use lasting::Asked;
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::v1::client::HttpSession;
use pingora::proxy::Session;
use pingora::{Error, ErrorType, Result};
use pod::PodSocket;
use pool::Pool;
use small::Begun;
use std::sync::Arc;
use tokio::time::Instant;

/// What all exchanges share. Clones share it as well.
#[derive(Clone, Debug, Default)]
pub(super) struct Direct {
    pool: Arc<Pool>,
}

impl Direct {
    /// An idle connection to an endpoint.
    fn idle(&self, identity: u64) -> Option<Box<PodSocket>> {
        std::iter::from_fn(|| self.pool.take(identity, Instant::now())).find(|idle| idle.is_usable())
    }

    /// Keeps a connection for the next exchange.
    fn keep(&self, identity: u64, socket: Box<PodSocket>) {
        Pool::put(&self.pool, identity, socket, Instant::now() + UPSTREAM_IDLE);
    }
}

/// Serves a request for which a pod is chosen. Gives `false` where it is not plain: nothing of it has been sent then, and the
/// connection that was described for it waits in the context.
///
/// # Errors
/// As Pingora's pipeline would give them after its last attempt.
pub(super) async fn serve(service: &HttpService, session: &mut Session, ctx: &mut RequestContext) -> Result<bool> {
    if !is_plain(service, session, ctx) {
        return Ok(false);
    }
    let mut tries = TRIES;
    loop {
        let timeouts = service.next_target(session, ctx).await?;
        let (Some(target), Some(route)) = (&ctx.target, &ctx.route) else {
            return Error::e_explain(ErrorType::InternalError, "no endpoint was chosen");
        };
        if !peer::is_plain(target, route, ctx.origin.scheme) {
            ctx.peer = Some(Box::new(service.describe(session, ctx, &timeouts)?));
            return Ok(false);
        }
        tries -= 1;
        match attempt(service, &timeouts, session, ctx).await {
            Err(error) if error.retry() && tries > 0 => {}
            ended => return ended.map(|()| true),
        }
    }
}

fn is_plain(service: &HttpService, session: &Session, ctx: &RequestContext) -> bool {
    let header = session.req_header();
    let spoken = match session.as_downstream() {
        ServerSession::H1(_) => {
            header.version == Version::HTTP_11 && (!ctx.upgrade || upgrade::is_plain(service, session))
        }
        ServerSession::H2(_) => ctx.complete && !ctx.upgrade,
        _ => false,
    };
    service.shared.config.byte_path.fast
        && spoken
        && header.raw_path().starts_with(b"/")
        && ctx.trailers.is_none()
        && ctx.relay.is_none()
        && !session.as_downstream().retry_buffer_truncated()
}

async fn attempt(
    service: &HttpService,
    timeouts: &peer::Timeouts,
    session: &mut Session,
    ctx: &mut RequestContext,
) -> Result<()> {
    let Some(target) = &ctx.target else {
        return Error::e_explain(ErrorType::InternalError, "no endpoint was chosen");
    };
    let identity = target.identity();
    let idle = service.direct.idle(identity);
    let reused = idle.is_some();
    let socket = match idle {
        Some(idle) => idle,
        // Rare, and not to take room in every request.
        None => match Box::pin(pod::connect(target.address, timeouts.until_connected(selection::is_last(ctx)))).await {
            Ok(connected) => Box::new(connected),
            Err(error) => return Err(service.not_connected(error.into_up(), ctx).into_up()),
        },
    };
    service.connected(reused, ctx);
    let exchanged = match (ctx.complete, &session.req_header().method) {
        (true, _) if ctx.upgrade => {
            Box::pin(upgrade::exchange(service, read_by_pingora(socket, timeouts), session, ctx)).await
        }
        // Pingora's reader knows of no body only where it sent the request itself.
        (true, &Method::HEAD) => {
            Box::pin(exchange::exchange(service, read_by_pingora(socket, timeouts), session, ctx)).await
        }
        (true, _) => small(service, socket, timeouts, session, ctx).await,
        (false, _) => Box::pin(streaming::exchange(service, read_by_pingora(socket, timeouts), session, ctx)).await,
    };
    match exchanged {
        Ok(Exchanged::Over(kept)) => {
            kept.into_iter().for_each(|socket| service.direct.keep(identity, socket));
            Ok(())
        }
        Ok(Exchanged::Unnoticed(kept)) => {
            kept.into_iter().for_each(|socket| service.direct.keep(identity, socket));
            lasting::hand_over(service, None, Asked { identity, reused }, session, ctx)
        }
        Ok(Exchanged::Lasting(rest)) => {
            lasting::hand_over(service, Some(rest), Asked { identity, reused }, session, ctx)
        }
        Err(error) => Err(service.failed(session, error, ctx, reused)),
    }
}

/// A complete request and, as far as it is small, its answer.
async fn small(
    service: &HttpService,
    pod: Box<PodSocket>,
    timeouts: &peer::Timeouts,
    session: &mut Session,
    ctx: &mut RequestContext,
) -> Result<Exchanged> {
    let unsent = small::ask(service, &pod, timeouts.send, session, ctx).await?;
    match small::begin(pod, timeouts.read, session).await {
        Ok(Begun::Usual(mut response, mut body)) => {
            let (empty, sent) = (body.is_done(), unsent.is_none());
            exchange::prepare_final(service, &mut response, empty, session, ctx).await?;
            let most = unmeasured::copied(service, &body, &response, session);
            if exchange::begin_answer(&mut body, response, most, session, ctx).await? {
                return Ok(Exchanged::Over(body.into_kept().filter(|_| sent)));
            }
            let Some(rest) = body.into_rest() else {
                return Error::e_explain(ErrorType::InternalError, "nothing is left of a body");
            };
            Ok(Exchanged::Lasting(lasting::Rest::Unmeasured(rest, sent)))
        }
        Ok(Begun::Other(pod)) => {
            Box::pin(exchange::read(service, read_by_pingora(pod, timeouts), unsent, session, ctx)).await
        }
        Err(error) => Err(exchange::cause(error, unsent)),
    }
}

fn read_by_pingora(socket: Box<PodSocket>, timeouts: &peer::Timeouts) -> HttpSession {
    let mut pod = HttpSession::new(socket);
    (pod.read_timeout, pod.write_timeout) = (Some(timeouts.read), Some(timeouts.send));
    pod
}
