//! Requests to upgrade (RFC 9110 §7.8) from a plain client to a plain pod: the request flows in as the pod is to see it, its word on it
//! flows out. Once both have agreed, bytes move both ways in the kernel. Called by `direct` and `lasting`; one of the few modules that
//! name Pingora types.

use super::client;
use super::exchange::{self, Exchanged};
use super::lasting::Rest;
use super::pod::{self, Detached, kept};
use crate::http::HttpService;
use crate::http::context::RequestContext;
use crate::http::exchange::Silence;
use crate::http::websocket;
use crate::splice::both_ways::{Moved, Patience, RelayError, relay};
use crate::splice::send_all;
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{Method, StatusCode};
use pingora::http::ResponseHeader;
use pingora::protocols::http::v1::client::HttpSession;
use pingora::proxy::Session;
use pingora::{Error, ErrorType, Result};

/// Whether a request to upgrade is for WebSocket and has nothing but its header, and bytes could be moved in the kernel after it. Any
/// other protocol, such as HTTP/2, would carry requests past the rules of routes; Pingora takes it out of the header.
pub(super) fn is_plain(service: &HttpService, session: &Session) -> bool {
    let header = session.req_header();
    let bodiless = !header.headers.contains_key(CONTENT_LENGTH) && !header.headers.contains_key(TRANSFER_ENCODING);
    service.shared.config.byte_path.splice
        && client::plain(session).is_some()
        && bodiless
        && websocket::is_named(&header.headers)
        && header.method == Method::GET
}

/// The word of a pod that agrees.
pub(super) struct Agreed {
    /// What the pod says after it.
    pod: HttpSession,
    /// As the client is to get it.
    response: Box<ResponseHeader>,
}

/// Asks the pod, and gives the client its answer where it does not agree.
///
/// # Errors
/// What failed, marked with the side that did.
pub(super) async fn exchange(
    service: &HttpService,
    mut pod: HttpSession,
    session: &mut Session,
    ctx: &mut RequestContext,
) -> Result<Exchanged> {
    exchange::write_header(service, &mut pod, session, ctx).await?;
    loop {
        let mut response = pod.read_resp_header_parts().await.map_err(Error::into_up)?;
        if response.status == StatusCode::SWITCHING_PROTOCOLS {
            service.judge_response(session, &response, ctx)?;
            service.write_response(session, &mut response, ctx)?;
            return Ok(Exchanged::Lasting(Rest::Tunnel(Box::new(Agreed { pod, response }))));
        }
        let empty = pod.is_body_done();
        if let Some(response) = exchange::prepare(service, response, empty, session, ctx).await? {
            exchange::answer(&mut pod, response, session, ctx).await?;
            return Ok(Exchanged::Over(kept(pod).await));
        }
    }
}

/// Tells the client that the pod agrees, and moves bytes both ways until both sides have ended.
///
/// # Errors
/// Either side breaks off, or nothing moves for too long.
pub(super) async fn tunnel(
    service: &HttpService,
    agreed: Agreed,
    session: &mut Session,
    ctx: &mut RequestContext,
) -> Result<()> {
    let Agreed { pod: mut reader, response } = agreed;
    let timeouts = service.shared.timeouts();
    let route = ctx.route.as_ref().and_then(|route| route.policy.timeouts.tunnel);
    let patience = Patience {
        tunnel: route.unwrap_or(timeouts.tunnel),
        client_fin: timeouts.client_fin,
        server_fin: timeouts.server_fin,
        stall: timeouts.client_stall,
    };
    session.as_downstream_mut().write_response_header(response).await.map_err(Error::into_down)?;
    // Pingora would read it into 64 KiB that it keeps as long as the tunnel lasts.
    let from_client = client::early(session);
    let said = Bytes::copy_from_slice(pod::early(&mut reader).await?);
    let Detached { pod, unread, .. } = Detached::from(reader, u64::MAX)?;
    let client = client::plain(session).ok_or_else(client::gone)?;
    let mut moved = Moved::default();
    let ended = async {
        for part in [&said, &unread] {
            send_all(client, part, patience.stall).await.map_err(|_| RelayError::Client)?;
            moved.to_client += part.len() as u64;
        }
        send_all(pod.socket(), &from_client, patience.stall).await.map_err(|_| RelayError::Pod)?;
        moved.to_pod += from_client.len() as u64;
        relay(client, pod.socket(), &patience, service.shared.pipes(), &mut moved).await
    };
    let ended = ended.await;
    ctx.spliced += moved.to_client;
    ctx.spliced_up += moved.to_pod;
    ended.map_err(|error| fault(error, ctx))
}

fn fault(error: RelayError, ctx: &RequestContext) -> Box<Error> {
    match error {
        RelayError::Client => Error::explain(ErrorType::ReadError, "on a tunnel to a client").into_down(),
        RelayError::Pod => Error::explain(ErrorType::ReadError, "on a tunnel to a pod").into_up(),
        RelayError::Idle => {
            if let Some(exchange) = &ctx.exchange {
                exchange.expire(Silence::Both);
            }
            Error::explain(ErrorType::ReadError, "nothing moved for too long").into_up()
        }
    }
}
