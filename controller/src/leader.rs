//! Leader election by a Lease: the Lease as the API server holds it flows in, the word whether this process leads flows
//! out to the reconciler. The decisions are in [`lease`]; here are the requests and the clock.

mod fence;
mod lease;

pub(crate) use fence::Fence;

use crate::clock;
use crate::metrics::Metrics;
use crate::reconcile::Term;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::Client;
use kube::api::{Api, PostParams};
use lease::{Action, Claim, Election, Observed};
use nearside_routing::Instance;
use std::time::Duration;
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

/// A candidate for the Lease.
pub(crate) struct Candidate {
    api: Api<Lease>,
    namespace: String,
    /// Of the Lease.
    name: String,
    election: Election,
    fence: Fence,
    metrics: Metrics,
    epoch: Instant,
    terms: u64,
}

impl Candidate {
    /// A candidate named `identity`, which no other process has; it opens `fence` while it leads.
    pub(crate) fn new(
        client: Client,
        namespace: &str,
        instance: &Instance,
        identity: &str,
        fence: Fence,
        metrics: Metrics,
    ) -> Self {
        Self {
            api: Api::namespaced(client, namespace),
            namespace: namespace.to_owned(),
            name: instance.name(NAME).to_string(),
            election: Election::new(identity),
            fence,
            metrics,
            epoch: Instant::now(),
            terms: 0,
        }
    }

    /// Stands for election until told to stop, then gives the Lease back.
    pub(crate) async fn run(mut self, term: watch::Sender<Term>, mut stop: oneshot::Receiver<()>) {
        let mut failures = 0_u32;
        loop {
            // Leadership ends by the clock alone, also while a request hangs.
            let leads = self.election.leads(self.epoch.elapsed());
            let expiry = self.election.leads_until().filter(|_| leads).map(|until| self.epoch + until);
            let expired = async {
                match expiry {
                    Some(expiry) => tokio::time::sleep_until(expiry).await,
                    None => std::future::pending().await,
                }
            };
            let outcome = tokio::select! {
                biased;
                _ = &mut stop => break,
                () = expired => None,
                outcome = attempt(&self.api, &self.name, &self.election, self.epoch) => Some(outcome),
            };
            match outcome {
                Some(Ok(attempt)) => {
                    failures = 0;
                    self.election.learn(attempt.observed, attempt.observed_at);
                    if let Some(sent_at) = attempt.won_at {
                        self.election.won(sent_at);
                    }
                }
                Some(Err(error)) => {
                    failures = failures.saturating_add(1);
                    if failures.is_power_of_two() {
                        let lease = format!("{}/{}", self.namespace, self.name);
                        tracing::warn!(lease, %error, failures, "the Lease cannot be read or written");
                    }
                }
                None => {}
            }
            self.announce(&term);
            tokio::select! {
                biased;
                _ = &mut stop => break,
                () = tokio::time::sleep(lease::RETRY) => {}
            }
            self.announce(&term);
        }
        self.fence.set(None);
        term.send_replace(None);
        self.metrics.leads(false);
        self.release().await;
    }

    fn announce(&mut self, term: &watch::Sender<Term>) {
        self.fence.set(self.election.leads_until().map(|until| self.epoch + until));
        let leads = self.election.leads(self.epoch.elapsed());
        if leads == term.borrow().is_some() {
            return;
        }
        self.metrics.leads(leads);
        if leads {
            self.terms += 1;
            tracing::info!(lease = format!("{}/{}", self.namespace, self.name), "leading: this process writes");
            term.send_replace(Some(self.terms));
        } else {
            tracing::warn!(lease = format!("{}/{}", self.namespace, self.name), "no longer leading: writes stop");
            term.send_replace(None);
        }
    }

