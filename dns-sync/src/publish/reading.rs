//! Reads what a server holds at names, for the plan: names flow in, [`Observation`] flows out. A pure part chooses the questions and
//! judges the replies; the connection asks. Called by the worker, through [`Connection::observe`].
//!
//! A wildcard of the zone answers for names that do not exist, with authority and under their name. Such an answer is told from a
//! real one by asking for the wildcards above as well, and where both are alike by an update that changes nothing and demands that
//! the name is in use (RFC 2136 §2.4.4), which no wildcard satisfies.

use super::connection::Connection;
use super::failure::Failure;
use super::marker::{Marker, digest, marker_name};
use super::observed::{Observation, Observed, ObservedMarker, RecordSets};
use super::update::{Prerequisite, Update};
use crate::name::{Name, wildcard_of};
use crate::record::{RecordType, RrsetData, Text};
use crate::wire::exchange::Reply;
use crate::wire::rdata::gather;
use std::collections::{BTreeMap, BTreeSet};

impl Connection {
    /// Reads names of a zone, with their markers and what an external-dns has noted about them.
    ///
    /// # Errors
    /// Where the server does not answer, or not for this zone. What is wrong with one name alone is in the observation.
    pub async fn observe(&mut self, zone: &Name, names: &[Name]) -> Result<Observation, Failure> {
        let questions = questions(zone, names);
        let questions: Vec<(Name, RecordType)> = questions.into_iter().collect();
        let replies = self.query(&questions).await?;
        let answers = Answers(questions.into_iter().zip(replies).collect());
        answers.check_zone(zone)?;
        let mut observation = Observation::default();
        for name in names {
            match self.observed(zone, name, &answers).await {
                Ok(observed) => {
                    observation.names.insert(name.clone(), observed);
                }
                Err(failure) if self.is_usable() => {
                    observation.unreadable.insert(name.clone(), failure);
                }
                Err(failure) => return Err(failure),
            }
        }
        Ok(observation)
    }

    async fn observed(&mut self, zone: &Name, name: &Name, answers: &Answers) -> Result<Observed, Failure> {
        let marker = match marker_name(name, zone) {
            Some(marker) => observed_marker(self.standing(zone, &marker, &[RecordType::Txt], answers, None).await?),
            None => ObservedMarker::Absent,
        };
        let sets = self.standing(zone, name, &TYPES, answers, Some(&marker)).await?;
        let mut external_dns = sets.get(&RecordType::Txt).and_then(|set| owner_of(&set.data));
        for noted in external_dns_names(zone, name) {
            if external_dns.is_some() {
                break;
            }
            let sets = self.standing(zone, &noted, &[RecordType::Txt], answers, None).await?;
            external_dns = sets.get(&RecordType::Txt).and_then(|set| owner_of(&set.data));
        }
        Ok(Observed { sets, marker, external_dns })
    }

    /// The RRsets that stand at a name itself. Where a marker says that just these stand there, they do.
    async fn standing(
        &mut self,
        zone: &Name,
        name: &Name,
        types: &[RecordType],
        answers: &Answers,
        marker: Option<&ObservedMarker>,
    ) -> Result<RecordSets, Failure> {
        let sets = answers.sets(name, types)?;
        let marked = matches!(marker, Some(ObservedMarker::Read(marker)) if marker.digest == digest(&sets));
        if sets.is_empty() || marked || !answers.may_be_of_a_wildcard(zone, name, types, &sets) {
            return Ok(sets);
        }
        let prerequisites = vec![Prerequisite::NameInUse(name.clone())];
        match self.update(&Update { zone: zone.clone(), prerequisites, changes: Vec::new() }).await {
            Ok(()) => Ok(sets),
            Err(Failure::Prerequisite("NXDOMAIN")) => Ok(RecordSets::new()),
            Err(failure) => Err(failure),
        }
    }
}

/// All questions that names give rise to, each once.
fn questions(zone: &Name, names: &[Name]) -> BTreeSet<(Name, RecordType)> {
    let mut questions = BTreeSet::new();
    let mut ask = |name: &Name, types: &[RecordType]| {
        for name in [name.clone()].into_iter().chain(wildcards_above(zone, name)) {
            questions.extend(types.iter().map(|record_type| (name.clone(), *record_type)));
        }
    };
    ask(zone, &[RecordType::Soa]);
    for name in names {
        ask(name, &TYPES);
        marker_name(name, zone).iter().for_each(|marker| ask(marker, &[RecordType::Txt]));
        external_dns_names(zone, name).iter().for_each(|noted| ask(noted, &[RecordType::Txt]));
    }
    questions
}

