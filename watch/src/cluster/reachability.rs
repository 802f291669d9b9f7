//! Whether the API server answers at all: every kind's task reports in, one log line per change comes out.

use std::sync::atomic::{AtomicBool, Ordering};

/// Shared by the tasks of one source.
#[derive(Debug)]
pub(crate) struct Reachability {
    server: String,
    lost: AtomicBool,
}

impl Reachability {
    pub(crate) fn new(server: &str) -> Self {
        Self { server: server.to_owned(), lost: AtomicBool::new(false) }
    }

    pub(crate) fn server(&self) -> &str {
        &self.server
    }

    pub(crate) fn reached(&self) {
        if self.lost.swap(false, Ordering::Relaxed) {
            tracing::info!(server = self.server, "the API server answers again");
        }
    }

    pub(crate) fn lost(&self, error: &str) {
        if !self.lost.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                server = self.server,
                error,
                "the API server cannot be reached; what is known stays in use, retrying"
            );
        }
    }
}
