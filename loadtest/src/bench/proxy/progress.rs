//! How far a run is: what it is going to measure comes in with the time that each case should take, a line for whoever watches goes out
//! as each begins, with what is left. Pure but for the time, which is an argument. Called by `report`.

use super::Group;
use std::time::Duration;

/// See the module head.
#[derive(Debug, Default)]
pub(super) struct Progress {
    cases: Vec<Case>,
    /// How many have begun.
    begun: usize,
}

#[derive(Debug)]
struct Case {
    group: Group,
    name: String,
    expected: Duration,
}

impl Progress {
    /// A case that is going to be measured after those before it.
    pub(super) fn expect(&mut self, group: Group, name: &str, expected: Duration) {
        self.cases.push(Case { group, name: name.to_owned(), expected });
    }

    /// What is said when the whole begins.
    pub(super) fn whole(&self) -> String {
        let expected = self.cases.iter().map(|case| case.expected).sum();
        format!("{} cases, about {}", self.cases.len(), rough(expected))
    }

    /// What is said when a case begins, `passed` after the run did. What is left is judged by what was expected so far and what it took.
    pub(super) fn begin(&mut self, group: Group, name: &str, passed: Duration) -> String {
        let is_it = |case: &Case| case.group == group && case.name == name;
        let at = self.cases.iter().position(is_it).unwrap_or(self.begun);
        self.begun = self.begun.max(at + 1);
        let sum = |cases: &[Case]| cases.iter().map(|case| case.expected.as_secs_f64()).sum::<f64>();
        let (before, after) = self.cases.split_at(at.min(self.cases.len()));
        let pace = if at == 0 { 1.0 } else { (passed.as_secs_f64() / sum(before).max(0.001)).clamp(0.2, 5.0) };
        let left = Duration::from_secs_f64(sum(after) * pace);
        let (number, of) = (at + 1, self.cases.len());
        format!("[{number} of {of}, {} passed, about {} left] {}: {name}", rough(passed), rough(left), group.name())
    }
}

/// Seconds below two minutes, and minutes from there on.
fn rough(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds => format!("{} min", (seconds + 30) / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_follows_what_was_expected_and_what_it_took() {
        let mut progress = Progress::default();
        for name in ["a", "b", "c"] {
            progress.expect(Group::Memory, name, Duration::from_secs(100));
        }
        assert_eq!(progress.whole(), "3 cases, about 5 min");
        let mut begin = |name, passed| progress.begin(Group::Memory, name, Duration::from_secs(passed));
        assert_eq!(begin("a", 0), "[1 of 3, 0 s passed, about 5 min left] memory: a");
        assert_eq!(begin("b", 200), "[2 of 3, 3 min passed, about 7 min left] memory: b");
        assert_eq!(begin("c", 220), "[3 of 3, 4 min passed, about 110 s left] memory: c");
    }
}
