//! The election: the Lease as it was last seen flows in, what to do with it flows out. Pure; the clock is the process's own
//! and is never compared with times in the Lease, so that clocks may differ between candidates as much as they like.
//!
//! Why never two: a leader counts its time from before it sent its last renewal and stops after [`DEADLINE`]; a follower
//! counts from after it saw that renewal and waits the whole longer [`DURATION`]; and the API server lets only one of two
//! writes pass that were based on the same version.

use std::time::Duration;

/// A Lease as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Observed {
    /// `metadata.resourceVersion`.
    pub(super) version: String,
    /// `spec.holderIdentity`, empty for a Lease that was released.
    pub(super) holder: String,
    /// `spec.leaseTransitions`.
    pub(super) transitions: i32,
    /// `spec.acquireTime`, only ever copied.
    pub(super) acquired: String,
    /// `spec.renewTime`, only ever compared for equality.
    pub(super) renewed: String,
    /// `spec.leaseDurationSeconds`.
    pub(super) duration: Duration,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Somebody else holds the Lease.
    Wait,
    /// There is no Lease.
    Create(Claim),
    /// Take it over or renew it.
    Update(Claim),
}

/// A Lease to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    /// The version that is to be replaced; `None` for a new Lease.
    pub(super) version: Option<String>,
    /// `spec.holderIdentity`.
    pub(super) holder: String,
    /// `spec.leaseTransitions`.
    pub(super) transitions: i32,
    /// `spec.acquireTime` to keep; empty for now.
    pub(super) acquired: String,
    /// `spec.leaseDurationSeconds`.
    pub(super) duration: Duration,
}

/// One candidate's view. Times are counted from an epoch of its own.
#[derive(Clone, Debug)]
pub(super) struct Election {
    identity: String,
    observed: Option<Observed>,
    /// When the Lease was last seen to change.
    changed_at: Duration,
    /// When the last successful renewal was sent.
    renewed_at: Option<Duration>,
}

impl Election {
    pub(super) fn new(identity: &str) -> Self {
        Self { identity: identity.to_owned(), observed: None, changed_at: Duration::ZERO, renewed_at: None }
    }

    /// The Lease was read, or written, and was so at `now`.
    pub(super) fn learn(&mut self, observed: Option<Observed>, now: Duration) {
        let held_elsewhere = observed.as_ref().is_none_or(|lease| lease.holder != self.identity);
        if held_elsewhere {
            self.renewed_at = None;
        }
        if observed != self.observed {
            self.changed_at = now;
            self.observed = observed;
        }
    }

    /// The Lease as it was last seen.
    pub(super) fn observed(&self) -> Option<&Observed> {
        self.observed.as_ref()
    }

    /// What to do now.
    pub(super) fn decide(&self, now: Duration) -> Action {
        let Some(lease) = &self.observed else {
            return Action::Create(self.claim(None));
        };
        if lease.holder == self.identity || lease.holder.is_empty() {
            return Action::Update(self.claim(Some(lease)));
        }
        // A holder may have asked for longer than we would.
        let patience = lease.duration.max(DURATION);
        if now.saturating_sub(self.changed_at) >= patience {
            return Action::Update(self.claim(Some(lease)));
        }
        Action::Wait
    }

    /// A write that [`Election::decide`] asked for has succeeded; it was sent at `sent`.
    pub(super) fn won(&mut self, sent: Duration) {
        self.renewed_at = Some(sent);
    }

    /// Whether this candidate may write.
    pub(super) fn leads(&self, now: Duration) -> bool {
        self.leads_until().is_some_and(|until| now < until)
    }

    /// When leadership ends unless it is renewed.
    pub(super) fn leads_until(&self) -> Option<Duration> {
        self.renewed_at.map(|renewed| renewed + DEADLINE)
    }

    /// The write that gives the Lease back, if it is ours. Leadership ends with this call.
    pub(super) fn release(&mut self) -> Option<Claim> {
        self.renewed_at.take()?;
        let lease = self.observed.as_ref().filter(|lease| lease.holder == self.identity)?;
        Some(Claim { holder: String::new(), duration: RELEASED, ..self.claim(Some(lease)) })
    }

    fn claim(&self, lease: Option<&Observed>) -> Claim {
        let ours = lease.is_some_and(|lease| lease.holder == self.identity);
        Claim {
            version: lease.map(|lease| lease.version.clone()),
            holder: self.identity.clone(),
            transitions: lease.map_or(0, |lease| lease.transitions.saturating_add(i32::from(!ours))),
            acquired: lease.filter(|_| ours).map(|lease| lease.acquired.clone()).unwrap_or_default(),
            duration: DURATION,
        }
    }
}

/// How long a follower waits after the last renewal that it saw.
pub(super) const DURATION: Duration = Duration::from_secs(15);
/// How long a leader leads after the last renewal that it sent.
pub(super) const DEADLINE: Duration = Duration::from_secs(10);
/// The pause between two looks at the Lease.
pub(super) const RETRY: Duration = Duration::from_secs(2);
/// How long one request may take.
pub(super) const REQUEST: Duration = Duration::from_secs(5);
/// The duration of a released Lease, which must be positive.
const RELEASED: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
