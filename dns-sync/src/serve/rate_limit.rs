//! Response rate limiting: who asks and what kind of answer it would get flow in, whether to answer, to send it to TCP or to
//! say nothing flows out. Called by `respond` for each answer over UDP; times are arguments.
//!
//! A source address of a datagram may be forged, to aim large answers at somebody else. So what a network gets of one kind of
//! answer is bounded. Every second answer beyond the bound is an empty one with TC, which is no larger than its query: a
//! client that really is there asks again over TCP and is served. Who shows a cookie of this server is not judged at all.

mod buckets;
mod network;

pub use buckets::Verdict;
pub use network::{Network, NetworkError};

use crate::answer::{Question, Rcode, Scope};
use crate::limits::RATE_LIMIT_BUCKETS;
use buckets::Buckets;
use std::hash::{BuildHasher, Hash, RandomState};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How much is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// Answers of one kind to one network a second; never 0.
    pub per_second: u32,
    /// Who is not limited.
    pub exempt: Vec<Network>,
}

/// What was answered in the last moments, to whom.
#[derive(Debug)]
pub struct RateLimiter {
    exempt: Vec<Network>,
    buckets: Mutex<Buckets>,
    /// Seeded anew in each process, so that nobody can choose names that share a bucket.
    hash: RandomState,
}

impl RateLimiter {
    /// A limiter that has seen nothing.
    pub fn new(limit: &RateLimit) -> Self {
        let buckets = Mutex::new(Buckets::new(limit.per_second, RATE_LIMIT_BUCKETS));
        Self { exempt: limit.exempt.clone(), buckets, hash: RandomState::new() }
    }

    /// What to do with an answer to this client. `now` counts from any moment.
    pub fn judge(
        &self,
        client: IpAddr,
        question: Option<&Question>,
        scope: Scope<'_>,
        rcode: Rcode,
        now: Duration,
    ) -> Verdict {
        let client = client.to_canonical();
        if self.exempt.iter().any(|network| network.contains(client)) {
            return Verdict::Answer;
        }
        let kind = match (scope, question) {
            (Scope::Name, Some(question)) => Kind::Name(question.name.as_wire(), Some(question.record_type)),
            (Scope::NoData, Some(question)) => Kind::Name(question.name.as_wire(), None),
            (Scope::Zone(origin), _) => Kind::Zone(origin.as_wire()),
            (Scope::Server | Scope::Name | Scope::NoData, _) => Kind::Server,
        };
        let key = self.hash.hash_one((Network::of_source(client), kind, rcode));
        self.buckets.lock().unwrap_or_else(PoisonError::into_inner).take(key, now)
    }
}

/// What makes two answers alike.
#[derive(Hash)]
enum Kind<'k> {
    Name(&'k [u8], Option<crate::record::RecordType>),
    Zone(&'k [u8]),
    Server,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::Name;
    use crate::record::RecordType;

    fn limiter(exempt: &[&str]) -> RateLimiter {
        let exempt = exempt.iter().map(|text| text.parse().unwrap()).collect();
        RateLimiter::new(&RateLimit { per_second: 20, exempt })
    }

    /// How many of 1000 answers at one moment go through.
    fn answered(limiter: &RateLimiter, client: &str, name: impl Fn(usize) -> String, scope: Scope<'_>) -> usize {
        let one = |index: usize| {
            let question = Question { name: name(index).parse().unwrap(), record_type: RecordType::A, class: 1 };
            limiter.judge(client.parse().unwrap(), Some(&question), scope, Rcode::NoError, Duration::ZERO)
        };
        (0..1000).map(one).filter(|verdict| *verdict == Verdict::Answer).count()
    }

    #[test]
    fn a_network_is_limited_for_each_name_and_for_all_denials_of_a_zone_together() {
        let limiter = limiter(&["198.51.100.0/24"]);
        let zone: Name = "z.test".parse().unwrap();
        let fixed = |_| "a.z.test".to_owned();
        let random = |index| format!("n{index}.z.test");
        assert_eq!(answered(&limiter, "192.0.2.1", fixed, Scope::Name), 20);
        assert_eq!(answered(&limiter, "192.0.2.77", fixed, Scope::Name), 0, "the same /24");
        assert_eq!(answered(&limiter, "::ffff:192.0.2.77", fixed, Scope::Name), 0, "the same /24");
        assert_eq!(answered(&limiter, "192.0.3.1", fixed, Scope::Name), 20);
        assert_eq!(answered(&limiter, "2001:db8::1", fixed, Scope::Name), 20);
        assert_eq!(answered(&limiter, "2001:db8:0:00ff::1", fixed, Scope::Name), 0, "the same /56");
        assert_eq!(answered(&limiter, "2001:db8:0:0100::1", fixed, Scope::Name), 20);
        assert_eq!(answered(&limiter, "192.0.2.1", random, Scope::Name), 1000, "different names");
        assert_eq!(answered(&limiter, "192.0.2.1", random, Scope::Zone(&zone)), 20);
        assert_eq!(answered(&limiter, "192.0.2.1", random, Scope::Server), 20);
        assert_eq!(answered(&limiter, "198.51.100.9", fixed, Scope::Name), 1000, "exempt");
    }
}
