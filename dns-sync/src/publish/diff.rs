//! A plan as people and scripts read it: a plan and what was read flow in, one line for each name that is not as desired flows out,
//! as text or as JSON. Called by the command `plan`, and for the log of a dry run.

use super::fact::Place;
use super::observed::Observed;
use super::plan::{Write, WriteKind, ZonePlan};
use super::update::Change;
use crate::name::Name;
use crate::record::{RecordType, Rrset};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// What would change at one place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PlaceDiff {
    /// The apex of the zone.
    pub zone: String,
    /// The server.
    pub server: String,
    /// Why nothing is known of it, where it could not be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Names that are as they should be.
    pub unchanged: usize,
    /// The others.
    pub names: Vec<NameDiff>,
}

/// What would become of one name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NameDiff {
    /// The name.
    pub name: String,
    /// What sort of change it is.
    pub action: Action,
    /// Records that would go.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub removed: Vec<String>,
    /// Records that would come.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub added: Vec<String>,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What would become of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the words say it")]
pub enum Action {
    Create,
    Change,
    Withdraw,
    Conflict,
    Hold,
}

impl PlaceDiff {
    /// What a plan would change.
    pub fn new(place: &Place, plan: &ZonePlan, observed: &BTreeMap<Name, Observed>) -> Self {
        let mut names: BTreeMap<Name, NameDiff> = BTreeMap::new();
        for write in &plan.writes {
            names.insert(write.name.clone(), written(write, observed.get(&write.name)));
        }
        let conflicts =
            plan.conflicts.iter().map(|(name, conflict)| (name, Action::Conflict, conflict.owner.to_string()));
        let unfit = plan.unfit.iter().map(|(name, unfit)| (name, Action::Conflict, unfit.to_string()));
        let holds = plan.holds.iter().map(|(name, hold)| (name, Action::Hold, hold.to_string()));
        let stale = plan.stale.iter().map(|(name, stale)| (name, Action::Hold, stale.to_string()));
        for (name, action, reason) in conflicts.chain(unfit).chain(holds).chain(stale) {
            names.insert(name.clone(), unwritten(name, action, reason));
        }
        Self {
            zone: place.zone.to_string(),
            server: place.server.to_string(),
            error: None,
            unchanged: plan.unchanged.len(),
            names: names.into_values().collect(),
        }
    }

    /// A place that could not be read.
    pub fn unread(place: &Place, error: impl fmt::Display) -> Self {
        let (zone, server) = (place.zone.to_string(), place.server.to_string());
        Self { zone, server, error: Some(error.to_string()), unchanged: 0, names: Vec::new() }
    }

    /// Notes a name that could not be read.
    pub fn unreadable(&mut self, name: &Name, error: impl fmt::Display) {
        self.names.push(unwritten(name, Action::Hold, error.to_string()));
    }

    /// Whether anything would be written.
    pub fn has_changes(&self) -> bool {
        self.names.iter().any(|name| matches!(name.action, Action::Create | Action::Change | Action::Withdraw))
    }
}

fn written(write: &Write, observed: Option<&Observed>) -> NameDiff {
    let (mut removed, mut added) = (BTreeSet::new(), BTreeSet::new());
    for change in &write.changes {
        match change {
            Change::DeleteRrset(name, record_type) if *name == write.name => {
                let held = observed.and_then(|observed| observed.sets.get(record_type));
                removed.extend(held.into_iter().flat_map(records));
            }
            Change::AddRrset(name, rrset) if *name == write.name => added.extend(records(rrset)),
            _ => {}
        }
    }
    let both: Vec<String> = removed.intersection(&added).cloned().collect();
    for record in both {
        removed.remove(&record);
        added.remove(&record);
    }
    let (action, reason) = match write.kind {
        WriteKind::Create => (Action::Create, None),
        WriteKind::Replace if removed.is_empty() && added.is_empty() => (Action::Change, Some("its marker alone")),
        WriteKind::Replace => (Action::Change, None),
        WriteKind::Repair => (Action::Change, Some("somebody else has changed it")),
        WriteKind::Adopt => (Action::Change, Some("taken over")),
        WriteKind::Delete => (Action::Withdraw, None),
    };
    NameDiff {
        name: write.name.to_string(),
        action,
        removed: removed.into_iter().collect(),
        added: added.into_iter().collect(),
        reason: reason.map(ToOwned::to_owned),
    }
}

fn unwritten(name: &Name, action: Action, reason: String) -> NameDiff {
    NameDiff { name: name.to_string(), action, removed: Vec::new(), added: Vec::new(), reason: Some(reason) }
}

