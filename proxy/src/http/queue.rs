//! Waiting for room at a pod: a request that found every pod at its limit flows in, a pod that has room flows out, or why
//! there is none. Called by `http`; one of the few modules that name Pingora types.

use crate::backends::{Target, Waiting};
use crate::metrics::QueueEnd;
use pingora::protocols::http::ServerSession;
use pingora::proxy::Session;
use std::time::Duration;
use tokio::time::sleep;

/// Waits, at most for `patience`, and no longer than the client does. A client that closes its side of the connection while
/// its request waits is taken to have left; `abort` says whether it is afterwards.
///
/// # Errors
/// How the waiting ended without a pod.
pub(super) async fn wait(
    session: &mut Session,
    mut waiting: Waiting,
    patience: Duration,
    abort: bool,
) -> Result<Target, QueueEnd> {
    let client = session.as_downstream_mut();
    client.set_abort_on_close(true);
    let end = tokio::select! {
        biased;
        target = waiting.target() => Ok(target),
        () = gone(client) => Err(QueueEnd::ClientGone),
        () = sleep(patience) => Err(QueueEnd::Timeout),
    };
    session.as_downstream_mut().set_abort_on_close(abort);
    end
}

/// Returns when the client has left. While it has a body to send nothing can be read ahead, and it is not looked at.
async fn gone(client: &mut ServerSession) {
    if client.is_upgrade_req() || !client.is_body_done() {
        return std::future::pending().await;
    }
    while client.read_body_or_idle(true).await.is_ok() {}
}
