//! Which names are at fault when a server refuses messages: results of messages flow in, the size of the messages that a name
//! may be part of flows out. Pure; one for each (server, zone), kept by its worker, asked by `batch`.
//!
//! A server says that a message fails, not because of which name. So the names of a message that has failed three times are
//! sent in halves, and the halves in halves, until a name that fails is alone. It is left out then, for a time that grows, and
//! reported. That only counts while the server applies other messages: one that applies nothing is ill itself.

use super::failure::{Failure, Remedy};
use crate::limits::{FIRST_QUARANTINE, LONGEST_QUARANTINE, MAX_UPDATE_NAMES, STRIKES};
use crate::name::Name;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// What is known of names at fault.
#[derive(Clone, Debug, Default)]
pub struct Isolation {
    suspects: BTreeMap<Name, Suspect>,
    /// How many messages were applied.
    applied: u64,
}

#[derive(Clone, Debug)]
struct Suspect {
    strikes: u32,
    /// With how many names at most it may share a message.
    group: usize,
    /// How many messages were applied at its first strike.
    applied: u64,
    quarantine: Option<Quarantine>,
}

/// A name that is left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantine {
    /// When it is tried again, alone.
    pub until: Instant,
    /// How the server refused it.
    pub failure: Failure,
    /// For how long it is left out this time.
    pub pause: Duration,
}

/// What to do after a message failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Consequence {
    /// Read and plan again, after the back-off for the failure.
    Retry,
    /// Read and plan again at once: the names are sent in smaller messages.
    Divide,
    /// The only name of the message is left out from now on; the others go on.
    Quarantined(Name, Quarantine),
}

impl Isolation {
    /// With how many names a name may share a message now; none where it is left out.
    pub fn group(&self, name: &Name, now: Instant) -> Option<usize> {
        match self.suspects.get(name) {
            None => Some(MAX_UPDATE_NAMES),
            Some(Suspect { quarantine: Some(quarantine), .. }) if quarantine.until > now => None,
            Some(suspect) => Some(suspect.group),
        }
    }

    /// Takes note that a message was applied.
    pub fn applied<'n>(&mut self, names: impl IntoIterator<Item = &'n Name>) {
        self.applied += 1;
        for name in names {
            self.suspects.remove(name);
        }
    }

    /// Takes note that a message failed.
    pub fn failed(&mut self, names: &[Name], failure: &Failure, now: Instant) -> Consequence {
        if failure.remedy() == Remedy::Authorise {
            return Consequence::Retry;
        }
        let at_once = *failure == Failure::TooLarge;
        let group = names.len().div_ceil(2);
        let (mut divide, mut proven) = (false, false);
        for name in names {
            let fresh = Suspect { strikes: 0, group: MAX_UPDATE_NAMES, applied: self.applied, quarantine: None };
            let suspect = self.suspects.entry(name.clone()).or_insert(fresh);
            suspect.strikes = suspect.strikes.saturating_add(1);
            if suspect.strikes >= STRIKES || at_once {
                suspect.group = group;
                divide = true;
                proven |= self.applied > suspect.applied || at_once;
            }
        }
        match names {
            [name] if divide && proven => match self.suspects.get_mut(name) {
                Some(suspect) => Consequence::Quarantined(name.clone(), suspect.leave_out(failure, now)),
                None => Consequence::Retry,
            },
            _ if divide && proven => Consequence::Divide,
            _ => Consequence::Retry,
        }
    }

    /// The names that are left out, or were and are not applied yet.
    pub fn quarantined(&self) -> impl Iterator<Item = (&Name, &Quarantine)> {
        self.suspects.iter().filter_map(|(name, suspect)| Some((name, suspect.quarantine.as_ref()?)))
    }

    /// When the next name that is left out is tried again.
    pub fn next(&self, now: Instant) -> Option<Instant> {
        self.quarantined().map(|(_, quarantine)| quarantine.until).filter(|until| *until > now).min()
    }

    /// Forgets names whose content is right, or is another one now: what was refused is not sent any more.
    pub fn forget<'n>(&mut self, names: impl IntoIterator<Item = &'n Name>) {
        for name in names {
            self.suspects.remove(name);
        }
    }
}

impl Suspect {
    fn leave_out(&mut self, failure: &Failure, now: Instant) -> Quarantine {
        let last = self.quarantine.as_ref().map(|quarantine| quarantine.pause * 2);
        let pause = last.map_or(FIRST_QUARANTINE, |pause| pause.min(LONGEST_QUARANTINE));
        let quarantine = Quarantine { until: now + pause, failure: failure.clone(), pause };
        self.quarantine = Some(quarantine.clone());
        quarantine
    }
}

#[cfg(test)]
mod tests;
