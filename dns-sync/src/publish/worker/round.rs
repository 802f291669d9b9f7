//! One round of a worker: the names that are due flow in; what the server holds there is read, what differs is sent and read back,
//! and each name becomes due again when there is reason to.

use super::Worker;
use crate::chance::chance;
use crate::limits::{ROUND_NAMES, STALE_CHECK, UNREADABLE_PAUSE};
use crate::name::Name;
use crate::publish::batch::{Batch, Round};
use crate::publish::fact::{Event, NameEvent};
use crate::publish::failure::{Failure, Remedy};
use crate::publish::isolation::Consequence;
use crate::publish::plan::{Write, WriteKind, ZonePlan, plan};
use std::collections::BTreeSet;
use std::time::Instant;
use tokio::sync::watch;

impl Worker {
    /// Works on what is due.
    ///
    /// # Errors
    /// Where the server as a whole cannot be worked with now. What could not be done is due again.
    pub(super) async fn round(&mut self, stop: &watch::Receiver<bool>) -> Result<(), Failure> {
        let mut open: BTreeSet<Name> = self.due.take(Instant::now(), ROUND_NAMES).into_iter().collect();
        open.retain(|name| self.intents.contains_key(name));
        let outcome = self.work(&mut open, stop).await;
        let now = Instant::now();
        open.iter().for_each(|name| self.due.urgent(name, now));
        outcome
    }

    /// Removes from `open` what has become due otherwise.
    async fn work(&mut self, open: &mut BTreeSet<Name>, stop: &watch::Receiver<bool>) -> Result<(), Failure> {
        let names: Vec<Name> = open.iter().cloned().collect();
        let writes = self.planned(&names, open).await?;
        if self.dry_run {
            for write in &writes {
                open.remove(&write.name);
                self.due.settled(&write.name, Self::next_scan(Instant::now()));
            }
            return Ok(());
        }
        let now = Instant::now();
        for (name, quarantine) in self.isolation.quarantined().filter(|(_, quarantine)| quarantine.until > now) {
            if open.remove(name) {
                self.due.not_before(name, quarantine.until);
            }
        }
        let writes = self.patient(writes, open, now);
        let mut round = Round::new(writes, &self.isolation, now);
        while let Some(batch) = round.next() {
            if *stop.borrow() {
                return Ok(());
            }
            let done = match self.send(&batch).await {
                Ok(()) => {
                    let repairs = batch.writes.iter().filter(|write| write.kind == WriteKind::Repair);
                    repairs.for_each(|write| self.drift.repaired(&write.name, now));
                    self.read_back(&batch, open).await?
                }
                Err(failure) => self.refused(&batch, failure, open)?,
            };
            // A name that is alone in its message holds up nobody but itself.
            if !done && batch.writes.len() > 1 {
                round.failed(&batch);
            }
        }
        Ok(())
    }

    /// Leaves out names that somebody else changes again and again, until it is time to repair them once more.
    fn patient(&mut self, mut writes: Vec<Write>, open: &mut BTreeSet<Name>, now: Instant) -> Vec<Write> {
        writes.retain(|write| {
            let contested =
                (write.kind == WriteKind::Repair).then(|| self.drift.waits_until(&write.name, now)).flatten();
            if let Some(until) = contested {
                open.remove(&write.name);
                self.due.not_before(&write.name, until);
            }
            contested.is_none()
        });
        writes
    }

    /// Reads names and plans them: what needs no write is settled and told.
    async fn planned(&mut self, names: &[Name], open: &mut BTreeSet<Name>) -> Result<Vec<Write>, Failure> {
        let observation = self.session.observe(&self.place.zone, names).await?;
        let now = Instant::now();
        self.facts.tell(&self.place, now, Event::Reached);
        for (name, failure) in observation.unreadable {
            open.remove(&name);
            self.due.not_before(&name, now + UNREADABLE_PAUSE);
            self.tell(name, NameEvent::Isolated { failure, pause: UNREADABLE_PAUSE });
        }
        let lapsed = self.fence.lapsed(self.live_since, now);
        let mut plan = plan(&self.policy, &self.intents_of(names), &observation.names, &lapsed);
        self.fence.note(&plan, now);
        let writes = std::mem::take(&mut plan.writes);
        self.settle(plan, open);
        for write in &writes {
            self.tell(write.name.clone(), NameEvent::Differs(write.kind));
        }
        Ok(writes)
    }

