//! Random histories of several publishers, another cluster and strangers on one name server, for tests: whatever comes between
//! reading and writing, what is not ours stays, what is newer stays, and in the end everything is as desired.

use super::model::Server;
use super::*;
use crate::limits::FENCE;
use crate::publish::batch::{Batch, Round};
use crate::publish::fence::Fence;
use crate::publish::intent::DesiredName;
use crate::publish::isolation::Isolation;
use crate::publish::marker::marker_name;
use crate::publish::observed::{ObservedMarker, RecordSets};
use crate::record::{Rrset, RrsetData, Ttl};
use proptest::prelude::*;
use std::time::{Duration, Instant};

const NAMES: u8 = 4;
const STAGE: usize = 2;

#[derive(Clone, Debug)]
enum Step {
    /// The object of a name asks for these addresses; or is made again, and counts from the start.
    Ask {
        name: u8,
        addresses: u8,
        anew: bool,
    },
    /// The object of a name is deleted.
    Delete(u8),
    /// A publisher learns what has happened.
    Sync(usize),
    /// A publisher reads and plans.
    Look(usize),
    /// A publisher sends its next message; the reply may be lost.
    Send(usize, bool),
    /// A publisher starts again, and knows nothing but what the source tells now.
    Restart(usize),
    /// A stranger sets or removes the addresses of a name, or text.
    Stranger {
        name: u8,
        what: u8,
    },
    Wait(u8),
}

fn step() -> impl Strategy<Value = Step> {
    let publisher = 0..=STAGE;
    prop_oneof![
        4 => (0..NAMES, 1_u8..8, prop::bool::weighted(0.1)).prop_map(|(name, addresses, anew)| Step::Ask { name, addresses, anew }),
        1 => (0..NAMES).prop_map(Step::Delete),
        4 => publisher.clone().prop_map(Step::Sync),
        6 => publisher.clone().prop_map(Step::Look),
        10 => (publisher.clone(), prop::bool::weighted(0.2)).prop_map(|(who, lost)| Step::Send(who, lost)),
        1 => publisher.prop_map(Step::Restart),
        1 => (0..NAMES, 0_u8..5).prop_map(|(name, what)| Step::Stranger { name, what }),
        1 => (1_u8..90).prop_map(Step::Wait),
    ]
}

fn zone() -> Name {
    "example.com".parse().unwrap()
}

fn name(index: u8) -> Name {
    format!("h{index}.example.com").parse().unwrap()
}

/// A records for the bits that are set.
fn sets(bits: u8) -> RecordSets {
    let addresses = (0..8).filter(|bit| bits & 1 << bit != 0).map(|bit| [192, 0, 2, bit].into());
    let data = RrsetData::A(addresses.collect());
    [(RecordType::A, Rrset { ttl: Ttl::constant(30), data })].into()
}

struct Publisher {
    policy: ZonePolicy,
    intents: BTreeMap<Name, Intent>,
    fence: Fence,
    round: Round,
    live_since: Instant,
}

struct World {
    now: Instant,
    generation: u64,
    /// What the objects ask for now.
    asked: BTreeMap<Name, DesiredName>,
    server: Server,
    publishers: Vec<Publisher>,
    /// Whether an object was made again: then a lower generation may be newer.
    anew: bool,
}

