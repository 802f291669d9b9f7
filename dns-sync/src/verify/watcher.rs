//! Looks at one name server for ever: what should stand at each name flows in through [`Watcher`], a sighting for each look
//! flows out. Each server has a task of its own, so that a dead one holds up no other.

use super::resolver::{Resolver, Unseen};
use super::schedule::{Ended, Look, Schedule};
use super::{Difference, asked, differences};
use crate::name::Name;
use crate::publish::fact::Place;
use crate::publish::intent::DesiredName;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// What one look at a server has shown.
#[derive(Clone, Debug)]
pub struct Sighting {
    /// The zone and the server.
    pub place: Place,
    /// The owner name.
    pub name: Name,
    /// What should have stood there.
    pub wanted: Arc<DesiredName>,
    /// Everything in which the answer differs from that; none where it is visible.
    pub outcome: Result<Vec<Difference>, Unseen>,
    /// When the answer came.
    pub at: Instant,
}

/// Where sightings go.
pub type Sightings = mpsc::Sender<Sighting>;

/// What is wanted of one server; whoever decides that and the task that looks share one.
#[derive(Clone, Debug)]
pub struct Watcher {
    schedule: Arc<Mutex<Schedule>>,
    changed: Arc<Notify>,
    epoch: Instant,
}

impl Default for Watcher {
    fn default() -> Self {
        Self { schedule: Arc::default(), changed: Arc::default(), epoch: Instant::now() }
    }
}

impl Watcher {
    /// This should stand at a name; `None` where it is not ours to say any more.
    pub fn want(&self, name: &Name, wanted: Option<&Arc<DesiredName>>) {
        match wanted {
            Some(wanted) => self.lock().want(name, wanted, self.now()),
            None => self.lock().forget(name),
        }
        self.changed.notify_one();
    }

    /// Something was written at a name.
    pub fn written(&self, name: &Name) {
        self.lock().hurry(name, self.now());
        self.changed.notify_one();
    }

    /// Looks until nobody takes the sightings any more.
    pub async fn run(self, place: Place, resolver: Resolver, sightings: Sightings) {
        let mut looks: JoinSet<(Look, Result<Vec<Difference>, Unseen>)> = JoinSet::new();
        loop {
            while let Some(look) = { self.lock().take(self.now()) } {
                let resolver = resolver.clone();
                looks.spawn(async move {
                    let seen = resolver.seen(&look.name, &asked(&look.wanted.sets)).await;
                    let outcome = seen.map(|seen| differences(&look.wanted.sets, &seen));
                    (look, outcome)
                });
            }
            let next = self.lock().next(self.now());
            tokio::select! {
                () = self.changed.notified() => {}
                Some(Ok((look, outcome))) = looks.join_next(), if !looks.is_empty() => {
                    let ended = match &outcome {
                        Ok(differences) if differences.is_empty() => Ended::Visible,
                        Err(unseen) if unseen.is_silence() => Ended::Silent,
                        Ok(_) | Err(_) => Ended::Differs,
                    };
                    self.lock().ended(&look, ended, self.now());
                    let Look { name, wanted } = look;
                    let sighting = Sighting { place: place.clone(), name, wanted, outcome, at: Instant::now() };
                    if sightings.send(sighting).await.is_err() {
                        return;
                    }
                }
                () = tokio::time::sleep_until(self.epoch + next.unwrap_or_default()), if next.is_some() => {}
                () = sightings.closed() => return,
            }
        }
    }

    fn now(&self) -> Duration {
        self.epoch.elapsed()
    }

    fn lock(&self) -> MutexGuard<'_, Schedule> {
        self.schedule.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
