//! Tells the controller that records are published: a DNSEndpoint and the generation of it that is served flow in,
//! `status.observedGeneration` flows out, as external-dns writes it. The one thing that a publisher writes to a cluster.

use crate::limits::OBSERVATION_TIMEOUT;
use crate::source::describe;
use crate::{ClusterConfig, ObjectKey, Source};
use kube::Client;
use serde_json::{Value, json};

/// The DNSEndpoints of a cluster, as far as their `status` goes.
#[derive(Clone)]
pub struct Observations {
    client: Client,
}

/// Why an observation is not written.
#[derive(Debug, thiserror::Error)]
pub enum ObserveError {
    /// The object is gone or has a newer generation: there is nothing to tell any more.
    #[error("{key} has changed meanwhile")]
    Outdated {
        /// The object.
        key: ObjectKey,
    },
    /// The account may not write it.
    #[error("no permission to patch dnsendpoints/status ({key}); the controller cannot tell whether DNS is up to date")]
    Forbidden {
        /// The object.
        key: ObjectKey,
    },
    /// The API server does not answer, or not as it should.
    #[error("the status of {key} cannot be written: {why}")]
    Failed {
        /// The object.
        key: ObjectKey,
        /// What came instead.
        why: String,
    },
}

impl Observations {
    /// `None` for manifests, which have no status.
    pub fn of(source: &Source) -> Option<Self> {
        match source {
            Source::Cluster(ClusterConfig { client, .. }) => Some(Self { client: client.clone() }),
            Source::Manifests(_) => None,
        }
    }

    /// Writes that this generation of a DNSEndpoint is published. `first` says that the object has no status yet. Only the
    /// generation that the object has at that moment is written, so that the number never falls, whoever else writes it.
    ///
    /// # Errors
    /// [`ObserveError`] says whether it is worth trying again.
    pub async fn record(&self, key: &ObjectKey, generation: i64, first: bool) -> Result<(), ObserveError> {
        let failed = |why: String| ObserveError::Failed { key: key.clone(), why };
        let request = http::Request::patch(path(key)).header(http::header::CONTENT_TYPE, "application/json-patch+json");
        let request = request
            .body(patch(generation, first).to_string().into_bytes())
            .map_err(|error| failed(error.to_string()))?;
        match tokio::time::timeout(OBSERVATION_TIMEOUT, self.client.request_text(request)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(kube::Error::Api(status))) => match status.code {
                403 => Err(ObserveError::Forbidden { key: key.clone() }),
                // A test that does not hold is 422; older servers say 409.
                404 | 409 | 422 => Err(ObserveError::Outdated { key: key.clone() }),
                code => Err(failed(format!("{code} {}: {}", status.reason, status.message))),
            },
            Ok(Err(error)) => Err(failed(describe(&error))),
            Err(_) => Err(failed(format!("no answer within {} s", OBSERVATION_TIMEOUT.as_secs()))),
        }
    }
}

/// RFC 6902: the test makes the server refuse what is not the newest generation any more.
fn patch(generation: i64, first: bool) -> Value {
    let written = if first {
        json!({"op": "add", "path": "/status", "value": {"observedGeneration": generation}})
    } else {
        json!({"op": "add", "path": "/status/observedGeneration", "value": generation})
    };
    json!([{"op": "test", "path": "/metadata/generation", "value": generation}, written])
}

fn path(key: &ObjectKey) -> String {
    let (version, plural) = (key.kind.api_version(), key.kind.plural());
    format!("/apis/{version}/namespaces/{}/{plural}/{}/status", key.namespace, key.name)
}