impl World {
    fn new() -> Self {
        let now = Instant::now();
        let publisher = |cluster: &str| Publisher {
            policy: ZonePolicy { origin: zone(), cluster: cluster.into(), dedicated: false, adopt: BTreeSet::new() },
            intents: BTreeMap::new(),
            fence: Fence::default(),
            round: Round::default(),
            live_since: now,
        };
        let publishers = vec![publisher("prod"), publisher("prod"), publisher("stage")];
        Self { now, generation: 10, asked: BTreeMap::new(), server: Server::default(), publishers, anew: false }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Ask { name: index, addresses, anew } => {
                self.generation += 1;
                self.anew |= anew;
                let generation = if *anew { 1 } else { self.generation };
                let object = ObjectKey { namespace: "router".into(), name: index.to_string() };
                self.asked.insert(name(*index), DesiredName { sets: sets(*addresses), generation, object });
            }
            Step::Delete(index) => drop(self.asked.remove(&name(*index))),
            Step::Sync(who) => self.sync(*who),
            Step::Look(who) => self.look(*who),
            Step::Send(who, lost) => self.send(*who, *lost),
            Step::Restart(who) => {
                let publisher = &mut self.publishers[*who];
                // What it published it finds in what it remembers; the names that go are among that.
                (publisher.fence, publisher.round) = (Fence::default(), Round::default());
                publisher.live_since = self.now;
                self.sync(*who);
            }
            Step::Stranger { name: index, what } => {
                let at = name(*index);
                match what {
                    0 => {
                        self.server.put(&at, RrsetData::Txt(vec![vec![b"theirs".as_slice().into()]]), Ttl::constant(9))
                    }
                    1 => drop(self.server.0.remove(&at)),
                    _ => self.server.put(
                        &at,
                        sets(1 << (what + 3)).remove(&RecordType::A).unwrap().data,
                        Ttl::constant(9),
                    ),
                }
            }
            Step::Wait(seconds) => self.now += Duration::from_secs(u64::from(*seconds)),
        }
    }

    fn sync(&mut self, who: usize) {
        let publisher = &mut self.publishers[who];
        for (name, desired) in &self.asked {
            publisher.intents.insert(name.clone(), Intent::Publish(desired.clone()));
        }
        for (name, intent) in &mut publisher.intents {
            if let Intent::Publish(desired) = intent
                && !self.asked.contains_key(name)
            {
                *intent = Intent::Withdraw { generation: desired.generation };
            }
        }
    }

    fn look(&mut self, who: usize) {
        let Publisher { policy, intents, fence, round, live_since } = &mut self.publishers[who];
        let observed = intents.keys().map(|name| (name.clone(), self.server.observe(&zone(), name))).collect();
        let plan = plan(policy, intents, &observed, &fence.lapsed(Some(*live_since), self.now));
        fence.note(&plan, self.now);
        *round = Round::new(plan.writes, &Isolation::default(), self.now);
    }

    fn send(&mut self, who: usize, lost: bool) {
        let Some(batch) = self.publishers[who].round.next() else { return };
        let before = self.server.clone();
        let outcome = self.server.update(&batch.update(&zone()));
        self.check(who, &before, &batch, outcome.is_ok());
        if lost || outcome.is_err() {
            // Read and planned again, whatever became of it.
            self.publishers[who].round = Round::default();
        }
    }

    /// What no message may do.
    fn check(&self, who: usize, before: &Server, batch: &Batch, applied: bool) {
        if !applied {
            assert_eq!(*before, self.server, "a message that is refused changes nothing");
            return;
        }
        let cluster = &self.publishers[who].policy.cluster;
        let writes: BTreeMap<&Name, &Write> = batch.writes.iter().map(|write| (&write.name, write)).collect();
        for index in 0..NAMES {
            let name = name(index);
            let marker_at = marker_name(&name, &zone()).unwrap();
            let (was, is) = (before.observe(&zone(), &name), self.server.observe(&zone(), &name));
            let Some(write) = writes.get(&name) else {
                assert_eq!(was, is, "{name} is not in the message");
                continue;
            };
            match &was.marker {
                ObservedMarker::Read(marker) if marker.cluster == *cluster => {
                    let lapsed = self.publishers[who].fence.lapsed(Some(self.publishers[who].live_since), self.now);
                    if let Some(after) = &write.marker {
                        assert!(after.generation >= marker.generation || lapsed.get(&name) == Some(&marker.generation));
                    }
                }
                _ => assert!(was.sets.is_empty() && was.marker == ObservedMarker::Absent, "{name} is not ours"),
            }
            assert_eq!(was.sets.get(&RecordType::Txt), is.sets.get(&RecordType::Txt), "text is not ours");
            if write.kind == WriteKind::Delete {
                assert!(!self.server.0.contains_key(&marker_at));
            } else {
                assert!(is.sets.contains_key(&RecordType::A), "{name} is empty");
                assert_eq!(is.marker, ObservedMarker::Read(write.marker.clone().unwrap()));
            }
        }
    }

    /// Everybody learns everything and has the time that it takes.
    fn quieten(&mut self) {
        for round in 0..12 {
            for who in 0..self.publishers.len() {
                self.sync(who);
                self.look(who);
                for _ in 0..8 {
                    self.send(who, false);
                }
            }
            if round % 2 == 1 {
                self.now += FENCE;
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn whatever_comes_between_nothing_foreign_changes_and_all_is_right_in_the_end(steps in prop::collection::vec(step(), 1..120)) {
        let mut world = World::new();
        for step in &steps {
            world.step(step);
        }
        world.quieten();
        for index in 0..NAMES {
            let name = name(index);
            let observed = world.server.observe(&zone(), &name);
            match (&observed.marker, world.asked.get(&name)) {
                (ObservedMarker::Read(marker), Some(desired)) => {
                    prop_assert_eq!(&observed.sets[&RecordType::A], &desired.sets[&RecordType::A]);
                    prop_assert_eq!(&marker.digest, &Marker::of("", 0, &desired.sets).digest);
                }
                (ObservedMarker::Read(marker), None) => prop_assert!(false, "{name} is left behind: {marker}"),
                // Somebody else's, or nobody's.
                (_, asked) => prop_assert!(asked.is_none() || !observed.sets.is_empty()),
            }
        }
        for who in 0..world.publishers.len() {
            world.look(who);
            prop_assert!(world.publishers[who].round.next().is_none(), "a plan against its own result is empty");
        }
    }

    /// With generations that only grow, what was written from a newer view is never replaced from an older one.
    #[test]
    fn an_old_view_never_overwrites_a_newer_one(steps in prop::collection::vec(step(), 1..120)) {
        let mut world = World::new();
        for step in steps.iter().filter(|step| !matches!(step, Step::Wait(_) | Step::Stranger { .. })) {
            let step = match step {
                Step::Ask { name, addresses, .. } => Step::Ask { name: *name, addresses: *addresses, anew: false },
                other => other.clone(),
            };
            let generation = |world: &World, index| match world.server.observe(&zone(), &name(index)).marker {
                ObservedMarker::Read(marker) => Some((marker.cluster, marker.generation)),
                _ => None,
            };
            let before: Vec<_> = (0..NAMES).map(|index| generation(&world, index)).collect();
            world.step(&step);
            for (index, before) in (0..NAMES).zip(before) {
                if let (Some((of, before)), Some((by, after))) = (before, generation(&world, index)) {
                    prop_assert!(of == by && before <= after, "{} {before} {after}", name(index));
                }
            }
        }
    }

    /// A plan for all names is the plans for each of them.
    #[test]
    fn each_name_is_planned_for_itself(steps in prop::collection::vec(step(), 1..60)) {
        let mut world = World::new();
        steps.iter().for_each(|step| world.step(step));
        world.sync(0);
        let Publisher { policy, intents, .. } = &world.publishers[0];
        let observed: BTreeMap<Name, Observed> = intents.keys().map(|name| (name.clone(), world.server.observe(&zone(), name))).collect();
        let mut whole = plan(policy, intents, &observed, &Lapsed::new());
        let mut parts = Vec::new();
        for (name, intent) in intents.iter().rev() {
            parts.extend(plan(policy, &[(name.clone(), intent.clone())].into(), &observed, &Lapsed::new()).writes);
        }
        whole.writes.sort_by_key(|write| write.name.clone());
        parts.sort_by_key(|write| write.name.clone());
        prop_assert_eq!(whole.writes, parts);
    }
}
