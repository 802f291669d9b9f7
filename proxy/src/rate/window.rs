//! So many in any time as long as a window: times flow in, whether one more is let in, or when, flows out. Pure.
//!
//! The window is cut into slots, and a slot counts until all of it is out of the window. So never more are let in than may
//! be, and a place is free again at most a slot later than it could be.

use nearside_routing::policy::rate::Window;
use std::time::Duration;

/// What was let in of late.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SlidingWindow {
    counts: [u32; KEPT],
    /// The number of the newest slot, counted from the start of time.
    newest: u64,
}

impl SlidingWindow {
    /// Lets one in now, a time since some start that never goes back.
    ///
    /// # Errors
    /// How long it takes until there is room.
    pub(crate) fn admit(&mut self, window: &Window, now: Duration) -> Result<(), Duration> {
        let slot = (window.length.as_nanos() / SLOTS).max(1);
        let present = u64::try_from(now.as_nanos() / slot).unwrap_or(u64::MAX);
        let passed = present.saturating_sub(self.newest);
        for back in 0..passed.min(KEPT as u64) {
            self.counts[place(present - back)] = 0;
        }
        self.newest = self.newest.max(present);
        let counted: u64 = self.counts.iter().copied().map(u64::from).sum();
        if counted < u64::from(window.most) {
            self.counts[place(self.newest)] += 1;
            return Ok(());
        }
        let first = self.newest.saturating_sub(KEPT as u64 - 1);
        let Some(oldest) = (first..=self.newest).find(|number| self.counts[place(*number)] > 0) else {
            return Err(window.length);
        };
        let free = ((u128::from(oldest) + KEPT as u128) * slot).saturating_sub(now.as_nanos());
        Err(Duration::from_nanos(u64::try_from(free).unwrap_or(u64::MAX)))
    }
}

fn place(number: u64) -> usize {
    usize::try_from(number % KEPT as u64).expect("a number below KEPT is a place")
}

const SLOTS: u128 = 10;
/// The slots of a window, and the one that is only partly in it.
const KEPT: usize = 11;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_window_is_full_and_empties() {
        let window = Window { most: 2, length: Duration::from_secs(10) };
        let mut counted = SlidingWindow::default();
        let at = Duration::from_millis;
        assert_eq!(counted.admit(&window, at(1500)), Ok(()));
        assert_eq!(counted.admit(&window, at(9500)), Ok(()));
        assert_eq!(counted.admit(&window, at(9500)), Err(at(2500)));
        assert_eq!(counted.admit(&window, at(12_000)), Ok(()), "when it said");
        assert_eq!(counted.admit(&window, at(1_000_000)), Ok(()));
        let nobody = Window { most: 0, length: Duration::from_secs(3) };
        assert_eq!(SlidingWindow::default().admit(&nobody, at(5)), Err(nobody.length));
    }

    proptest! {
        #[test]
        fn never_more_than_may_be_and_hardly_less(
            most in 0_u32..6,
            seconds in prop_oneof![Just(3_u64), Just(10)],
            steps in proptest::collection::vec(0_u64..4000, 1..80),
        ) {
            let window = Window { most, length: Duration::from_secs(seconds) };
            let slot = window.length / 10;
            let mut counted = SlidingWindow::default();
            let mut let_in: Vec<Duration> = Vec::new();
            let mut now = Duration::ZERO;
            for step in steps {
                now += Duration::from_millis(step);
                let since = |length: Duration| let_in.iter().filter(|at| **at + length > now).count() as u32;
                let (within, about) = (since(window.length), since(window.length + slot));
                match counted.admit(&window, now) {
                    Ok(()) => {
                        prop_assert!(within < most, "{within} of {most} were let in within the window");
                        let_in.push(now);
                    }
                    Err(wait) => {
                        prop_assert!(about >= most, "{about} of {most} were let in within the window and a slot");
                        let mut later = counted;
                        prop_assert!(most == 0 || later.admit(&window, now + wait).is_ok(), "{wait:?} was not enough");
                    }
                }
            }
        }
    }
}
