//! How long each step of a request took: marks flow in from the phases of `http`, durations for the access log flow out.

use crate::connection::Arrived;
use std::time::{Duration, Instant};

/// The marks of one request. Of several attempts the last one counts; waiting adds up.
#[derive(Clone, Debug, Default)]
pub(crate) struct Timers {
    /// How long the client took.
    pub(crate) arrived: Arrived,
    waited: Option<Duration>,
    connect: Option<Duration>,
    connected: Option<Instant>,
    answered: Option<Instant>,
}

/// The steps of a request that is over; `None` for those that were not reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Steps {
    /// In the queue of a pod.
    pub(crate) wait: Option<Duration>,
    /// Connecting to the pod; zero on a connection that was there.
    pub(crate) connect: Option<Duration>,
    /// From then to the pod's response header.
    pub(crate) response: Option<Duration>,
    /// From then to the end.
    pub(crate) data: Option<Duration>,
}

impl Timers {
    /// A pod is asked, after this time in its queue.
    pub(crate) fn asked(&mut self, waited: Duration) {
        self.waited = Some(self.waited.unwrap_or_default() + waited);
        self.connect = None;
        self.connected = None;
    }

    /// The pod is connected.
    pub(crate) fn connected(&mut self, connect: Duration, now: Instant) {
        self.connect = Some(connect);
        self.connected = Some(now);
    }

    /// The pod's response header is there.
    pub(crate) fn answered(&mut self, now: Instant) {
        self.answered = Some(now);
    }

    /// Whether a pod began to answer.
    pub(crate) fn is_answered(&self) -> bool {
        self.answered.is_some()
    }

    /// The steps of a request that is over now.
    pub(crate) fn steps(&self, now: Instant) -> Steps {
        let answered = self.answered.filter(|_| self.connected.is_some());
        Steps {
            wait: self.waited,
            connect: self.connect,
            response: answered.zip(self.connected).map(|(end, begin)| end.saturating_duration_since(begin)),
            data: answered.map(|begin| now.saturating_duration_since(begin)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_that_were_not_reached_are_none_and_the_last_attempt_counts() {
        let start = Instant::now();
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        let mut timers = Timers::default();
        assert_eq!(timers.steps(at(9)), Steps::default());
        timers.asked(Duration::from_millis(3));
        timers.connected(Duration::from_millis(2), at(5));
        timers.asked(Duration::ZERO);
        let wait = Some(Duration::from_millis(3));
        assert_eq!(timers.steps(at(9)), Steps { wait, ..Steps::default() });
        timers.connected(Duration::ZERO, at(10));
        timers.answered(at(30));
        let steps = timers.steps(at(100));
        assert_eq!((steps.wait, steps.connect), (wait, Some(Duration::ZERO)));
        assert_eq!((steps.response, steps.data), (Some(Duration::from_millis(20)), Some(Duration::from_millis(70))));
    }
}
