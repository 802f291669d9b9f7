//! Tells the cluster what became of records: a DNSEndpoint, what its status said and what is to be said flow in, its new
//! status flows out: `observedGeneration`, as external-dns writes it, and conditions, where the definition of the kind knows
//! them. The one thing that a publisher writes to a cluster.

use crate::limits::OBSERVATION_TIMEOUT;
use crate::source::describe;
use crate::{ClusterConfig, ObjectKey, Source};
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use nearside_routing::object::{DnsEndpoint, DnsEndpointStatus, PublicationCondition};
use serde_json::{Value, json};

/// The DNSEndpoints of a cluster, as far as their `status` goes.
#[derive(Clone)]
pub struct Observations {
    client: Client,
}

/// What is to be said about an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observation {
    /// `metadata.generation` that all of it is about. Where the object has another one by then, nothing is written.
    pub generation: i64,
    /// Whether every name server answers what that generation asks for.
    pub visible: bool,
    /// The conditions to set; others that stand there stay. None where the definition of the kind does not know them.
    pub conditions: Vec<Told>,
    /// What the status said when it was read last.
    pub previous: DnsEndpointStatus,
}

/// A condition to set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Its type.
    pub kind: &'static str,
    /// `True`, `False`, or `Unknown` for `None`.
    pub holds: Option<bool>,
    /// One word, in CamelCase.
    pub reason: String,
    /// For people.
    pub message: String,
}

/// Why an observation is not written.
#[derive(Debug, thiserror::Error)]
pub enum ObserveError {
    /// The object is gone, has a newer generation or another status: there is nothing to tell any more, or something else.
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

impl Told {
    /// Whether a condition says the same of this generation.
    pub fn is_said_by(&self, condition: &PublicationCondition, generation: i64) -> bool {
        condition.kind == self.kind
            && condition.status == self.status()
            && condition.reason == self.reason
            && condition.message == self.message
            && condition.observed_generation == generation
    }

    fn status(&self) -> &'static str {
        match self.holds {
            Some(true) => "True",
            Some(false) => "False",
            None => "Unknown",
        }
    }
}

impl Observations {
    /// `None` where there is no status to write: of manifests, and by who has no credentials.
    pub fn of(source: &Source) -> Option<Self> {
        match source {
            Source::Cluster(ClusterConfig { client, .. }) => Some(Self { client: client.clone() }),
            Source::Feed(_) | Source::Manifests(_) => None,
        }
    }

    /// Writes an observation, unless the object has another generation or other conditions than when it was read last. So the
    /// number never falls, whoever else writes it, and of several writers none undoes unseen what another has said.
    ///
    /// Gives the status as it is then: without the conditions where the definition of the kind does not know them.
    ///
    /// # Errors
    /// [`ObserveError`] says whether it is worth trying again.
    pub async fn record(&self, key: &ObjectKey, observation: &Observation) -> Result<DnsEndpointStatus, ObserveError> {
        let failed = |why: String| ObserveError::Failed { key: key.clone(), why };
        let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let request = http::Request::patch(path(key)).header(http::header::CONTENT_TYPE, "application/json-patch+json");
        let request = request
            .body(patch(observation, &now).to_string().into_bytes())
            .map_err(|error| failed(error.to_string()))?;
        match tokio::time::timeout(OBSERVATION_TIMEOUT, self.client.request_text(request)).await {
            Ok(Ok(answer)) => {
                let object: DnsEndpoint = serde_json::from_str(&answer).map_err(|error| failed(error.to_string()))?;
                Ok(object.status)
            }
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

/// RFC 6902: the tests make the server refuse what is not about the newest object any more.
fn patch(observation: &Observation, now: &str) -> Value {
    let Observation { generation, visible, conditions, previous } = observation;
    let mut patch = vec![json!({"op": "test", "path": "/metadata/generation", "value": generation})];
    if *previous == DnsEndpointStatus::default() {
        patch.push(json!({"op": "add", "path": "/status", "value": {}}));
    }
    if *visible && previous.observed_generation < *generation {
        patch.push(json!({"op": "add", "path": "/status/observedGeneration", "value": generation}));
    }
    if !conditions.is_empty() {
        if !previous.conditions.is_empty() {
            patch.push(json!({"op": "test", "path": "/status/conditions", "value": previous.conditions}));
        }
        let all = merged(&previous.conditions, conditions, *generation, now);
        patch.push(json!({"op": "add", "path": "/status/conditions", "value": all}));
    }
    Value::Array(patch)
}

/// The conditions afterwards. `lastTransitionTime` changes with the status alone (`metav1.Condition`).
fn merged(previous: &[PublicationCondition], told: &[Told], generation: i64, now: &str) -> Vec<PublicationCondition> {
    let mut all = previous.to_vec();
    for told in told {
        let known = all.iter().position(|condition| condition.kind == told.kind);
        let since = known.map(|place| &all[place]).filter(|known| known.status == told.status());
        let new = PublicationCondition {
            kind: told.kind.to_owned(),
            status: told.status().to_owned(),
            observed_generation: generation,
            last_transition_time: since.map_or_else(|| now.to_owned(), |known| known.last_transition_time.clone()),
            reason: told.reason.clone(),
            message: told.message.clone(),
        };
        match known {
            Some(place) => all[place] = new,
            None => all.push(new),
        }
    }
    all
}

fn path(key: &ObjectKey) -> String {
    let (version, plural) = (key.kind.api_version(), key.kind.plural());
    format!("/apis/{version}/namespaces/{}/{plural}/{}/status", key.namespace, key.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(kind: &'static str, holds: bool) -> Told {
        Told { kind, holds: Some(holds), reason: "Some".into(), message: "some".into() }
    }

    fn observation(visible: bool, conditions: Vec<Told>, previous: DnsEndpointStatus) -> Observation {
        Observation { generation: 3, visible, conditions, previous }
    }

    #[test]
    fn the_time_of_a_condition_is_that_of_its_last_change_and_others_stay() {
        let other = PublicationCondition { kind: "Accepted".into(), status: "True".into(), ..Default::default() };
        let before = merged(&[other], &[told("Applied", true), told("Visible", false)], 1, "then");
        let after = merged(&before, &[told("Applied", true), told("Visible", true)], 2, "now");
        let shown: Vec<(&str, &str, i64, &str)> = after
            .iter()
            .map(|c| (c.kind.as_str(), c.status.as_str(), c.observed_generation, c.last_transition_time.as_str()))
            .collect();
        assert_eq!(shown, [("Accepted", "True", 0, ""), ("Applied", "True", 2, "then"), ("Visible", "True", 2, "now")]);
    }

    #[test]
    fn what_is_written_is_bound_to_what_was_read() {
        let first = patch(&observation(true, Vec::new(), DnsEndpointStatus::default()), "now");
        let expected = json!([
            {"op": "test", "path": "/metadata/generation", "value": 3},
            {"op": "add", "path": "/status", "value": {}},
            {"op": "add", "path": "/status/observedGeneration", "value": 3},
        ]);
        assert_eq!(first, expected);
        let conditions = merged(&[], &[told("Visible", false)], 2, "then");
        let previous = DnsEndpointStatus { observed_generation: 3, conditions: conditions.clone() };
        let next = patch(&observation(true, vec![told("Visible", true)], previous), "now");
        let expected = json!([
            {"op": "test", "path": "/metadata/generation", "value": 3},
            {"op": "test", "path": "/status/conditions", "value": conditions},
            {"op": "add", "path": "/status/conditions", "value": merged(&conditions, &[told("Visible", true)], 3, "now")},
        ]);
        assert_eq!(next, expected);
    }
}
