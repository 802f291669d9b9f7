//! The endpoints that one request or connection did not get through to: each failure flows in, which endpoints are not to be tried
//! again and whether another one may be flows out. Pure. Read by `http` and `accept::passthrough`, and by the access log.

use crate::limits::{CONNECT_ATTEMPTS, CONNECT_REFUSALS};
use std::net::SocketAddr;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Attempts {
    failed: Vec<SocketAddr>,
    /// How many of them refused the connection at once.
    refused: usize,
}

/// How an endpoint failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failed {
    /// It refused the connection: that took no time, and nothing was sent.
    Refused,
    /// Otherwise, such as by silence, and that may have taken all the time that there was.
    Otherwise,
}

impl Attempts {
    /// Another one failed.
    pub(crate) fn add(&mut self, endpoint: SocketAddr, how: Failed) {
        self.failed.push(endpoint);
        self.refused += usize::from(how == Failed::Refused);
    }

    /// Where nothing is to be tried again.
    pub(crate) fn failed(&self) -> &[SocketAddr] {
        &self.failed
    }

    /// How many there were.
    pub(crate) fn count(&self) -> usize {
        self.failed.len()
    }

    /// Whether another endpoint may be tried, if there is one.
    pub(crate) fn may_go_on(&self) -> bool {
        self.may_go_on_after(0)
    }

    /// Whether another one may be tried even if the present one fails otherwise than by refusing.
    pub(crate) fn may_lose_another(&self) -> bool {
        self.may_go_on_after(1)
    }

    fn may_go_on_after(&self, more: usize) -> bool {
        self.refused < CONNECT_REFUSALS && self.failed.len() - self.refused + more < CONNECT_ATTEMPTS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(refused: usize, otherwise: usize) -> Attempts {
        let mut attempts = Attempts::default();
        for number in 0..refused + otherwise {
            let how = if number < refused { Failed::Refused } else { Failed::Otherwise };
            attempts.add(([192, 0, 2, number as u8], 80).into(), how);
        }
        attempts
    }

    #[test]
    fn those_that_refuse_leave_as_many_attempts_to_others_as_there_were() {
        for refused in [0, 1, CONNECT_ATTEMPTS, CONNECT_REFUSALS - 1] {
            let attempts = after(refused, CONNECT_ATTEMPTS - 1);
            assert_eq!(attempts.count(), refused + CONNECT_ATTEMPTS - 1);
            assert!(attempts.may_go_on() && !attempts.may_lose_another(), "{refused}");
            assert!(!after(refused, CONNECT_ATTEMPTS).may_go_on(), "{refused}");
        }
        assert!(after(CONNECT_REFUSALS - 1, 0).may_lose_another());
        assert!(!after(CONNECT_REFUSALS, 0).may_go_on(), "and they are bounded, too");
    }
}
