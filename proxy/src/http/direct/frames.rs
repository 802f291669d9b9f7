//! The body of an answer for a client over HTTP/2: what the pod says flows in, part by part, and DATA frames flow out, the last of which
//! ends the stream. No more is read of the pod than the client takes. Called by `exchange`; one of the few modules that name Pingora
//! types.

use super::exchange::{PodBody, gone};
use pingora::http::ResponseHeader;
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::v2::server::HttpSession;
use pingora::proxy::Session;
use pingora::{Error, ErrorType, Result};

/// Gives the client an answer, whole.
///
/// # Errors
/// What failed, marked with the side that did.
pub(super) async fn answer(pod: &mut impl PodBody, response: Box<ResponseHeader>, session: &mut Session) -> Result<()> {
    let mut over = pod.is_done();
    stream(session)?.write_response_header(response, over).map_err(Error::into_down)?;
    while !over {
        let part = tokio::select! {
            biased;
            read = pod.next_kept() => read?.unwrap_or_default(),
            error = gone(session.as_downstream_mut()) => return Err(error),
        };
        over = part.is_empty() || pod.is_done();
        stream(session)?.write_body(part, over).await.map_err(Error::into_down)?;
    }
    Ok(())
}

fn stream(session: &mut Session) -> Result<&mut HttpSession> {
    match session.as_downstream_mut() {
        ServerSession::H2(stream) => Ok(stream),
        _ => Error::e_explain(ErrorType::InternalError, "the client does not speak HTTP/2"),
    }
}
