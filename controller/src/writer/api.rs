//! The writer for the Kubernetes API: takes a target, calls the writer of its kind, and turns the client's errors into
//! ours. The modules beside it are the only ones, with leader election, that name kube.

use super::dns_endpoint::DnsEndpoints;
use super::status::Statuses;
use super::{WriteError, Written};
use crate::desired::{Intent, RouterIdentity, Target};
use crate::limits::REQUEST;
use kube::Client;
use kube::core::{ApiResource, GroupVersionKind};
use nearside_routing::Kind;

/// Writes DNSEndpoints, status and Events.
pub(crate) struct ApiWriter {
    endpoints: DnsEndpoints,
    statuses: Statuses,
}

impl ApiWriter {
    /// `namespace` is where DNSEndpoints live; `instance` names this process in Events.
    pub(crate) fn new(client: Client, namespace: &str, router: RouterIdentity, instance: &str) -> Self {
        Self {
            endpoints: DnsEndpoints::new(client.clone(), namespace),
            statuses: Statuses::new(client, router, instance),
        }
    }

    pub(super) async fn refresh(&self) -> Result<Vec<Target>, WriteError> {
        Ok(self.endpoints.refresh().await?.into_iter().map(Target::DnsEndpoint).collect())
    }

    pub(super) async fn write(
        &self,
        target: &Target,
        intent: Option<&Intent>,
        previous: Option<&Intent>,
    ) -> Result<Written, WriteError> {
        match (target, intent) {
            (Target::DnsEndpoint(name), Some(Intent::DnsEndpoint(intent))) => self.endpoints.put(name, intent).await,
            (Target::DnsEndpoint(name), _) => self.endpoints.withdraw(name).await,
            (Target::Status(key), intent) => self.statuses.write(key, intent, previous).await,
        }
    }

    pub(super) fn forget(&self) {
        self.endpoints.forget();
        self.statuses.forget();
    }
}

/// The resource of a kind that Nearside knows.
pub(super) fn resource(kind: Kind) -> ApiResource {
    let gvk = GroupVersionKind::gvk(kind.group(), kind.version(), kind.name());
    ApiResource::from_gvk_with_plural(&gvk, kind.plural())
}

/// Waits for a request, within bounds, and names the object in its error.
pub(super) async fn request<T>(
    object: &str,
    call: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, WriteError> {
    match tokio::time::timeout(REQUEST, call).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(kube::Error::Api(status))) if status.is_conflict() || status.is_already_exists() => {
            Err(WriteError::Conflict { object: object.to_owned() })
        }
        Ok(Err(source)) => Err(WriteError::Api { object: object.to_owned(), source: Box::new(source) }),
        Err(_) => Err(WriteError::Timeout { object: object.to_owned() }),
    }
}

/// Whether an error says that the object, or its kind, does not exist.
pub(super) fn is_not_found(error: &WriteError) -> bool {
    matches!(error, WriteError::Api { source, .. } if matches!(&**source, kube::Error::Api(status) if status.is_not_found()))
}
