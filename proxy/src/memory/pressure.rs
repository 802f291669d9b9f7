//! From memory in use to how far what is served is cut down: the present level, a reading and the limit flow in, the next level flows
//! out. A level is left only some way below where it began, so that it does not come and go. Pure.

/// How far what is served is cut down, least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Pressure {
    /// Not at all.
    None,
    /// No new large buffers.
    Buffers,
    /// And no idle connections.
    Idle,
    /// And no new connections.
    Full,
}

impl Pressure {
    /// The level after a reading.
    pub(super) fn next(self, used: u64, limit: u64) -> Self {
        let percent = u128::from(used) * 100 / u128::from(limit.max(1));
        let at = |percent: u128| {
            LEVELS.into_iter().rev().find(|(_, begin)| percent >= *begin).map_or(Self::None, |(level, _)| level)
        };
        at(percent).max(self.min(at(percent + SLACK)))
    }

    /// As a number.
    pub(super) fn level(self) -> i64 {
        match self {
            Self::None => 0,
            Self::Buffers => 1,
            Self::Idle => 2,
            Self::Full => 3,
        }
    }
}

/// Where each level begins, in percent of the limit.
const LEVELS: [(Pressure, u128); 3] = [(Pressure::Buffers, 80), (Pressure::Idle, 90), (Pressure::Full, 95)];
/// How far below that it ends.
const SLACK: u128 = 3;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn levels_begin_at_their_part_of_the_limit_and_end_below_it() {
        let readings = [
            (10, Pressure::None),
            (79, Pressure::None),
            (80, Pressure::Buffers),
            (78, Pressure::Buffers),
            (76, Pressure::None),
            (96, Pressure::Full),
            (93, Pressure::Full),
            (91, Pressure::Idle),
            (88, Pressure::Idle),
            (50, Pressure::None),
            (400, Pressure::Full),
        ];
        let mut level = Pressure::None;
        for (used, expected) in readings {
            level = level.next(used, 100);
            assert_eq!(level, expected, "at {used} %");
        }
    }

    proptest! {
        #[test]
        fn more_memory_never_means_less_pressure(used: u64, more: u64, limit: u64, levels in prop::sample::select(&[Pressure::None, Pressure::Buffers, Pressure::Idle, Pressure::Full][..])) {
            prop_assert!(levels.next(used, limit) <= levels.next(used.saturating_add(more), limit));
            prop_assert!(levels.next(used, limit) >= Pressure::None.next(used, limit));
        }
    }
}