    /// Lets the next leader begin at once instead of after the Lease's duration.
    async fn release(&mut self) {
        let Some(claim) = self.election.release() else { return };
        let lease = object(&self.namespace, &self.name, &claim);
        match tokio::time::timeout(lease::REQUEST, self.api.replace(&self.name, &PostParams::default(), &lease)).await {
            Ok(Ok(_)) => tracing::info!("Lease released"),
            Ok(Err(error)) => tracing::warn!(%error, "the Lease was not released; it runs out by itself"),
            Err(_) => tracing::warn!("the Lease was not released in time; it runs out by itself"),
        }
    }
}

/// What one look at the Lease gave.
struct Attempt {
    observed: Option<Observed>,
    observed_at: Duration,
    /// When the request was sent that made us, or kept us, the holder.
    won_at: Option<Duration>,
}

async fn attempt(api: &Api<Lease>, name: &str, election: &Election, epoch: Instant) -> Result<Attempt, AttemptError> {
    let mut election = election.clone();
    let observed = bounded(api.get_opt(name)).await?.as_ref().map(observe);
    // After the answer, not before the request: the holder may have renewed in between.
    let now = epoch.elapsed();
    election.learn(observed, now);
    let sent_at = epoch.elapsed();
    let written = match election.decide(sent_at) {
        Action::Wait => return Ok(Attempt { observed: election.observed().cloned(), observed_at: now, won_at: None }),
        Action::Create(claim) => bounded(api.create(&PostParams::default(), &object_in(api, name, &claim))).await,
        Action::Update(claim) => {
            bounded(api.replace(name, &PostParams::default(), &object_in(api, name, &claim))).await
        }
    };
    match written {
        Ok(lease) => Ok(Attempt { observed: Some(observe(&lease)), observed_at: sent_at, won_at: Some(sent_at) }),
        // Somebody was faster; the next look shows who.
        Err(AttemptError::Api(kube::Error::Api(status))) if status.is_conflict() || status.is_already_exists() => {
            Ok(Attempt { observed: election.observed().cloned(), observed_at: now, won_at: None })
        }
        Err(error) => Err(error),
    }
}

#[derive(Debug, thiserror::Error)]
enum AttemptError {
    #[error("{0}; check the API server and the permission to get, create and update Leases")]
    Api(kube::Error),
    #[error("no answer from the API server in time")]
    Timeout,
}

async fn bounded<T>(call: impl Future<Output = Result<T, kube::Error>>) -> Result<T, AttemptError> {
    match tokio::time::timeout(lease::REQUEST, call).await {
        Ok(answer) => answer.map_err(AttemptError::Api),
        Err(_) => Err(AttemptError::Timeout),
    }
}

fn observe(lease: &Lease) -> Observed {
    let spec = lease.spec.clone().unwrap_or_default();
    let text = |time: Option<MicroTime>| time.map(|time| time.0.to_string()).unwrap_or_default();
    Observed {
        version: lease.metadata.resource_version.clone().unwrap_or_default(),
        holder: spec.holder_identity.unwrap_or_default(),
        transitions: spec.lease_transitions.unwrap_or(0),
        acquired: text(spec.acquire_time),
        renewed: text(spec.renew_time),
        duration: Duration::from_secs(spec.lease_duration_seconds.unwrap_or(0).try_into().unwrap_or(0)),
    }
}

fn object_in(api: &Api<Lease>, name: &str, claim: &Claim) -> Lease {
    object(api.namespace().unwrap_or_default(), name, claim)
}

fn object(namespace: &str, name: &str, claim: &Claim) -> Lease {
    let now = clock::timestamp();
    Lease {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(namespace.to_owned()),
            resource_version: claim.version.clone(),
            ..ObjectMeta::default()
        },
        spec: Some(LeaseSpec {
            holder_identity: Some(claim.holder.clone()),
            lease_duration_seconds: Some(claim.duration.as_secs().try_into().unwrap_or(i32::MAX)),
            lease_transitions: Some(claim.transitions),
            acquire_time: Some(MicroTime(claim.acquired.parse().unwrap_or(now))),
            renew_time: Some(MicroTime(now)),
            ..LeaseSpec::default()
        }),
    }
}

/// The name of the Lease of the default installation.
const NAME: &str = "nearside-controller";
