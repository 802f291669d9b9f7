//! Requests to the API server: a call of the client flows in, its answer or one of our errors flows out, within bounds. Every
//! request of the writers passes here, so here they are counted, and here those that write are fenced.

use super::WriteError;
use crate::leader::Fence;
use crate::limits::REQUEST;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// How one writer asks the API server. Clones count together.
#[derive(Clone)]
pub(super) struct Requests {
    fence: Fence,
    sent: Arc<AtomicU32>,
}

impl Requests {
    pub(super) fn new(fence: Fence) -> Self {
        Self { fence, sent: Arc::default() }
    }

    /// Reads; anybody may.
    pub(super) async fn read<T>(
        &self,
        object: &str,
        call: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<T, WriteError> {
        self.send(object, REQUEST, call).await
    }

    /// Writes, if this process may, and is given up when it may no longer.
    pub(super) async fn write<T>(
        &self,
        object: &str,
        call: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<T, WriteError> {
        let Some(time) = self.fence.allows(REQUEST) else {
            return Err(WriteError::NotLeading { object: object.to_owned() });
        };
        self.send(object, time, call).await
    }

    /// How many were sent since the last call.
    pub(super) fn take_sent(&self) -> u32 {
        self.sent.swap(0, Ordering::Relaxed)
    }

    async fn send<T>(
        &self,
        object: &str,
        time: std::time::Duration,
        call: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<T, WriteError> {
        self.sent.fetch_add(1, Ordering::Relaxed);
        match tokio::time::timeout(time, call).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(kube::Error::Api(status))) if status.is_conflict() || status.is_already_exists() => {
                Err(WriteError::Conflict { object: object.to_owned() })
            }
            Ok(Err(source)) => Err(WriteError::Api { object: object.to_owned(), source: Box::new(source) }),
            Err(_) => Err(WriteError::Timeout { object: object.to_owned() }),
        }
    }
}

/// Whether an error says that the object, or its kind, does not exist.
pub(super) fn is_not_found(error: &WriteError) -> bool {
    matches!(error, WriteError::Api { source, .. } if matches!(&**source, kube::Error::Api(status) if status.is_not_found()))
}
