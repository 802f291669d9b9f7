//! Keeps one zone on one server as it is desired: intents flow in, signed updates flow out, facts are told. One task for each
//! (server, zone), so that a server that is slow, dead or refuses delays no other server and no other zone.
//!
//! A round reads what the server holds at the names that are due, plans from that, sends what differs and reads it back: NOERROR says
//! that a message was accepted, not that anything has changed (a record beside a CNAME is accepted and dropped). After a failure the
//! newest intents are planned anew from what is read then; nothing is ever replayed.

mod due;
mod notices;
mod round;

use super::backoff::Backoff;
use super::drift::Drift;
use super::fact::{Event, Facts, Place};
use super::failure::Failure;
use super::feed::ZoneChange;
use super::fence::Fence;
use super::garbage::find;
use super::intent::Intent;
use super::isolation::Isolation;
use super::key::UnusableKey;
use super::plan::ZonePolicy;
use super::session::Session;
use crate::chance::chance;
use crate::limits::{CENSUS_PERIOD, FIRST_CENSUS, SCAN_PERIOD, SECRET_CHECK};
use crate::name::Name;
use due::Due;
use notices::Notices;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::{mpsc, watch};

/// The task of one zone on one server.
#[derive(Debug)]
pub struct Worker {
    place: Place,
    policy: Arc<ZonePolicy>,
    session: Session,
    changes: mpsc::UnboundedReceiver<Arc<ZoneChange>>,
    /// What is desired.
    intents: BTreeMap<Name, Intent>,
    /// Since when the source has told all changes without a break.
    live_since: Option<Instant>,
    facts: Facts,
    dry_run: bool,
    due: Due,
    fence: Fence,
    isolation: Isolation,
    drift: Drift,
    backoff: Backoff,
    notices: Notices,
    /// Nothing is tried before.
    paused_until: Option<Instant>,
    /// When the whole zone is read next, once it is known what is asked for.
    census_at: Option<Instant>,
    /// How the last such reading failed.
    census_failure: Option<Failure>,
    /// The files of keys that were of no use when that was told last.
    unusable_keys: Vec<UnusableKey>,
}

impl Worker {
    /// A worker that has done nothing yet. In a dry run it reads and plans, and sends no update.
    pub fn new(
        place: Place,
        policy: Arc<ZonePolicy>,
        session: Session,
        changes: mpsc::UnboundedReceiver<Arc<ZoneChange>>,
        facts: Facts,
        dry_run: bool,
    ) -> Self {
        Self {
            place,
            policy,
            session,
            changes,
            intents: BTreeMap::new(),
            live_since: None,
            facts,
            dry_run,
            due: Due::default(),
            fence: Fence::default(),
            isolation: Isolation::default(),
            drift: Drift::default(),
            backoff: Backoff::default(),
            notices: Notices::default(),
            paused_until: None,
            census_at: None,
            census_failure: None,
            unusable_keys: Vec::new(),
        }
    }

    /// Works until the end is asked for. A message that is on its way then is waited for.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        loop {
            while let Ok(change) = self.changes.try_recv() {
                self.take(&change);
            }
            if *stop.borrow() {
                return;
            }
            self.tell_unusable_keys();
            let now = Instant::now();
            if self.paused_until.is_none_or(|until| until <= now) && self.due.next().is_some_and(|at| at <= now) {
                self.paused_until = None;
                match self.round(&stop).await {
                    Ok(()) => {}
                    Err(failure) => self.pause(failure),
                }
                continue;
            }
            if self.paused_until.is_none() && self.census_at.is_some_and(|at| at <= now) {
                self.census().await;
                continue;
            }
            let next = self.paused_until.or_else(|| self.due.next().into_iter().chain(self.census_at).min());
            tokio::select! {
                change = self.changes.recv() => match change {
                    Some(change) => self.take(&change),
                    None => return,
                },
                _ = stop.changed() => {}
                () = sleep_until(next) => {}
                () = tokio::time::sleep(SECRET_CHECK), if self.paused_until.is_some() => {
                    if self.session.keys_have_changed() {
                        tracing::info!(place = %self.place, "a secret has changed: trying again");
                        self.backoff.reset();
                        self.paused_until = None;
                    }
                }
            }
        }
    }

    /// Makes those names due of which something else is desired now. Of several changes the newest counts.
    fn take(&mut self, change: &ZoneChange) {
        let now = Instant::now();
        self.live_since = change.live_since;
        if self.live_since.is_some() && self.census_at.is_none() && self.session.is_signed() {
            self.census_at = Some(now + FIRST_CENSUS.mul_f64(0.5 + chance() / 2.0));
        }
        for (name, intent) in &change.names {
            self.isolation.forget([name]);
            match intent {
                Some(intent) => {
                    self.intents.insert(name.clone(), intent.clone());
                    self.due.urgent(name, now);
                }
                None => {
                    self.intents.remove(name);
                    self.due.forget(name);
                    self.notices.forget(name);
                }
            }
        }
    }

    /// Reads the whole zone, and tells which names of it nobody asks for. A server that does not give it is asked again much later.
    async fn census(&mut self) {
        let result = self.session.transfer(&self.place.zone).await;
        let now = Instant::now();
        self.census_at = Some(now + CENSUS_PERIOD.mul_f64(0.5 + chance() / 2.0));
        match result {
            Ok(content) => {
                let found = find(&self.policy, &content, |name| self.intents.contains_key(name));
                self.census_failure = None;
                // What is not known because the source does not tell everything is no garbage.
                if !found.is_empty() && self.live_since.is_some() {
                    tracing::info!(place = %self.place, names = found.len(), "nobody asks for some names of the zone");
                    self.facts.tell(&self.place, now, Event::Found(found));
                }
            }
            Err(failure) => {
                if self.census_failure.as_ref() != Some(&failure) {
                    tracing::info!(
                        place = %self.place,
                        "the zone cannot be read as a whole, so what nobody asks for any more stays there: {failure}"
                    );
                }
                self.census_failure = Some(failure);
            }
        }
    }

    /// Tells which files of keys are of no use, where that is others than before.
    fn tell_unusable_keys(&mut self) {
        let unusable = self.session.unusable_keys();
        if unusable == self.unusable_keys {
            return;
        }
        for new in unusable.iter().filter(|one| !self.unusable_keys.contains(one)) {
            tracing::warn!(place = %self.place, "a file of keys is of no use; the keys read from it before, if any, are used: {new}");
        }
        if unusable.is_empty() {
            tracing::info!(place = %self.place, "all files of keys can be read");
        }
        self.facts.tell(&self.place, Instant::now(), Event::UnusableKeys(unusable.len()));
        self.unusable_keys = unusable;
    }

    fn pause(&mut self, failure: Failure) {
        let pause = self.backoff.failed(failure.remedy(), chance());
        if self.backoff.failures().is_power_of_two() {
            tracing::warn!(place = %self.place, failures = self.backoff.failures(), "{failure}");
        }
        let now = Instant::now();
        self.facts.tell(&self.place, now, Event::Failed { failure, pause });
        self.paused_until = Some(now + pause);
    }

    /// What is desired of these names; those that nobody speaks of any more are left out.
    fn intents_of(&self, names: &[Name]) -> BTreeMap<Name, Intent> {
        names.iter().filter_map(|name| Some((name.clone(), self.intents.get(name)?.clone()))).collect()
    }

    /// When a name that is as it should be is looked at again: not all at the same time.
    fn next_scan(now: Instant) -> Instant {
        now + SCAN_PERIOD.mul_f64(0.5 + chance() / 2.0)
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
