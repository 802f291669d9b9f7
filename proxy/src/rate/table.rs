//! What is remembered of clients, in bounded memory: a key and a time flow in, the state kept under it flows out. Where there
//! is no room, whoever matters least among a few taken at random makes way, so that a flood of new clients mostly pushes
//! out its own. A state that is in use stays.

use crate::balance::Random;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A state that is kept.
pub(crate) trait State {
    /// From when on it is like a new one; `None` while it is in use.
    fn forgotten(&self) -> Option<Duration>;
}

/// The states.
#[derive(Debug)]
pub(crate) struct Table<S> {
    shards: Box<[Mutex<Shard<S>>]>,
}

#[derive(Debug)]
struct Shard<S> {
    places: HashMap<u64, usize>,
    entries: Vec<(u64, S)>,
    most: usize,
    /// The next entry that is looked at for whether it can go.
    hand: usize,
    random: Random,
}

impl<S: State> Table<S> {
    /// With room for about so many states.
    pub(crate) fn new(most: usize) -> Self {
        let shard = || Shard {
            places: HashMap::new(),
            entries: Vec::new(),
            most: most.div_ceil(SHARDS),
            hand: 0,
            random: Random::fresh(),
        };
        Self { shards: (0..SHARDS).map(|_| Mutex::new(shard())).collect() }
    }

    /// Does something with the state under a key, which is made if it is not there. `None` where there is no room for it.
    pub(crate) fn with<R>(
        &self,
        key: u64,
        now: Duration,
        make: impl FnOnce() -> S,
        work: impl FnOnce(&mut S) -> R,
    ) -> Option<R> {
        let mut shard = self.shard(key);
        let place = match shard.places.get(&key) {
            Some(place) => *place,
            None => shard.insert(key, make(), now)?,
        };
        Some(work(&mut shard.entries[place].1))
    }

    fn shard(&self, key: u64) -> MutexGuard<'_, Shard<S>> {
        // The low bits place the key within the shard's map.
        let shard = usize::try_from(key >> 56).unwrap_or_default() % SHARDS;
        self.shards[shard].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: State> Shard<S> {
    fn insert(&mut self, key: u64, state: S, now: Duration) -> Option<usize> {
        // Two for each that comes: whatever is forgotten is gone in the end.
        for _ in 0..2 {
            self.hand = if self.hand >= self.entries.len() { 0 } else { self.hand };
            match self.entries.get(self.hand).map(|(_, state)| state.forgotten()) {
                Some(Some(at)) if at <= now => self.remove(self.hand),
                _ => self.hand += 1,
            }
        }
        if self.entries.len() >= self.most {
            let least = self.least()?;
            self.remove(least);
        }
        self.entries.push((key, state));
        self.places.insert(key, self.entries.len() - 1);
        Some(self.entries.len() - 1)
    }

    /// The one of a few that is forgotten first.
    fn least(&mut self) -> Option<usize> {
        let some: [usize; SAMPLE] = std::array::from_fn(|_| self.random.below(self.entries.len()));
        let forgotten = |place: usize| Some((self.entries[place].1.forgotten()?, place));
        some.into_iter().filter_map(forgotten).min().map(|(_, place)| place)
    }

    fn remove(&mut self, place: usize) {
        let (key, _) = self.entries.swap_remove(place);
        self.places.remove(&key);
        if let Some((moved, _)) = self.entries.get(place) {
            self.places.insert(*moved, place);
        }
    }
}

const SHARDS: usize = 16;
/// Entries that are compared before one makes way.
const SAMPLE: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[derive(Debug)]
    struct Known {
        until: Option<Duration>,
        seen: u32,
    }

    impl State for Known {
        fn forgotten(&self) -> Option<Duration> {
            self.until
        }
    }

    fn size(table: &Table<Known>) -> usize {
        table.shards.iter().map(|shard| shard.lock().unwrap().entries.len()).sum()
    }

    /// Spreads small numbers over the shards.
    fn key(number: u64) -> u64 {
        number.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    fn see(table: &Table<Known>, number: u64, now: u64, until: Option<u64>) -> Option<u32> {
        let until = until.map(Duration::from_secs);
        table.with(
            key(number),
            Duration::from_secs(now),
            || Known { until, seen: 0 },
            |known| {
                known.until = until;
                known.seen += 1;
                known.seen
            },
        )
    }

    #[test]
    fn a_flood_takes_no_more_room_than_there_is_and_spares_who_keeps_coming() {
        let table = Table::new(1000);
        let mut lost = 0;
        for number in 0..200_000_u64 {
            let now = number / 1000;
            see(&table, 10 + number, now, Some(now + 10)).unwrap();
            if number % 100 == 0 && see(&table, 1, now, Some(now + 10)) == Some(1) {
                lost += 1;
            }
        }
        assert!(size(&table) <= 1000 + SHARDS, "{}", size(&table));
        assert!(lost < 200, "lost {lost} times of 2000");
    }

    #[test]
    fn who_is_in_use_stays_and_who_finds_no_room_is_not_kept() {
        let table = Table::new(SHARDS);
        let kept: Vec<u64> = (0..1000).filter(|number| see(&table, *number, 0, None).is_some()).collect();
        assert_eq!(kept.len(), SHARDS);
        assert!(kept.iter().all(|number| see(&table, *number, 9, None) == Some(2)));
    }

    proptest! {
        #[test]
        fn with_room_enough_it_is_a_map_whose_entries_may_be_forgotten(
            steps in proptest::collection::vec((0_u64..30, 0_u64..3, 0_u64..20), 0..200),
        ) {
            let table = Table::new(1600);
            let mut model: BTreeMap<u64, (u32, u64)> = BTreeMap::new();
            let mut now = 0;
            for (number, step, lasts) in steps {
                now += step;
                let seen = see(&table, number, now, Some(now + lasts)).unwrap();
                let (known, until) = model.get(&number).copied().unwrap_or_default();
                prop_assert!(seen == known + 1 || (seen == 1 && until <= now), "{seen} after {known}");
                model.insert(number, (seen, now + lasts));
            }
        }
    }
}
