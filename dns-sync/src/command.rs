//! What each command of the program runs, one file each, and why it may fail. Called by `main`.

mod confirm;
mod plan;
mod publish;
mod serve;
mod status;

pub(crate) use confirm::run as confirm;
pub(crate) use plan::run as plan;
pub(crate) use publish::run as publish;
pub(crate) use serve::run as serve;
pub(crate) use status::run as status;

use nearside_admin::AdminError;
use nearside_dns_sync::serve::{BindError, LoopEnded};
use nearside_dns_sync::verify::Unseen;
use nearside_watch::{SnapshotError, SourceError};
use std::io::Write;
use std::process::ExitCode;

/// Writes to standard output; the exit code says whether it could.
pub(crate) fn say(text: &str) -> ExitCode {
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Why the program ends without having been asked to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    #[error(transparent)]
    Bind(#[from] BindError),
    #[error(transparent)]
    Loop(#[from] LoopEnded),
    #[error(transparent)]
    Admin(#[from] AdminError),
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    #[error("name servers cannot be looked at: {0}")]
    Looking(#[from] Unseen),
    #[error("reading DNSEndpoints has ended, which is a defect of this program")]
    SourceEnded,
    #[error("metrics cannot be registered: {0}")]
    Metrics(#[from] prometheus::Error),
    #[error("signals cannot be received: {0}")]
    Signals(#[from] std::io::Error),
}