    /// Tells what needs no write, and when it is looked at again.
    fn settle(&mut self, plan: ZonePlan, open: &mut BTreeSet<Name>) {
        let now = Instant::now();
        self.isolation.forget(plan.unchanged.keys());
        let unchanged = plan.unchanged.into_iter().map(|(name, generation)| {
            let event = generation.map_or(NameEvent::Gone, |generation| NameEvent::Applied { generation });
            (name, event)
        });
        let conflicts = plan.conflicts.into_iter().map(|(name, conflict)| (name, NameEvent::Conflict(conflict)));
        let holds = plan.holds.into_iter().map(|(name, hold)| (name, NameEvent::Held(hold)));
        let unfit = plan.unfit.into_iter().map(|(name, unfit)| (name, NameEvent::Unfit(unfit)));
        for (name, event) in unchanged.chain(conflicts).chain(holds).chain(unfit) {
            open.remove(&name);
            self.due.settled(&name, Self::next_scan(now));
            self.tell(name, event);
        }
        for (name, stale) in plan.stale {
            open.remove(&name);
            self.due.not_before(&name, now + STALE_CHECK);
            self.tell(name, NameEvent::Stale(stale));
        }
    }

    async fn send(&mut self, batch: &Batch) -> Result<(), Failure> {
        let sent = Instant::now();
        let outcome = self.session.update(&batch.update(&self.place.zone)).await;
        let now = Instant::now();
        let event = Event::Updated { names: batch.writes.len(), took: now - sent, outcome: outcome.clone() };
        self.facts.tell(&self.place, now, event);
        outcome
    }

    /// Looks whether what was accepted is there. Gives whether it is.
    async fn read_back(&mut self, batch: &Batch, open: &mut BTreeSet<Name>) -> Result<bool, Failure> {
        let names: Vec<Name> = batch.names().cloned().collect();
        let missing = self.planned(&names, open).await?;
        let missing: BTreeSet<Name> = missing.into_iter().map(|write| write.name).collect();
        let made: Vec<&Name> = names.iter().filter(|name| !missing.contains(*name)).collect();
        if !made.is_empty() {
            self.isolation.applied(made);
            self.backoff.reset();
        }
        for name in &missing {
            self.blame(std::slice::from_ref(name), Failure::NotMade, open);
        }
        Ok(missing.is_empty())
    }

    /// Draws the consequence of a message that was not applied. Gives whether everything in it has been dealt with.
    fn refused(&mut self, batch: &Batch, failure: Failure, open: &mut BTreeSet<Name>) -> Result<bool, Failure> {
        let names: Vec<Name> = batch.names().cloned().collect();
        match failure.remedy() {
            Remedy::Observe | Remedy::Isolate => Ok(self.blame(&names, failure, open)),
            Remedy::Retry => {
                self.blame(&names, failure.clone(), open);
                Err(failure)
            }
            Remedy::Authorise => Err(failure),
        }
    }

    /// Notes that names could not be written together. Gives whether they are left out from now on.
    fn blame(&mut self, names: &[Name], failure: Failure, open: &mut BTreeSet<Name>) -> bool {
        let now = Instant::now();
        match self.isolation.failed(names, &failure, now) {
            Consequence::Retry if failure.remedy() == Remedy::Retry => false,
            Consequence::Retry => {
                let pause = self.backoff.failed(failure.remedy(), chance());
                for name in names {
                    open.remove(name);
                    self.due.not_before(name, now + pause);
                }
                false
            }
            Consequence::Divide => false,
            Consequence::Quarantined(name, quarantine) => {
                open.remove(&name);
                self.due.not_before(&name, quarantine.until);
                self.tell(name, NameEvent::Isolated { failure, pause: quarantine.pause });
                true
            }
        }
    }

    fn tell(&mut self, name: Name, event: NameEvent) {
        self.notices.note(&self.place, &name, &event, self.dry_run);
        self.facts.tell(&self.place, Instant::now(), Event::Name(name, event));
    }
}
