//! Requests to upgrade (RFC 9110 §7.8) from a plain client to a plain pod: the request flows in as the pod is to see it, its word on it
//! flows out. Once both have agreed, bytes move both ways in the kernel. Called by `direct` and `lasting`; one of the few modules that
//! name Pingora types.

use super::exchange::{self, Exchanged};
use super::lasting::{Announced, Way};
use super::pod::{self, Detached, kept};
use super::request;
use crate::accept::http1_stream::plain_socket;
use crate::http::HttpService;
use crate::http::context::RequestContext;
use crate::http::exchange::Silence;
use crate::http::websocket;
use crate::splice::both_ways::{Moved, Patience, RelayError, relay};
use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderValue, Method, StatusCode};
use pingora::http::ResponseHeader;
use pingora::protocols::http::v1::client::HttpSession;
use pingora::proxy::Session;
use pingora::{Error, ErrorType, Result};
use std::future::ready;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Whether a request to upgrade is for WebSocket and has nothing but its header, and bytes could be moved in the kernel after it. Any
/// other protocol, such as HTTP/2, would carry requests past the rules of routes; Pingora takes it out of the header.
pub(super) fn is_plain(service: &HttpService, session: &Session) -> bool {
    let header = session.req_header();
    let bodiless = !header.headers.contains_key(CONTENT_LENGTH) && !header.headers.contains_key(TRANSFER_ENCODING);
    let plain = session.as_downstream().stream().is_some_and(|stream| plain_socket(stream).is_some());
    service.shared.config.byte_path.splice
        && plain
        && bodiless
        && websocket::is_named(&header.headers)
        && header.method == Method::GET
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
    let mut request = request::of_client(session.req_header()).map_err(Error::into_down)?;
    request.insert_header(UPGRADE, HeaderValue::from_static("websocket"))?;
    request.insert_header(CONNECTION, HeaderValue::from_static("Upgrade"))?;
    service.write_request(session.req_header(), &mut request, ctx)?;
    request::settle(&mut request, false)?;
    pod.write_request_header(Box::new(request)).await.map_err(Error::into_up)?;
    if let Some(exchange) = &ctx.exchange {
        exchange.request_sent();
    }
    loop {
        let mut response = pod.read_resp_header_parts().await.map_err(Error::into_up)?;
        if response.status == StatusCode::SWITCHING_PROTOCOLS {
            service.judge_response(session, &response, ctx)?;
            service.write_response(session, &mut response, ctx)?;
            return Ok(Announced { pod, response, length: u64::MAX, way: Way::Tunnel, sent: false }.into());
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
    mut reader: HttpSession,
    response: Box<ResponseHeader>,
    session: &mut Session,
    ctx: &mut RequestContext,
) -> Result<()> {
    let timeouts = service.shared.timeouts();
    let route = ctx.route.as_ref().and_then(|route| route.policy.timeouts.tunnel);
    let patience = Patience {
        tunnel: route.unwrap_or(timeouts.tunnel),
        client_fin: timeouts.client_fin,
        server_fin: timeouts.server_fin,
        stall: timeouts.client_stall,
    };
    session.as_downstream_mut().write_response_header(response).await.map_err(Error::into_down)?;
    let from_client = said(session).await?;
    let said = Bytes::copy_from_slice(pod::early(&mut reader).await?);
    let Detached { pod, unread, .. } = Detached::from(reader, u64::MAX)?;
    let Some(client) = session.as_downstream().stream().and_then(plain_socket) else {
        return Error::e_explain(ErrorType::InternalError, "the client's socket is gone");
    };
    let mut moved = Moved::default();
    let ended = async {
        for part in [&said, &unread] {
            moved.to_client += write_all(client, part, patience.stall).await.map_err(|()| RelayError::Client)?;
        }
        moved.to_pod += write_all(pod.socket(), &from_client, patience.stall).await.map_err(|()| RelayError::Pod)?;
        relay(client, pod.socket(), &patience, service.shared.pipes(), &mut moved).await
    };
    let ended = ended.await;
    ctx.spliced += moved.to_client;
    // What Pingora has read is counted there.
    ctx.spliced_up += moved.to_pod - from_client.len() as u64;
    ended.map_err(|error| fault(error, ctx))
}

/// What the client sent before it knew that it may.
async fn said(session: &mut Session) -> Result<Bytes> {
    tokio::select! {
        biased;
        read = session.as_downstream_mut().read_request_body() => Ok(read.map_err(Error::into_down)?.unwrap_or_default()),
        () = ready(()) => Ok(Bytes::new()),
    }
}

async fn write_all(socket: &TcpStream, bytes: &[u8], stall: Duration) -> std::result::Result<u64, ()> {
    let mut left = bytes;
    while !left.is_empty() {
        match socket.try_write(left) {
            Ok(written) => left = &left[written..],
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                timeout(stall, socket.writable()).await.map_err(drop)?.map_err(drop)?;
            }
            Err(_) => return Err(()),
        }
    }
    Ok(bytes.len() as u64)
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
