//! What the publisher would change, without changing anything: objects flow in, every server is read once, and what differs flows out
//! for each. The same guard and the same plan as of the publisher. Called by the command `plan`.

use super::config::Publication;
use super::connection::Bounds;
use super::diff::PlaceDiff;
use super::fact::Place;
use super::guard::{Guard, List, Source};
use super::intent::Intent;
use super::key::Keys;
use super::last_good::LastGoodFile;
use super::observed::Observation;
use super::plan::{Lapsed, ZonePolicy, plan};
use super::session::Session;
use crate::desired::{Desired, DesiredObject, Rejection, parse};
use crate::limits::{ROUND_NAMES, WITHDRAWAL_LINGER};
use crate::name::Name;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// What would change.
#[derive(Debug)]
pub struct Preview {
    /// At each server that takes updates, in the order of the file.
    pub places: Vec<PlaceDiff>,
    /// What objects ask for and nobody can publish.
    pub rejections: Vec<Rejection>,
}

/// Looks what these objects would change.
pub async fn preview(publication: &Publication, objects: &[DesiredObject], list: List) -> Preview {
    let objects: Vec<Desired> = objects.iter().map(parse).collect();
    let (mut intents, rejections) = intents(publication, &objects, list);
    let mut reading = JoinSet::new();
    for (zone_place, zone) in publication.zones.iter().enumerate() {
        let intents = Arc::new(intents.remove(&zone.origin).unwrap_or_default());
        let policy = Arc::new(ZonePolicy {
            origin: zone.origin.clone(),
            cluster: publication.cluster.clone(),
            dedicated: zone.dedicated,
            adopt: zone.adopt.clone(),
        });
        for (server_place, server) in zone.servers.iter().enumerate().filter(|(_, server)| server.update) {
            let place = Place { zone: zone.origin.clone(), server: server.address };
            let session = Session::new(server.address, Keys::read(&server.keys), Bounds::default());
            let (intents, policy) = (Arc::clone(&intents), Arc::clone(&policy));
            reading.spawn(async move { ((zone_place, server_place), at(place, session, &policy, &intents).await) });
        }
    }
    let mut places = BTreeMap::new();
    while let Some(read) = reading.join_next().await {
        // Ends by a panic alone if not with a diff.
        places.extend(read);
    }
    Preview { places: places.into_values().collect(), rejections }
}

/// What the guard makes of the objects, when everything has been told and a moment has passed.
fn intents(
    publication: &Publication,
    objects: &[Desired],
    list: List,
) -> (BTreeMap<Name, BTreeMap<Name, Intent>>, Vec<Rejection>) {
    let remembered = publication.zones.iter().map(|zone| {
        let file = publication
            .state_dir
            .as_ref()
            .map(|directory| LastGoodFile::new(directory, &publication.cluster, &zone.origin));
        // A file that cannot be used is told by the publisher; nothing follows from it but what to look for.
        let known = file.and_then(|file| file.load().ok().flatten()).unwrap_or_default();
        (zone.origin.clone(), known)
    });
    let mut guard = Guard::new(remembered);
    let now = Instant::now();
    guard.source(Source::Live, now);
    guard.listed(objects, list, now);
    let mut intents: BTreeMap<Name, BTreeMap<Name, Intent>> = BTreeMap::new();
    for now in [now, now + WITHDRAWAL_LINGER + Duration::from_secs(1)] {
        for (zone, names) in guard.changed(now) {
            let of_zone = intents.entry(zone).or_default();
            for (name, intent) in names {
                match intent {
                    Some(intent) => drop(of_zone.insert(name, intent)),
                    None => drop(of_zone.remove(&name)),
                }
            }
        }
    }
    let rejections = guard.rejections().cloned().collect();
    (intents, rejections)
}

async fn at(place: Place, mut session: Session, policy: &ZonePolicy, intents: &BTreeMap<Name, Intent>) -> PlaceDiff {
    let names: Vec<Name> = intents.keys().cloned().collect();
    let mut all = Observation::default();
    // Also where there is nothing to publish it is worth to know whether the server can be asked.
    let mut rest = names.as_slice();
    loop {
        let (some, others) = rest.split_at(rest.len().min(ROUND_NAMES));
        match session.observe(&place.zone, some).await {
            Ok(observation) => {
                all.names.extend(observation.names);
                all.unreadable.extend(observation.unreadable);
            }
            Err(failure) => return PlaceDiff::unread(&place, failure),
        }
        rest = others;
        if rest.is_empty() {
            break;
        }
    }
    let mut diff = PlaceDiff::new(&place, &plan(policy, intents, &all.names, &Lapsed::new()), &all.names);
    all.unreadable.iter().for_each(|(name, failure)| diff.unreadable(name, failure));
    diff
}
