//! What can go wrong between us and the API server: errors of kube and statuses of answers flow in, the few cases that are
//! handled apart flow out, each in one line for an operator. `cluster` calls it.

use crate::source::describe;
use crate::{Kind, Selection};
use std::fmt;
use std::time::Duration;

/// A failed list or watch. Every failure is retried; they differ in what they say about the objects.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Failure {
    /// No answer.
    #[error("the API server cannot be reached: {0}")]
    Unreachable(String),
    /// 404 to a list: the cluster does not have the kind.
    #[error("the cluster does not serve this kind; check that its CustomResourceDefinition is installed")]
    Missing,
    /// 401, in the words of the server.
    #[error(
        "the API server does not accept our credentials: {0}; check that the token or the client certificate has not expired \
         and is of this cluster"
    )]
    Unauthenticated(String),
    /// 403: what was asked, and the answer in the words of the server, which name the account.
    #[error("no permission to {asked}: {message}; check the ClusterRole and its binding")]
    Forbidden { asked: Asked, message: String },
    /// 410: the version is older than what the server remembers, or a page token has expired.
    #[error("the resource version has expired")]
    Expired,
    /// An answer that is not the JSON it should be; what it wanted to say only a new list can tell.
    #[error("the API server sent JSON that cannot be read: {0}")]
    Garbled(String),
    /// An answer that broke off.
    #[error("the connection to the API server broke off: {0}")]
    Cut(String),
    /// The server streams no lists; pages are asked for instead.
    #[error("the API server does not stream lists: {0}")]
    NotStreamed(String),
    /// 429, or any other answer that says when to come again.
    #[error("the API server asks us to wait: {message}")]
    Busy { message: String, wait: Option<Duration> },
    /// Any other answer.
    #[error("the API server answered with an error: {message}")]
    Other {
        /// The status of the answer, 0 where it has none.
        code: u16,
        message: String,
    },
}

/// A verb and a resource, as RBAC names them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    verb: &'static str,
    kind: Kind,
    namespace: Option<String>,
}

impl Asked {
    pub(crate) fn new(verb: &'static str, selection: &Selection) -> Self {
        Self { verb, kind: selection.kind, namespace: selection.namespace.clone() }
    }
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verb, self.kind.plural())?;
        if !self.kind.group().is_empty() {
            write!(f, ".{}", self.kind.group())?;
        }
        match &self.namespace {
            Some(namespace) if self.kind.namespaced() => write!(f, " in namespace {namespace}"),
            _ => Ok(()),
        }
    }
}

impl Failure {
    /// Whether the server denies that there is anything to list.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(self, Self::Missing | Self::Forbidden { .. } | Self::Unauthenticated(_))
    }

    /// Whether a log line for one says it all for the other.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }

    /// How long the server asks us to stay away.
    pub(crate) fn wait(&self) -> Option<Duration> {
        match self {
            Self::Busy { wait, .. } => *wait,
            _ => None,
        }
    }

    /// One word for pages and metrics.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "Unreachable",
            Self::Missing => "KindMissing",
            Self::Unauthenticated(_) => "Unauthorized",
            Self::Forbidden { .. } => "Forbidden",
            Self::Expired => "Expired",
            Self::Garbled(_) => "Garbled",
            Self::Cut(_) => "Cut",
            Self::NotStreamed(_) => "NotStreamed",
            Self::Busy { .. } => "Busy",
            Self::Other { .. } => "ServerError",
        }
    }

    /// What a `Status` says: of an answer, or of the event that ends a watch.
    pub(crate) fn of_status(status: &kube::core::Status, asked: Asked, retry_after: Option<Duration>) -> Self {
        let hint = status.details.as_ref().map(|details| details.retry_after_seconds).filter(|seconds| *seconds > 0);
        let wait = retry_after.or_else(|| hint.map(|seconds| Duration::from_secs(seconds.into())));
        let causes = status.details.as_ref().map(|details| &*details.causes).unwrap_or_default();
        let said = || format!("{} {}: {}", status.code, status.reason, status.message);
        match status.code {
            404 => Self::Missing,
            401 => Self::Unauthenticated(said()),
            403 => Self::Forbidden { asked, message: status.message.clone() },
            410 => Self::Expired,
            // The server has lost its newest changes, as after a restore.
            504 if causes.iter().any(|cause| cause.reason == "ResourceVersionTooLarge") => Self::Expired,
            429 => Self::Busy { message: said(), wait },
            _ if wait.is_some() => Self::Busy { message: said(), wait },
            code => Self::Other { code, message: said() },
        }
    }
}

impl From<kube::Error> for Failure {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::SerdeError(error) => Self::Garbled(error.to_string()),
            error => {
                let text = describe(&error);
                let hint = match text.contains("certificate") {
                    true => "; check certificate-authority and the server's name in the kubeconfig",
                    false => "",
                };
                Self::Unreachable(text + hint)
            }
        }
    }
}
