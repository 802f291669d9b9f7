//! Exchanges that last: an answer whose body is large is decided with Pingora's session, and given to the client, or what is left of it,
//! after Pingora is done with the request. Session and context flow in, and flow out as an end that is logged, with the stream of the
//! client where it can serve on. Made by `direct`, run by `accept`. One of the few modules that name Pingora types.
//!
//! Pingora's future for a request takes more room than everything else of a transfer, and is gone here while a client takes its time.

use super::exchange::Exchanged;
use super::pod::PodSocket;
use super::upgrade::Agreed;
use super::{body, client, sealed, spliced, unmeasured, upgrade};
use crate::http::HttpService;
use crate::http::context::RequestContext;
use crate::limits::KERNEL_TLS_BYTES;
use pingora::apps::{HttpPersistentSettings, ReusedHttpStream};
use pingora::http::ResponseHeader;
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::v1::client::HttpSession;
use pingora::proxy::{ProxyHttp, Session};
use pingora::{Error, ErrorType, Result};
use std::fmt;
use std::io::Cursor;
use std::mem::replace;
use std::sync::{Mutex, PoisonError};

/// An exchange of which a large part is left.
pub(crate) struct Lasting {
    service: HttpService,
    session: Session,
    ctx: RequestContext,
    /// Nothing is left but the end, which Pingora does not see.
    rest: Option<Rest>,
    pod: Asked,
}

/// The pod, as it was asked.
pub(super) struct Asked {
    /// The endpoint.
    pub(super) identity: u64,
    /// Whether the connection was used before.
    pub(super) reused: bool,
}

/// What is left to be done.
pub(super) enum Rest {
    /// All of the answer.
    Announced(Box<Announced>),
    /// What is left of a body, and whether the pod has the whole request.
    Unmeasured(body::Rest, bool),
    /// What a pod agreed to.
    Tunnel(Box<Agreed>),
}

/// An answer that is known to be large.
pub(super) struct Announced {
    /// What gives the pod's answer, whose header was read.
    pub(super) pod: HttpSession,
    /// That header, as the client is to get it.
    pub(super) response: Box<ResponseHeader>,
    /// Bytes of the body.
    pub(super) length: u64,
    /// How the body is moved.
    pub(super) way: Way,
    /// The pod has the whole request, so that its connection may serve on.
    pub(super) sent: bool,
}

/// How a body is moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// In the kernel.
    Spliced,
    /// In large lots, to be encrypted, unless the kernel encrypts.
    Sealed,
}

/// Where an exchange waits until Pingora is done with its request.
#[derive(Debug, Default)]
pub(crate) struct Handed(Mutex<Option<Box<Lasting>>>);

impl Handed {
    /// The exchange, if there is one.
    pub(crate) fn take(&self) -> Option<Box<Lasting>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Takes an exchange out of Pingora's hands. What it is left with has no client, and ends without a word.
///
/// # Errors
/// The connection is none of the proxy's own.
pub(super) fn hand_over(
    service: &HttpService,
    rest: Option<Rest>,
    pod: Asked,
    session: &mut Session,
    ctx: &mut RequestContext,
) -> Result<()> {
    let Some(connection) = ctx.connection.clone() else {
        return Error::e_explain(ErrorType::InternalError, "the client's connection is none of the proxy's own");
    };
    let session = replace(session, Session::new_h1(Box::new(Cursor::new(Vec::new()))));
    let ctx = replace(ctx, RequestContext::handed_over());
    let lasting = Box::new(Lasting { service: service.clone(), session, ctx, rest, pod });
    *connection.lasting.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(lasting);
    Ok(())
}

impl Lasting {
    /// Brings the exchange to its end. Gives the client's stream where there may be another request on it.
    pub(crate) async fn run(self) -> Option<ReusedHttpStream> {
        let Self { service, mut session, mut ctx, rest, pod } = self;
        let ended = match rest {
            Some(rest) => rest.end(&service, &mut session, &mut ctx).await,
            None => Ok(None),
        };
        let ended = match ended {
            Ok(kept) => {
                kept.into_iter().for_each(|socket| service.direct.keep(pod.identity, socket));
                Ok(())
            }
            Err(error) => Err(service.failed(&session, error, &mut ctx, pod.reused)),
        };
        if let Err(error) = &ended {
            service.fail_to_proxy(&mut session, error, &mut ctx).await;
        }
        service.logging(&mut session, ended.as_ref().err().map(|error| &**error), &mut ctx).await;
        let unseen = ctx.spliced_up > 0;
        // Whatever counts requests under way is told that this one is not.
        drop(ctx);
        ended.ok()?;
        let settings = HttpPersistentSettings::for_session(&session);
        let stream = match *session.downstream_session {
            // It would wait for what has passed it by.
            ServerSession::H1(client) if unseen && client.will_keepalive() => {
                return Some(ReusedHttpStream::new(client.into_inner(), Some(settings)));
            }
            session => session.finish().await.ok().flatten()?,
        };
        Some(ReusedHttpStream::from_reusable_stream(stream, settings))
    }
}

impl Rest {
    /// Gives the client the answer. Gives the connection to the pod, where it can serve on.
    ///
    /// # Errors
    /// What failed, marked with the side that did.
    async fn end(
        self,
        service: &HttpService,
        session: &mut Session,
        ctx: &mut RequestContext,
    ) -> Result<Option<Box<PodSocket>>> {
        let (kept, sent) = match self {
            Self::Announced(announced) => {
                let Announced { pod, response, length, mut way, sent } = *announced;
                if way == Way::Sealed && length <= KERNEL_TLS_BYTES && client::seal(session, ctx).await {
                    way = Way::Spliced;
                }
                let kept = match way {
                    Way::Spliced => spliced::answer(service, pod, response, length, session, ctx).await?,
                    Way::Sealed => Box::pin(sealed::answer(service, pod, response, length, session)).await?,
                };
                (kept, sent)
            }
            Self::Unmeasured(rest, sent) => (Box::pin(unmeasured::finish(service, rest, session, ctx)).await?, sent),
            Self::Tunnel(agreed) => {
                Box::pin(upgrade::tunnel(service, *agreed, session, ctx)).await?;
                // The client's connection is of no use for HTTP any more.
                session.set_keepalive(None);
                return Ok(None);
            }
        };
        client::count_sealed(session, ctx);
        Ok(kept.filter(|_| sent))
    }
}

impl From<Announced> for Exchanged {
    fn from(announced: Announced) -> Self {
        Self::Lasting(Rest::Announced(Box::new(announced)))
    }
}

impl fmt::Debug for Lasting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lasting").field("ctx", &self.ctx).finish_non_exhaustive()
    }
}
