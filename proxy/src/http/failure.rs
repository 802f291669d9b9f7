//! What went wrong, in one place: an error of Pingora flows in, whose fault it is as a status and a word for the access
//! log flow out.
//!
//! | what failed | status |
//! |---|---|
//! | no pod could be reached (connect, TLS to the pod) | 503 |
//! | this host has no port left for a connection to a pod | 503 |
//! | a pod that was reached says nothing in time | 504 |
//! | a pod that was reached breaks off or breaks the protocol | 502 |
//! | the client's request breaks the protocol | 400 |
//! | the client's body does not arrive in time, or too slowly | 408 |
//! | the client takes nothing of its answer | none |
//! | the client's body is larger than the route allows | 413 |
//! | the client is gone | none |
//! | the proxy itself | 500 |

use super::exchange::Exchange;
use crate::attempts::Failed;
use crate::chunked::Malformed;
use crate::edge::Slow;
use pingora::{Error, ErrorSource, ErrorType};
use std::io;

/// Why a request failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    /// `None` where nobody is left to tell.
    pub(super) status: Option<u16>,
    /// For the access log.
    pub(super) reason: &'static str,
}

impl Failure {
    /// Whether another pod would perhaps have answered.
    pub(super) fn blames_pod(&self) -> bool {
        matches!(self.reason, "connect_failed" | "pod_tls" | "pod_timeout" | "pod_failed")
    }
}

/// Whether this host had no port, or no address, of its own for a connection to a pod: nothing that the pod did.
pub(super) fn wants_local_port(error: &Error) -> bool {
    // Pingora's connector wraps what it could not bind.
    *error.root_etype() == ErrorType::BindError
}

/// See the table of the module. What the connection of the exchange says comes first: to Pingora a silence that it ended
/// is a broken connection.
pub(super) fn of(error: &Error, exchange: Option<&Exchange>) -> Failure {
    let timed_out = matches!(error.etype(), ErrorType::ReadTimedout | ErrorType::WriteTimedout);
    exchange.filter(|_| !timed_out).and_then(Exchange::failure).unwrap_or_else(|| classify(error))
}

/// How an endpoint failed that could not be connected to. Beside a refusal there is what the kernel says at once, such as of an address
/// that a network plugin keeps no pod behind; no route may be the end of a long search.
pub(super) fn to_connect(error: &Error) -> Failed {
    match error.etype() {
        // Without a port of our own every other attempt would fail as well.
        ErrorType::ConnectRefused | ErrorType::ConnectError if !wants_local_port(error) => Failed::Refused,
        _ => Failed::Otherwise,
    }
}

fn classify(error: &Error) -> Failure {
    let (status, reason) = match (error.esource(), error.etype()) {
        (_, ErrorType::HTTPStatus(503)) => (Some(503), "no_endpoint"),
        (_, ErrorType::HTTPStatus(413)) => (Some(413), "body_size"),
        (_, ErrorType::HTTPStatus(status)) => (Some(*status), "refused"),
        (ErrorSource::Upstream, _) if wants_local_port(error) => (Some(503), "no_local_port"),
        (ErrorSource::Upstream, kind) => upstream(kind),
        (ErrorSource::Downstream, ErrorType::ReadTimedout) if is_slow(error) => return TOO_SLOW,
        (ErrorSource::Downstream, ErrorType::ReadTimedout) => (Some(408), "client_timeout"),
        (ErrorSource::Downstream, ErrorType::WriteTimedout) => (None, "client_stall"),
        (ErrorSource::Downstream, ErrorType::WriteError) if is_stall(error) => (None, "client_stall"),
        (ErrorSource::Downstream, ErrorType::ReadError) if is_malformed(error) => (Some(400), "client_protocol"),
        (ErrorSource::Downstream, ErrorType::WriteError | ErrorType::ReadError | ErrorType::ConnectionClosed) => {
            (None, "client_gone")
        }
        (ErrorSource::Downstream, ErrorType::H2Error) => (None, "client_gone"),
        (ErrorSource::Downstream, _) => (Some(400), "client_protocol"),
        (ErrorSource::Internal | ErrorSource::Unset, _) => (Some(500), "internal"),
    };
    Failure { status, reason }
}

/// The client sends less than it must.
pub(super) fn of_slow_client() -> Box<Error> {
    Error::because(ErrorType::ReadTimedout, "a request body", Slow).into_down()
}

fn is_slow(error: &Error) -> bool {
    error.cause.as_ref().is_some_and(|cause| cause.is::<Slow>())
}

/// Whether the stream below Pingora has waited for room in the socket for too long.
fn is_stall(error: &Error) -> bool {
    of_stream(error).is_some_and(|error| error.kind() == io::ErrorKind::TimedOut)
}

/// Whether the stream below Pingora found it out.
fn is_malformed(error: &Error) -> bool {
    of_stream(error).and_then(io::Error::get_ref).is_some_and(|cause| cause.is::<Malformed>())
}

fn of_stream(error: &Error) -> Option<&io::Error> {
    error.cause.as_ref()?.downcast_ref()
}

/// What is said of a client that sends less than it must.
pub(super) const TOO_SLOW: Failure = Failure { status: Some(408), reason: "client_rate" };

fn upstream(kind: &ErrorType) -> (Option<u16>, &'static str) {
    match kind {
        ErrorType::ConnectTimedout
        | ErrorType::ConnectRefused
        | ErrorType::ConnectNoRoute
        | ErrorType::ConnectError
        | ErrorType::SocketError => (Some(503), "connect_failed"),
        ErrorType::TLSHandshakeFailure
        | ErrorType::TLSHandshakeTimedout
        | ErrorType::InvalidCert
        | ErrorType::HandshakeError
        | ErrorType::TLSWantX509Lookup => (Some(503), "pod_tls"),
        ErrorType::ReadTimedout | ErrorType::WriteTimedout => (Some(504), "pod_timeout"),
        _ => (Some(502), "pod_failed"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(error: Box<Error>) -> Option<u16> {
        classify(&error).status
    }

    #[test]
    fn each_fault_has_its_status() {
        assert_eq!(status(Error::new_up(ErrorType::ConnectRefused)), Some(503));
        assert_eq!(status(Error::new_up(ErrorType::InvalidCert)), Some(503));
        let wrapped = Error::because(ErrorType::InternalError, "", Error::new(ErrorType::BindError)).into_up();
        let no_port = Failure { status: Some(503), reason: "no_local_port" };
        assert_eq!((classify(&wrapped), no_port.blames_pod()), (no_port, false));
        assert_eq!(status(Error::new_up(ErrorType::ReadTimedout)), Some(504));
        assert_eq!(status(Error::new_up(ErrorType::ConnectionClosed)), Some(502));
        assert_eq!(status(Error::new_up(ErrorType::InvalidHTTPHeader)), Some(502));
        assert_eq!(status(Error::new_down(ErrorType::ReadTimedout)), Some(408));
        assert_eq!(classify(&of_slow_client()), TOO_SLOW);
        let stall = Error::because(ErrorType::WriteError, "", io::Error::from(io::ErrorKind::TimedOut)).into_down();
        assert_eq!(classify(&stall), Failure { status: None, reason: "client_stall" });
        assert_eq!(status(Error::new_down(ErrorType::WriteError)), None);
        assert_eq!(status(Error::new_down(ErrorType::InvalidHTTPHeader)), Some(400));
        assert_eq!(status(Error::new_in(ErrorType::InternalError)), Some(500));
        assert_eq!(status(Error::new(ErrorType::HTTPStatus(431))), Some(431));
    }
}