/// The records of a set, each with TTL and type as in a zone file.
pub fn records(rrset: &Rrset) -> Vec<String> {
    let record_type: RecordType = rrset.data.record_type();
    let data = rrset.data.presentation().into_iter();
    data.map(|data| format!("{} {record_type} {data}", rrset.ttl.seconds())).collect()
}

/// A head for the place, and a line for each name; the records of a changed name in lines below it.
impl fmt::Display for PlaceDiff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}: ", self.zone, self.server)?;
        match &self.error {
            Some(error) => writeln!(f, "cannot be read: {error}")?,
            None => writeln!(f, "{} of {} as desired", self.unchanged, self.unchanged + self.names.len())?,
        }
        self.names.iter().try_for_each(|name| write!(f, "{name}"))
    }
}

impl fmt::Display for NameDiff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match self.action {
            Action::Create => '+',
            Action::Change => '~',
            Action::Withdraw => '-',
            Action::Conflict => '!',
            Action::Hold => '=',
        };
        let reason = self.reason.as_ref().map(|reason| format!("  ({reason})")).unwrap_or_default();
        writeln!(f, "{sign} {}{reason}", self.name)?;
        self.removed.iter().try_for_each(|record| writeln!(f, "    - {record}"))?;
        self.added.iter().try_for_each(|record| writeln!(f, "    + {record}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::desired::ObjectKey;
    use crate::publish::intent::{DesiredName, Hold, Intent};
    use crate::publish::marker::Marker;
    use crate::publish::observed::{ObservedMarker, RecordSets};
    use crate::publish::plan::{Lapsed, ZonePolicy, plan};
    use crate::record::{RrsetData, Ttl};
    use crate::testing::{a, name};

    #[test]
    fn every_name_that_is_not_as_desired_has_its_sign_and_its_reason() {
        let policy =
            ZonePolicy { origin: name("test"), cluster: "prod".into(), dedicated: false, adopt: BTreeSet::new() };
        let object = ObjectKey { namespace: "router".into(), name: "o".into() };
        let publish = |sets: RecordSets| Intent::Publish(DesiredName { sets, generation: 2, object: object.clone() });
        let ours = |sets: RecordSets| {
            let marker = ObservedMarker::Read(Marker::of("prod", 1, &sets));
            Observed { sets, marker, external_dns: None }
        };
        let foreign = Observed { sets: a(&["192.0.2.9"]), ..Observed::default() };
        let intents = BTreeMap::from([
            (name("add.test"), publish(a(&["192.0.2.1"]))),
            (name("swap.test"), publish(a(&["192.0.2.1", "192.0.2.2"]))),
            (name("gone.test"), Intent::Withdraw { generation: 2 }),
            (name("theirs.test"), publish(a(&["192.0.2.1"]))),
            (name("held.test"), Intent::Hold(Hold::SourceSilent)),
        ]);
        let observed = BTreeMap::from([
            (name("add.test"), Observed::default()),
            (name("swap.test"), ours(a(&["192.0.2.2", "192.0.2.3"]))),
            (name("gone.test"), ours(a(&["192.0.2.1"]))),
            (name("theirs.test"), foreign),
            (name("held.test"), Observed::default()),
        ]);
        let place = Place { zone: name("test"), server: "192.0.2.53:53".parse().unwrap() };
        let diff = PlaceDiff::new(&place, &plan(&policy, &intents, &observed, &Lapsed::new()), &observed);
        assert!(diff.has_changes());
        let text = diff.to_string();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[..3], ["test at 192.0.2.53:53: 0 of 5 as desired", "+ add.test", "    + 30 A 192.0.2.1"]);
        assert_eq!(lines[3..5], ["- gone.test", "    - 30 A 192.0.2.1"]);
        assert!(lines[5].starts_with("= held.test  ("), "{}", lines[5]);
        assert_eq!(lines[6..9], ["~ swap.test", "    - 30 A 192.0.2.3", "    + 30 A 192.0.2.1"]);
        assert!(lines[9].starts_with("! theirs.test  (records without a marker stand there"), "{}", lines[9]);
        let json = serde_json::to_value(&diff).unwrap();
        assert_eq!(json["names"][0]["action"], "create");
        assert_eq!(json["names"][0]["added"][0], "30 A 192.0.2.1");
    }

    #[test]
    fn texts_are_written_as_in_a_zone_file() {
        let data = RrsetData::Txt(vec![vec![b"a \"b\"".as_slice().into(), b"\x01".as_slice().into()]]);
        assert_eq!(records(&Rrset { ttl: Ttl::constant(5), data }), [r#"5 TXT "a \"b\"" "\001""#]);
    }
}
