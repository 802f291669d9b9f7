//! What to say of an object: how far its names have come flows in, conditions for its status flow out. Texts stay the same while
//! the matter does: each change is a write to the cluster.

use super::{NameProgress, Progress, Rejected, Trouble};
use crate::desired::{ObjectKey, Rejection};
use crate::limits::SERVERS_IN_A_MESSAGE;
use crate::name::Name;
use crate::overview::Stage;
use crate::publish::fact::Place;
use crate::publish::failure::{Failure, Remedy, SignatureFault};
use crate::publish::intent::Intent;
use crate::report::Statement;
use nearside_watch::Told;
use nearside_watch::object::DnsEndpointStatus;
use std::collections::BTreeMap;
use std::time::Instant;

/// Why a name does not come further: the first of these that applies is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reason {
    Rejected,
    Conflict,
    Held,
    AuthFailed,
    Stale,
    Refused,
    Contested,
    ServerDown,
    Differs,
    Waiting,
}

impl Reason {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Rejected => "Rejected",
            Self::Conflict => "Conflict",
            Self::Held => "Held",
            Self::AuthFailed => "AuthFailed",
            Self::Stale => "Stale",
            Self::Refused => "Refused",
            Self::Contested => "Contested",
            Self::ServerDown => "ServerDown",
            Self::Differs => "Differs",
            Self::Waiting => "Waiting",
        }
    }
}

impl Progress {
    /// What is to be said of each object; `None` where nothing of it is ours.
    pub fn statements(&self, now: Instant) -> BTreeMap<ObjectKey, Option<Statement>> {
        let mut names: BTreeMap<&ObjectKey, Vec<(&Name, &NameProgress)>> = BTreeMap::new();
        for (name, known) in &self.names {
            if let Some(wanted) = &known.wanted {
                let others = self.shared.get(name).into_iter().flatten();
                for key in std::iter::once(&wanted.object).chain(others) {
                    names.entry(key).or_default().push((name, known));
                }
            }
        }
        let of = |key: &ObjectKey| names.get(key).map_or(&[][..], Vec::as_slice);
        self.objects.keys().map(|key| (key.clone(), self.statement(key, of(key), now))).collect()
    }

    fn statement(&self, key: &ObjectKey, names: &[(&Name, &NameProgress)], now: Instant) -> Option<Statement> {
        let object = self.objects.get(key)?;
        let nothing = Rejected::default();
        let Rejected { faults, left_out } = self.rejected.get(key).unwrap_or(&nothing);
        if names.is_empty() && faults.is_empty() && left_out.is_empty() {
            return None;
        }
        let asked: Vec<&NameProgress> =
            names.iter().map(|(_, known)| *known).filter(|known| matches!(known.intent, Intent::Publish(_))).collect();
        let whole = faults.is_empty() && !asked.is_empty();
        let applied = whole && asked.iter().all(|known| known.is_applied(&self.places, now));
        let visible = whole && asked.iter().all(|known| known.everywhere(&self.places, now) >= Stage::Visible);
        // What is to go is still there, and is of no matter for what is asked for.
        let settled = visible && asked.len() == names.len() && asked.iter().all(|known| known.is_settled(now));
        // Where nothing else is asked for, what is left out is all there is.
        let rejected = if faults.is_empty() && asked.is_empty() { left_out } else { faults };
        let trouble = match rejected.is_empty() {
            false => Some((Reason::Rejected, noted(rejected))),
            true => names.iter().filter_map(|(name, known)| self.trouble(name, known, now)).min_by_key(|(why, _)| *why),
        };
        let down: Vec<String> = names
            .iter()
            .flat_map(|(_, known)| known.at.keys())
            .filter(|place| self.places.get(place).is_some_and(|server| server.is_down_for_good(now)))
            .map(|place| format!("{}: does not answer", place.server))
            .collect();
        let second = names.iter().find_map(|(name, known)| {
            let first = known.wanted.as_ref().map(|wanted| &wanted.object).filter(|first| *first != key)?;
            Some(format!(
                "{name}: DNSEndpoint {first} asks for it, too, and is the first; the records of both are published"
            ))
        });
        let told = |kind, holds: bool, done: &str| {
            let (reason, message) = match &trouble {
                _ if holds && !down.is_empty() => ("Degraded", listed(down.clone())),
                _ if holds && second.is_some() => (Reason::Conflict.word(), second.clone().unwrap_or_default()),
                _ if holds => (done, noted(left_out)),
                Some((reason, message)) => (reason.word(), message.clone()),
                None => ("Waiting", String::new()),
            };
            Told { kind, holds: Some(holds), reason: reason.to_owned(), message }
        };
        let settling = match (settled, visible) {
            (false, true) if trouble.is_none() => Told {
                kind: DnsEndpointStatus::SETTLED,
                holds: Some(false),
                reason: "Waiting".to_owned(),
                message: "older answers may still be held".to_owned(),
            },
            _ => told(DnsEndpointStatus::SETTLED, settled, "Settled"),
        };
        let conditions = vec![
            told(DnsEndpointStatus::APPLIED, applied, "Applied"),
            told(DnsEndpointStatus::VISIBLE, visible, "Visible"),
            settling,
        ];
        Some(Statement { generation: object.generation, visible, conditions })
    }

