//! TLS that the kernel does: whether it can is found out once, at the start; then sessions of rustls whose handshake is over flow in, and
//! sockets flow out that take and give plain bytes. Made by `main`, used by `accept`, for connections over HTTP/1.1 on which a large
//! answer begins. One of the few modules that name rustls.
//!
//! `drivers` tells how fast the kernel is, `keys` are those of a session as it takes them, `records` tells what came that is no data,
//! `socket` asks the kernel, `counts` tells what became of it.

mod counts;
mod drivers;
mod keys;
mod records;
mod socket;

pub(crate) use counts::Outcome;
pub(crate) use records::{Control, RecordBoundary};
pub(crate) use socket::{poll_close, poll_read};

use crate::options::KernelTlsUse;
use counts::KernelTlsCounts;
use keys::{Keys, Suite};
use prometheus::Registry;
use rustls::{ConnectionTrafficSecrets, ExtractedSecrets, ServerConnection};
use std::io;
use std::sync::Arc;
use tokio::net::TcpStream;

/// What the kernel can do. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct KernelTls(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    suites: Vec<Suite>,
    counts: KernelTlsCounts,
}

/// Why the kernel does not encrypt for a connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TakeoverError {
    /// It has not begun to: the session goes on.
    #[error("the kernel does not take the connection: {0}")]
    Refused(#[source] io::Error),
    /// The session is gone.
    #[error("the kernel has taken the connection and not its keys: {0}")]
    Broken(#[source] io::Error),
}

impl KernelTls {
    /// Finds out what the kernel can do, as far as that is `wanted`.
    ///
    /// # Errors
    /// Prometheus', if two series of the registry have one name.
    pub(crate) fn detect(wanted: KernelTlsUse, registry: &Registry) -> prometheus::Result<Self> {
        let counts = KernelTlsCounts::new(registry)?;
        let suites = match wanted {
            KernelTlsUse::Auto => able(true),
            KernelTlsUse::Always => able(false),
            KernelTlsUse::Never => Vec::new(),
        };
        counts.available(suites.len());
        Ok(Self(Arc::new(Inner { suites, counts })))
    }

    /// Whether the kernel could take over this session, whose handshake is over.
    pub(crate) fn serves(&self, session: &ServerConnection) -> bool {
        Suite::of(session).is_some_and(|suite| self.0.suites.contains(&suite))
    }

    /// Gives a session to the kernel. Nothing of either side may be on its way through it. `session` is asked for it once the kernel
    /// has agreed.
    ///
    /// # Errors
    /// [`TakeoverError`].
    pub(crate) fn take_over(
        &self,
        socket: &TcpStream,
        session: impl FnOnce() -> Result<ServerConnection, rustls::Error>,
    ) -> Result<(), TakeoverError> {
        socket::attach(socket).map_err(TakeoverError::Refused)?;
        // A socket without keys serves on as before.
        let session = session().map_err(|error| TakeoverError::Refused(io::Error::other(error)))?;
        hand_over(socket, session).map_err(TakeoverError::Broken)
    }

    /// Counts what became of a connection.
    pub(crate) fn count(&self, outcome: Outcome) {
        self.0.counts.count(outcome);
    }
}

fn hand_over(socket: &TcpStream, session: ServerConnection) -> io::Result<()> {
    let unknown = || io::Error::other("an unknown cipher suite");
    let suite = Suite::of(&session).ok_or_else(unknown)?;
    let ExtractedSecrets { tx, rx } = session.dangerous_extract_secrets().map_err(io::Error::other)?;
    let sending = keys(suite, &tx).and_then(|keys| keys.for_sending()).ok_or_else(unknown)?;
    let receiving = keys(suite, &rx).and_then(|keys| keys.for_receiving()).ok_or_else(unknown)?;
    socket::encrypt(socket, &sending)?;
    socket::decrypt(socket, &receiving)
}

fn keys(suite: Suite, (sequence, secrets): &(u64, ConnectionTrafficSecrets)) -> Option<Keys<'_>> {
    let (key, iv) = match secrets {
        ConnectionTrafficSecrets::Aes128Gcm { key, iv }
        | ConnectionTrafficSecrets::Aes256Gcm { key, iv }
        | ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => (key.as_ref(), iv.as_ref()),
        _ => return None,
    };
    Some(Keys { suite, sequence: *sequence, key, iv })
}

/// What works. Each is tried: what a kernel knows of depends on its modules, and on what it may load. `fast` leaves out what it does by
/// portable code.
fn able(fast: bool) -> Vec<Suite> {
    let tried = Suite::ALL.map(|suite| (suite, socket::tries(suite)));
    // The trials have made the kernel choose.
    let told = fast.then(|| std::fs::read_to_string("/proc/crypto").unwrap_or_default());
    let (mut suites, mut left_out) = (Vec::new(), Vec::new());
    for (suite, result) in tried {
        match result {
            Ok(()) if told.as_ref().is_none_or(|told| drivers::is_fast(told, suite.cipher)) => suites.push(suite),
            Ok(()) => left_out.push(format!("{suite}: not with instructions of the processor")),
            Err(error) => left_out.push(format!("{suite}: {error}")),
        }
    }
    match (suites.is_empty(), left_out.join(", ")) {
        (true, reasons) => tracing::info!(reasons, "answers over TLS are encrypted in the proxy: the kernel does not"),
        (false, reasons) => {
            tracing::info!(reasons, suites = suites.len(), "large answers over TLS are encrypted by the kernel")
        }
    }
    suites
}