/// The wildcards that could stand for a name (RFC 4592 §3.3.1), which of them does depends on what else exists.
fn wildcards_above(zone: &Name, name: &Name) -> Vec<Name> {
    let below = name.label_count().saturating_sub(zone.label_count());
    let parents = name.suffixes().skip(1).take(below);
    let wildcards = parents.filter_map(|parent| Name::from_wire(&wildcard_of(parent)));
    wildcards.filter(|wildcard| wildcard != name).collect()
}

/// Where an external-dns notes its ownership of a name beside the name itself.
fn external_dns_names(zone: &Name, name: &Name) -> Vec<Name> {
    let first = name.labels().next().unwrap_or_default();
    let noted = ["a-", "aaaa-", "cname-"].into_iter().filter_map(|prefix| {
        let label = [prefix.as_bytes(), first].concat();
        Name::from_labels([&label[..]].into_iter().chain(name.labels().skip(1)))
    });
    noted.filter(|noted| noted.is_within(zone)).collect()
}

/// The owner in a note of external-dns.
fn owner_of(texts: &RrsetData) -> Option<String> {
    let RrsetData::Txt(texts) = texts else { return None };
    texts.iter().find_map(|text| {
        let text = String::from_utf8_lossy(&text.concat()).into_owned();
        let mut words = text.trim_matches('"').split(',').map(ToOwned::to_owned);
        (words.next()? == "heritage=external-dns").then_some(())?;
        Some(words.find_map(|word| word.strip_prefix("external-dns/owner=").map(ToOwned::to_owned)).unwrap_or_default())
    })
}

fn observed_marker(sets: RecordSets) -> ObservedMarker {
    let Some(RrsetData::Txt(texts)) = sets.get(&RecordType::Txt).map(|set| &set.data) else {
        // A CNAME there is nobody's marker either.
        return if sets.is_empty() { ObservedMarker::Absent } else { ObservedMarker::Foreign(Vec::new()) };
    };
    match texts.as_slice() {
        [only] => marker_of(only).map_or_else(|| ObservedMarker::Foreign(texts.clone()), ObservedMarker::Read),
        _ => ObservedMarker::Foreign(texts.clone()),
    }
}

fn marker_of(text: &Text) -> Option<Marker> {
    let [only] = text.as_slice() else { return None };
    std::str::from_utf8(only).ok()?.parse().ok()
}

/// The replies by question.
struct Answers(BTreeMap<(Name, RecordType), Reply>);

impl Answers {
    /// Whether the server answers for the zone at all.
    fn check_zone(&self, zone: &Name) -> Result<(), Failure> {
        match self.0.get(&(zone.clone(), RecordType::Soa)) {
            Some(reply) if reply.authoritative && reply.rcode == 0 && !reply.answers.is_empty() => Ok(()),
            Some(reply) if reply.rcode == SERVFAIL => Err(Failure::ServerFailure),
            _ => Err(Failure::NotAuthoritative),
        }
    }

    /// What was answered for a name and some types, a CNAME always among it.
    fn sets(&self, name: &Name, types: &[RecordType]) -> Result<RecordSets, Failure> {
        let mut sets = RecordSets::new();
        for record_type in types {
            let Some(reply) = self.0.get(&(name.clone(), *record_type)) else { continue };
            match reply.rcode {
                0 | NXDOMAIN if reply.authoritative && !reply.truncated => {}
                SERVFAIL => return Err(Failure::ServerFailure),
                REFUSED => return Err(Failure::Refused),
                // A referral: the name is in a zone of its own below this one.
                0 | NXDOMAIN => return Err(Failure::NotAuthoritative),
                other => return Err(Failure::Rcode(other)),
            }
            // The names that an alias leads to are others' business.
            sets.extend(gather(reply.answers.iter().filter(|record| record.owner == *name)));
        }
        Ok(sets)
    }

    fn may_be_of_a_wildcard(&self, zone: &Name, name: &Name, types: &[RecordType], sets: &RecordSets) -> bool {
        wildcards_above(zone, name).iter().any(|wildcard| self.sets(wildcard, types).is_ok_and(|of| of == *sets))
    }
}

/// What a publisher could write.
const TYPES: [RecordType; 5] = [RecordType::A, RecordType::Aaaa, RecordType::Cname, RecordType::Txt, RecordType::Https];

const SERVFAIL: u16 = 2;
const NXDOMAIN: u16 = 3;
const REFUSED: u16 = 5;
