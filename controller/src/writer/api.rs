//! The writer for the Kubernetes API: takes a target and calls the writer of its kind. The modules beside it are the only
//! ones, with leader election, that name kube.

use super::dns_endpoint::DnsEndpoints;
use super::requests::Requests;
use super::status::Statuses;
use super::{WriteError, Written};
use crate::desired::{Intent, RouterIdentity, Target};
use crate::leader::Fence;
use crate::reconcile::Class;
use kube::Client;
use kube::core::{ApiResource, GroupVersionKind};
use nearside_routing::{Kind, ObjectKey};

/// Writes DNSEndpoints, status and Events.
pub(crate) struct ApiWriter {
    endpoints: DnsEndpoints,
    statuses: Statuses,
    /// Of each class; counted apart, since they are paced apart.
    records_requests: Requests,
    status_requests: Requests,
}

impl ApiWriter {
    /// `namespace` is where DNSEndpoints live; `process` names this process in Events; nothing is written past `fence`.
    pub(crate) fn new(client: Client, namespace: &str, router: RouterIdentity, process: &str, fence: &Fence) -> Self {
        let (records_requests, status_requests) = (Requests::new(fence.clone()), Requests::new(fence.clone()));
        let endpoints = DnsEndpoints::new(client.clone(), namespace, router.instance(), records_requests.clone());
        let statuses = Statuses::new(client, router, process, status_requests.clone());
        Self { endpoints, statuses, records_requests, status_requests }
    }

    pub(super) async fn refresh(&self) -> Result<Vec<Target>, WriteError> {
        Ok(self.endpoints.refresh().await?.into_iter().map(Target::DnsEndpoint).collect())
    }

    pub(super) async fn stale(&self) -> Result<Vec<ObjectKey>, WriteError> {
        self.statuses.stale().await
    }

    pub(super) fn take_sent(&self, class: Class) -> u32 {
        match class {
            Class::Records => self.records_requests.take_sent(),
            Class::Status => self.status_requests.take_sent(),
        }
    }

    pub(super) fn distrust(&self, name: &str) {
        self.endpoints.distrust(name);
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
