//! The client of an exchange over HTTP/1.1: its session flows in, its socket flows out, and whether the body of an answer can go to it as
//! it is. Asked by the ways that move bytes without Pingora; one of the few modules that name Pingora types.

use crate::accept::http1_stream::{has_unsent_records, plain_socket, secured_socket, take_early};
use crate::http::HttpService;
use crate::http::body::is_bodiless;
use crate::http::gzip;
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
