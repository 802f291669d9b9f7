//! Writers: one target and what it should be flow in, a write flows out where something differs. Two implementations: the
//! Kubernetes API and, for a source of manifests, a directory. The reconciler calls them.

mod api;
mod dns_endpoint;
mod event;
mod requests;
mod status;

pub(crate) use api::ApiWriter;

use crate::desired::{Intent, Target};
use crate::limits::{LEAST_RETRY_AFTER, MOST_RETRY_AFTER, REFRESH, REFRESH_WATCHED};
use crate::out::OutDirectory;
use crate::reconcile::Class;
use nearside_routing::ObjectKey;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Where writes go.
pub(crate) enum Writer {
    /// The Kubernetes API.
    Api(Box<ApiWriter>),
    /// A directory (`--out`).
    Directory(OutDirectory),
}

impl Writer {
    /// How long what is known of existing objects is good.
    pub(crate) fn refresh_period(&self) -> Duration {
        match self {
            Self::Api(_) => REFRESH_WATCHED,
            Self::Directory(_) => REFRESH,
        }
    }

    /// Learns what of ours exists, as far as it can be told without being asked for by name.
    pub(crate) async fn refresh(&self) -> Result<Vec<Target>, WriteError> {
        match self {
            Self::Api(api) => api.refresh().await,
            Self::Directory(directory) => directory.refresh(),
        }
    }

    /// The Routes with an entry of ours in their status, whether they are in our scope or not.
    pub(crate) async fn stale(&self) -> Result<Vec<ObjectKey>, WriteError> {
        match self {
            Self::Api(api) => api.stale().await,
            // What earlier runs have left there, `refresh` finds.
            Self::Directory(_) => Ok(Vec::new()),
        }
    }

    /// How many requests of a class were sent to the API server since the last call.
    pub(crate) fn take_sent(&self, class: Class) -> u32 {
        match self {
            Self::Api(api) => api.take_sent(class),
            Self::Directory(_) => 0,
        }
    }

    /// Somebody else has changed a target.
    pub(crate) fn distrust(&self, target: &Target) {
        if let (Self::Api(api), Target::DnsEndpoint(name)) = (self, target) {
            api.distrust(name);
        }
    }

    /// Makes a target what it should be. Without an intent the target is withdrawn; `previous` is what it was last.
    pub(crate) async fn write(
        &self,
        target: &Target,
        intent: Option<&Intent>,
        previous: Option<&Intent>,
    ) -> Result<Written, WriteError> {
        match self {
            Self::Api(api) => api.write(target, intent, previous).await,
            Self::Directory(directory) => directory.write(target, intent),
        }
    }

    /// Forgets what is known of existing objects; another process may have changed them.
    pub(crate) fn forget(&self) {
        if let Self::Api(api) = self {
            api.forget();
        }
    }
}

/// What a write did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    /// The target is as it should be.
    Unchanged,
    /// The object is new.
    Created,
    /// The object has changed.
    Updated,
    /// The object, or our part of it, is gone.
    Deleted,
    /// Somebody else writes it; it is left alone for this long.
    Contended(Duration),
}

impl Written {
    /// The value of the label `result` in metrics.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Unchanged => "unchanged",
            Self::Created => "created",
            Self::Updated => "updated",
            Self::Deleted => "deleted",
            Self::Contended(_) => "contended",
        }
    }
}

/// Why a target is not what it should be. Every one is tried again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WriteError {
    /// Somebody else was faster.
    #[error("{object}: changed by someone else meanwhile")]
    Conflict {
        /// The object.
        object: String,
    },
    /// The cluster does not know the kind.
    #[error("the API server does not serve {plural}.{group}; install its CustomResourceDefinition")]
    NoSuchKind {
        /// The resource.
        plural: &'static str,
        /// Its API group.
        group: &'static str,
    },
    /// The Lease has run out meanwhile.
    #[error("{object}: not written, because this process does not hold the Lease any more")]
    NotLeading {
        /// The object.
        object: String,
    },
    /// The name is taken.
    #[error("{object} exists but was not written by Nearside; it is left alone, delete it to have its host published")]
    Foreign {
        /// The object.
        object: String,
    },
    /// The API server refused or did not answer.
    #[error("{object}: {source}; check the API server and the permissions of this account")]
    Api {
        /// The object.
        object: String,
        /// What the client says.
        source: Box<kube::Error>,
    },
    /// The API server took too long.
    #[error("{object}: no answer from the API server in time")]
    Timeout {
        /// The object.
        object: String,
    },
    /// A file cannot be read or written.
    #[error("{}: {source}; check --out", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

impl WriteError {
    /// Whether reading again and trying again is all there is to do.
    pub(crate) fn is_conflict(&self) -> bool {
        matches!(self, Self::Conflict { .. })
    }

    /// The pause that the server asks for before the next request of the kind: `Retry-After`, or a moment where it says that
    /// there were too many.
    pub(crate) fn pause(&self) -> Option<Duration> {
        let Self::Api { source, .. } = self else { return None };
        let kube::Error::Api(status) = &**source else { return None };
        let named = status.details.as_ref().map_or(0, |details| details.retry_after_seconds);
        let pause = match (named, status.code) {
            (0, 429) => LEAST_RETRY_AFTER,
            (0, _) => return None,
            (seconds, _) => Duration::from_secs(seconds.into()),
        };
        Some(pause.min(MOST_RETRY_AFTER))
    }

    /// The value of the label `result` in metrics.
    pub(crate) fn word(&self) -> &'static str {
        if self.is_conflict() { "conflict" } else { "failed" }
    }
}
