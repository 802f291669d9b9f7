//! How often work is done that a flood of changes could make endless: when it was done flows in, how long to rest before the next flows
//! out. Pure. Used by `snapshots`, and by whoever makes something of each snapshot.

use crate::limits::{FLOOD_BURST, FLOOD_SHARE, LONGEST_REST};
use std::time::{Duration, Instant};

/// Work that comes now and then is done at once; what comes without a pause is done for a part of the time, and the more of it at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// What was worked, less what was free for it since.
    debt: Duration,
    at: Instant,
}

impl Pace {
    /// Nothing was done before.
    pub fn new(now: Instant) -> Self {
        Self { debt: Duration::ZERO, at: now }
    }

    /// How long to rest after work from `begin` to `end`: not at all where there was little of late, and never longer than 40 ms.
    pub fn rest(&mut self, begin: Instant, end: Instant) -> Duration {
        let free = end.saturating_duration_since(self.at) / FLOOD_SHARE;
        let most = FLOOD_BURST + LONGEST_REST / FLOOD_SHARE;
        self.debt = (self.debt.saturating_sub(free) + end.saturating_duration_since(begin)).min(most);
        self.at = end;
        self.debt.saturating_sub(FLOOD_BURST) * FLOOD_SHARE
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MILLISECOND: Duration = Duration::from_millis(1);

    /// Does work of such lengths after such pauses. Gives the rests, and the time that all took.
    fn done(work: &[(Duration, Duration)]) -> (Vec<Duration>, Duration) {
        let begin = Instant::now();
        let (mut pace, mut now) = (Pace::new(begin), begin);
        let rests = work.iter().map(|(pause, took)| {
            let begin = now + *pause;
            let rest = pace.rest(begin, begin + *took);
            now = begin + *took + rest;
            rest
        });
        let rests = rests.collect();
        (rests, now - begin)
    }

    #[test]
    fn changes_that_come_now_and_then_are_never_held_up() {
        let (rests, _) = done(&[(MILLISECOND * 10, MILLISECOND * 2); 1000]);
        assert!(rests.iter().all(Duration::is_zero));
        let (rests, _) = done(&[(Duration::ZERO, MILLISECOND); 20]);
        assert!(rests.iter().all(Duration::is_zero), "a handful at once neither");
    }

    #[test]
    fn a_flood_is_worked_on_for_a_fifth_of_the_time_and_forgotten_soon() {
        let (_, took) = done(&[(Duration::ZERO, MILLISECOND); 1000]);
        assert!((MILLISECOND * 4800..=MILLISECOND * 5000).contains(&took), "{took:?}");
        let mut flood = vec![(Duration::ZERO, MILLISECOND); 1000];
        flood.push((MILLISECOND * 200, MILLISECOND));
        assert_eq!(done(&flood).0.last(), Some(&Duration::ZERO));
    }

    proptest! {
        /// However long it works and pauses, nobody waits for longer than is said.
        #[test]
        fn no_rest_is_longer_than_the_longest(
            work in proptest::collection::vec((0_u64..200, 0_u64..2000), 1..50),
        ) {
            let work: Vec<_> = work
                .into_iter()
                .map(|(pause, took)| (Duration::from_millis(pause), Duration::from_micros(took * 997)))
                .collect();
            prop_assert!(done(&work).0.into_iter().all(|rest| rest <= LONGEST_REST));
        }
    }
}
