//! The client of an exchange over HTTP/1.1: its session flows in, its socket flows out, and whether the body of an answer can go to it as
//! it is. Asked by the ways that move bytes without Pingora; one of the few modules that name Pingora types.

use super::exchange::release;
use crate::accept::http1_stream::{self, has_unsent_records, is_sealable, plain_socket, secured_socket, take_early};
use crate::http::HttpService;
use crate::http::body::is_bodiless;
use crate::http::context::RequestContext;
use crate::http::gzip;
use crate::limits::KERNEL_TLS_BYTES;
use crate::splice::Sink;
use pingora::http::ResponseHeader;
use pingora::proxy::Session;
use pingora::{Error, ErrorType};
use tokio::net::TcpStream;

/// The socket of a client without TLS, where everything that was written is on its way.
pub(super) fn plain(session: &Session) -> Option<&TcpStream> {
    session.as_downstream().stream().and_then(plain_socket)
}

/// What a client without TLS has said after its request. Pingora, which was given nothing of it, sees nothing of it then.
pub(super) fn early(session: &Session) -> Vec<u8> {
    session.as_downstream().stream().map(take_early).unwrap_or_default()
}

/// Where an answer goes as it is: the socket of a client without TLS, or with that of the kernel, where everything that was written is on
/// its way.
pub(super) fn sink(session: &Session) -> Option<Sink<'_>> {
    session.as_downstream().stream().and_then(http1_stream::sink)
}

/// Whether there is such a socket, or may be one if [`seal`] asks for it.
pub(super) fn may_be_sink(session: &Session) -> bool {
    sink(session).is_some() || session.as_downstream().stream().is_some_and(is_sealable)
}

/// Has the kernel encrypt from now on for a client over TLS, if it can and nothing of the client is on its way just now. Tells whether an
/// answer can go to it as it is. To be called while nothing is written.
pub(super) async fn seal(session: &mut Session, ctx: &RequestContext) -> bool {
    if let (None, true, Some(connection)) = (sink(session), may_be_sink(session), &ctx.connection) {
        // The stream is not to be had for more than to look at it, so it is asked by the way; what it has to send goes first.
        connection.sealing.want();
        release(session).await;
        connection.sealing.unwant();
    }
    sink(session).is_some()
}

/// Counts what the kernel has encrypted of an answer. A client for which that is as much as may be gets no other one here.
pub(super) fn count_sealed(session: &mut Session, ctx: &RequestContext) {
    if let (Some(true), Some(connection)) = (sink(session).map(|sink| sink.is_sealed()), &ctx.connection)
        && connection.sealing.add(ctx.spliced) >= KERNEL_TLS_BYTES
    {
        session.set_keepalive(None);
    }
}

/// The socket below a client's TLS, to learn what it has room for.
pub(super) fn secured(session: &Session) -> Option<&TcpStream> {
    session.as_downstream().stream().and_then(secured_socket)
}

/// Whether something that was encrypted waits for room in the socket.
pub(super) fn has_unsent(session: &Session) -> bool {
    session.as_downstream().stream().is_some_and(has_unsent_records)
}

/// What it means where a socket that was there is not any more.
pub(super) fn gone() -> Box<Error> {
    Error::explain(ErrorType::InternalError, "the client's socket is gone")
}

/// Whether an answer has a body that goes to the client as it is. What is done to one, and a client whose silence is to be watched, needs
/// another way.
pub(super) fn takes_as_it_is(service: &HttpService, response: &ResponseHeader, session: &Session) -> bool {
    !service.shared.config.clients.abort_on_close
        && !is_bodiless(&session.req_header().method, response.status)
        && !gzip::is_compressing(session)
}
