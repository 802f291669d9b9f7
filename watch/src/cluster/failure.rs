//! What can go wrong between us and the API server: errors of kube flow in, the few cases that are handled apart flow
//! out. `cluster` calls it.

use crate::source::describe;

/// A failed list or watch. Every failure is retried; they differ in what they say about the objects.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Failure {
    /// No answer.
    #[error("the API server cannot be reached: {0}")]
    Unreachable(String),
    /// 404 to a list: the cluster does not have the kind.
    #[error("the cluster does not serve this kind; check that its CustomResourceDefinition is installed")]
    Missing,
    /// 403, in the words of the server.
    #[error("no permission: {0}; check the ClusterRole and its binding")]
    Forbidden(String),
    /// 410: the version is older than what the server remembers, or a page token has expired.
    #[error("the resource version has expired")]
    Expired,
    /// An answer that is not the JSON it should be; what it wanted to say only a new list can tell.
    #[error("the API server sent JSON that cannot be read: {0}")]
    Garbled(String),
    /// Any other answer.
    #[error("the API server answered with an error: {0}")]
    Other(String),
}

impl Failure {
    /// Whether the server denies that there is anything to list.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(self, Self::Missing | Self::Forbidden(_))
    }

    /// Whether a log line for one says it all for the other.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }

    pub(crate) fn of_status(status: &kube::core::Status) -> Self {
        match status.code {
            404 => Self::Missing,
            403 => Self::Forbidden(status.message.clone()),
            410 => Self::Expired,
            code => Self::Other(format!("{code} {}: {}", status.reason, status.message)),
        }
    }
}

impl From<kube::Error> for Failure {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => Self::of_status(&status),
            kube::Error::SerdeError(error) => Self::Garbled(error.to_string()),
            error => Self::Unreachable(describe(&error)),
        }
    }
}
