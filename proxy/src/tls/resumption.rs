//! Sessions that clients resume: which configurations share them. Whoever shares them must demand the same of clients,
//! because a resumed session skips the client's certificate.

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::server::{NoServerSessionStorage, ProducesTickets};
use std::sync::{Arc, OnceLock};

/// The keys of session tickets. Sessions are never kept here: what a client wants to resume, it brings along (TLS 1.3, and
/// RFC 5077 before), so that a session ID alone resumes nothing and costs no memory.
#[derive(Clone, Debug)]
pub(super) struct Resumption(Option<Arc<dyn ProducesTickets>>);

impl Resumption {
    /// With keys of its own. Without randomness nothing is resumed.
    pub(super) fn new() -> Self {
        Self(ring::Ticketer::new().ok())
    }

    /// For configurations that demand nothing of clients: one for all, so that sessions resume whatever is rebuilt. A
    /// session belongs to the name that it was made for, so it gains nothing elsewhere.
    pub(super) fn anonymous() -> Self {
        static ANONYMOUS: OnceLock<Resumption> = OnceLock::new();
        ANONYMOUS.get_or_init(Self::new).clone()
    }

    /// Makes a configuration take part.
    pub(super) fn apply(&self, config: &mut ServerConfig) {
        config.session_storage = Arc::new(NoServerSessionStorage {});
        if let Some(ticketer) = &self.0 {
            config.ticketer = Arc::clone(ticketer);
        }
    }
}
