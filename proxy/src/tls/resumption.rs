//! Sessions that clients resume: which configurations share them. Whoever shares them must demand the same of clients,
//! because a resumed session skips the client's certificate.

use super::tickets::{TicketKeys, Tickets};
use rustls::ServerConfig;
use rustls::server::NoServerSessionStorage;
use std::sync::{Arc, OnceLock};

/// The keys of session tickets. Sessions are never kept here: what a client wants to resume, it brings along (TLS 1.3, and
/// RFC 5077 before), so that a session ID alone resumes nothing and costs no memory.
#[derive(Clone, Debug)]
pub(super) struct Resumption(Option<Arc<Tickets>>);

impl Resumption {
    /// With keys of its own. Without randomness nothing is resumed.
    pub(super) fn new() -> Self {
        Self(Tickets::new().ok().map(Arc::new))
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
            config.ticketer = Arc::clone(ticketer) as _;
        }
    }
}

/// The keys of the sessions of clients of whom nothing is demanded, for the next process of this node. Those of clients with
/// certificates stay here: each of their handshakes asks for the certificate anew once this process is gone.
pub(crate) fn ticket_keys() -> Option<TicketKeys> {
    Resumption::anonymous().0.map(|tickets| tickets.keys())
}

/// Goes on with the keys of the process before this one. To be called before clients come.
pub(crate) fn adopt_ticket_keys(keys: &TicketKeys) {
    if let Some(tickets) = Resumption::anonymous().0 {
        tickets.adopt(keys);
    }
}
