//! Plain exchanges over HTTP/1.1 with a pod, without Pingora's pipeline: a request that a pod is to answer flows in, its answer
//! flows out, by the same phases of `http` in the same order. No task, no channel and no copy stands between the two sockets.
//! Called by `http`, which leaves everything that is not plain to Pingora: other versions, upgrades, trailers, TLS to the pod,
//! relayed requests. One of the few modules that name Pingora types.
//!
//! `request` makes the header for the pod, `exchange` is one request and its answer, `streaming` one whose body still comes and
//! `upload` that body, `spliced` a large answer; `pod` is a connection, and `pool` has those that are idle.

mod exchange;
mod pod;
mod pool;
mod request;
mod spliced;
mod streaming;
mod upload;

use super::HttpService;
use super::context::RequestContext;
use crate::limits::{CONNECT_TRIES, UPSTREAM_IDLE};
use http::Version;
use pingora::Result;
use pingora::protocols::ALPN;
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::v1::client::HttpSession;
use pingora::proxy::{ProxyHttp, Session};
use pingora::upstreams::peer::{HttpPeer, Peer};
use pod::PodSocket;
use pool::Pool;
use std::sync::Arc;
use tokio::time::Instant;

/// What all exchanges share.
#[derive(Debug, Default)]
pub(super) struct Direct {
    pool: Arc<Pool>,
}

impl Direct {
    /// A connection to a pod, and whether it was used before.
    async fn connect(&self, peer: &HttpPeer) -> Result<(Box<PodSocket>, bool)> {
        while let Some(idle) = self.pool.take(peer.reuse_hash(), Instant::now()) {
            if idle.is_usable() {
                return Ok((idle, true));
            }
        }
        Ok((Box::new(pod::connect(peer).await?), false))
    }

    /// Keeps a connection for the next exchange.
    fn keep(&self, peer: &HttpPeer, socket: Box<PodSocket>) {
        Pool::put(&self.pool, peer.reuse_hash(), socket, Instant::now() + UPSTREAM_IDLE);
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
    ctx.direct = true;
    let mut tries = CONNECT_TRIES;
    loop {
        let peer = service.upstream_peer(session, ctx).await?;
        if peer.is_tls() || peer.options.custom_l4.is_some() || !matches!(peer.options.alpn, ALPN::H1) {
            (ctx.peer, ctx.direct) = (Some(peer), false);
            return Ok(false);
        }
        tries -= 1;
        match attempt(service, &peer, session, ctx).await {
            Err(error) if error.retry() && tries > 0 => {}
            ended => return ended.map(|()| true),
        }
    }
}

fn is_plain(service: &HttpService, session: &Session, ctx: &RequestContext) -> bool {
    let header = session.req_header();
    service.shared.config.byte_path.fast
        && matches!(session.as_downstream(), ServerSession::H1(_))
        && header.version == Version::HTTP_11
        && header.raw_path().starts_with(b"/")
        && !ctx.upgrade
        && ctx.trailers.is_none()
        && ctx.relay.is_none()
        && !session.as_downstream().retry_buffer_truncated()
}

async fn attempt(
    service: &HttpService,
    peer: &HttpPeer,
    session: &mut Session,
    ctx: &mut RequestContext,
) -> Result<()> {
    let (socket, reused) = match service.direct.connect(peer).await {
        Ok(connected) => connected,
        Err(error) => return Err(service.fail_to_connect(session, peer, ctx, error.into_up()).into_up()),
    };
    service.connected(reused, ctx);
    let mut pod = HttpSession::new_with_options(socket, peer);
    (pod.read_timeout, pod.write_timeout) = (peer.options.read_timeout, peer.options.write_timeout);
    let exchanged = match ctx.complete {
        true => exchange::exchange(service, pod, session, ctx).await,
        false => Box::pin(streaming::exchange(service, pod, session, ctx)).await,
    };
    match exchanged {
        Ok(kept) => {
            if let Some(socket) = kept {
                service.direct.keep(peer, socket);
            }
            Ok(())
        }
        Err(error) => Err(service.error_while_proxy(peer, session, error, ctx, reused)),
    }
}