    /// What stands in the way of a name, with the servers where it does.
    pub(super) fn trouble(&self, name: &Name, known: &NameProgress, now: Instant) -> Option<(Reason, String)> {
        if let Intent::Hold(hold) = &known.intent {
            return Some((Reason::Held, format!("{name}: {hold}")));
        }
        let is_down = |place: &Place| self.places.get(place).is_some_and(|server| server.is_down_for_good(now));
        let all_down = known.at.keys().all(is_down);
        let mut found: BTreeMap<Reason, Vec<String>> = BTreeMap::new();
        for (place, at) in known.at.iter().filter(|(place, _)| all_down || !is_down(place)) {
            let Some((reason, text)) = self.trouble_at(place, known, now) else { continue };
            if at.stage < Stage::Visible {
                found.entry(reason).or_default().push(format!("{}: {text}", place.server));
            }
        }
        let (reason, servers) = found.into_iter().next()?;
        Some((reason, format!("{name}: {}", listed(servers))))
    }

    /// What stands in the way of a name at a place.
    pub(super) fn trouble_at(&self, place: &Place, known: &NameProgress, now: Instant) -> Option<(Reason, String)> {
        let (server, at) = (self.places.get(place)?, known.at.get(place)?);
        match &at.trouble {
            Some(Trouble::Conflict(conflict)) => return Some((Reason::Conflict, conflict.owner.to_string())),
            Some(Trouble::Held(hold)) => return Some((Reason::Held, hold.to_string())),
            Some(Trouble::Unfit(unfit)) => return Some((Reason::Rejected, format!("it {unfit}"))),
            Some(Trouble::Stale(stale)) => return Some((Reason::Stale, stale.to_string())),
            Some(Trouble::Isolated(failure)) => return Some((Reason::Refused, said(failure))),
            None => {}
        }
        if let Some(failure) = server.failure.as_ref().filter(|_| at.stage < Stage::Applied) {
            let reason = match failure.remedy() {
                Remedy::Authorise => Reason::AuthFailed,
                Remedy::Retry => Reason::ServerDown,
                Remedy::Observe | Remedy::Isolate => Reason::Refused,
            };
            return Some((reason, said(failure)));
        }
        if known.is_contested(now) {
            return Some((Reason::Contested, "somebody else changes it again and again".to_owned()));
        }
        if let Some(unseen) = &server.unseen {
            return Some((Reason::ServerDown, unseen.to_string()));
        }
        if !at.differences.is_empty() {
            let differences: Vec<String> = at.differences.iter().map(ToString::to_string).collect();
            return Some((Reason::Differs, differences.join(", ")));
        }
        (at.stage < Stage::Visible).then(|| (Reason::Waiting, "not looked at yet".to_owned()))
    }
}

/// The first of what is left out, in the words that the embedded server has for it: where both run they must not take turns.
fn noted(left_out: &[Rejection]) -> String {
    let Some(first) = left_out.first() else { return String::new() };
    let more = match left_out.len() - 1 {
        0 => String::new(),
        more => format!(" (and {more} more)"),
    };
    format!("{}: {}{more}", first.field, first.problem)
}

/// A failure without what changes from one time to the next.
fn said(failure: &Failure) -> String {
    match failure {
        Failure::Signature(SignatureFault::BadTime(_)) => "BADTIME: the server's clock is another than ours".to_owned(),
        other => other.to_string(),
    }
}

fn listed(mut servers: Vec<String>) -> String {
    servers.sort();
    servers.dedup();
    let more = servers.len().saturating_sub(SERVERS_IN_A_MESSAGE);
    servers.truncate(SERVERS_IN_A_MESSAGE);
    let mut text = servers.join("; ");
    if more > 0 {
        text.push_str(&format!("; and {more} more"));
    }
    text
}
