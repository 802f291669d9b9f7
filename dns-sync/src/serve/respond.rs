//! One message in, at most one message out, or a whole zone: reads it, answers it from the zones of the moment, counts it. Called
//! by the UDP and the TCP loop; does no IO but for reading clocks.

use super::cookie::Cookies;
use super::rate_limit::{RateLimit, RateLimiter, Verdict};
use super::transfer::Transfer;
use super::unix_time;
use crate::answer::{Answer, Rcode, Room, answer, start_of_authority};
use crate::chance::secret;
use crate::limits::{MAX_ANSWER_RECORDS, MAX_TRANSFERS};
use crate::metrics::Metrics;
use crate::record::RecordType;
use crate::serial::is_greater;
use crate::wire::tsig::Key;
use crate::wire::tsig::replies::{self, ReplySigner};
use crate::wire::{self, Query, Received};
use crate::zone::Zones;
use arc_swap::ArcSwap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;
use tokio::sync::Semaphore;

/// How a message came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the two transports of RFC 1035 §4.2")]
pub enum Protocol {
    Udp,
    Tcp,
}

/// Who sent a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Client {
    /// From where; over UDP it may be forged.
    pub address: IpAddr,
    /// How.
    pub protocol: Protocol,
}

/// What a message gets.
#[derive(Debug)]
pub enum Reply {
    /// No answer is due.
    Nothing,
    /// This message.
    Message(Vec<u8>),
    /// A zone, in as many messages as it takes; only over TCP.
    Transfer(Box<Transfer>),
}

/// How the answers are to be, beside what is in the zones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answering {
    /// Addresses of one set in one answer, from 1 to [`MAX_ANSWER_RECORDS`].
    pub addresses: usize,
    /// How much is answered over UDP, if that is limited.
    pub rate_limit: Option<RateLimit>,
}

impl Default for Answering {
    fn default() -> Self {
        Self { addresses: MAX_ANSWER_RECORDS, rate_limit: None }
    }
}

/// The keys with which zones may be transferred; someone else swaps them.
pub type TransferKeys = Arc<ArcSwap<Vec<Arc<Key>>>>;

/// Answers messages; shared by every loop.
#[derive(Debug)]
pub struct Responder {
    zones: Arc<ArcSwap<Zones>>,
    metrics: Arc<Metrics>,
    addresses: usize,
    limiter: Option<RateLimiter>,
    cookies: Cookies,
    keys: TransferKeys,
    transfers: Arc<Semaphore>,
    queries: AtomicU32,
    started: Instant,
}

impl Responder {
    /// A responder over zones that someone else swaps.
    pub fn new(zones: Arc<ArcSwap<Zones>>, metrics: Arc<Metrics>, answering: &Answering, keys: TransferKeys) -> Self {
        Self {
            zones,
            metrics,
            addresses: answering.addresses,
            limiter: answering.rate_limit.as_ref().map(RateLimiter::new),
            cookies: Cookies::new(secret()),
            keys,
            transfers: Arc::new(Semaphore::new(MAX_TRANSFERS)),
            queries: AtomicU32::new(0),
            started: Instant::now(),
        }
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The reply to a message. Never panics, whatever the octets.
    pub fn respond(&self, octets: &[u8], client: Client) -> Reply {
        let (mut query, mut refused) = match wire::decode(octets) {
            Received::Drop => {
                self.metrics.dropped.inc();
                return Reply::Nothing;
            }
            Received::Reject(query, rcode) => (query, Some(rcode)),
            Received::Query(query) => (query, None),
        };
        let mut is_known = false;
        if let Some(cookie) = query.cookie() {
            let now = unix_time();
            is_known = self.cookies.is_known(&cookie, client.address, now);
            query.renew_cookie(self.cookies.make(cookie.client, client.address, now));
        }
        let mut signing = Signing::None;
        if query.is_signed() {
            match replies::verify(octets, self.keys.load().iter(), unix_time()) {
                replies::Verdict::Unsigned => {}
                replies::Verdict::Accepted(key, signer) => signing = Signing::Accepted(key.overhead(), signer),
                replies::Verdict::Refused(_, signer) => {
                    refused = Some(Rcode::NotAuth);
                    signing = Signing::Refused(signer);
                }
                replies::Verdict::Malformed => refused = Some(Rcode::FormErr),
            }
        }
        let zones = self.zones.load();
        let limit = match client.protocol {
            Protocol::Udp => query.udp_limit(),
            Protocol::Tcp => usize::from(u16::MAX),
        };
        let limit = limit.saturating_sub(signing.octets());
        let answer = match (refused, query.question()) {
            (Some(rcode), _) => Answer::error(rcode),
            (None, None) => Answer::error(Rcode::FormErr),
            (None, Some(question)) if matches!(question.record_type, RecordType::Axfr | RecordType::Ixfr) => {
                match (&signing, self.transfer(&zones, &query, client.protocol)) {
                    (Signing::Accepted(..), Asked::Soa) => start_of_authority(&zones, &question.name),
                    (Signing::Accepted(..), Asked::Zone) => {
                        let Ok(place) = Arc::clone(&self.transfers).try_acquire_owned() else {
                            let refused = Answer::error(Rcode::Refused);
                            return self.finish(&query, &refused, limit, signing, client, is_known);
                        };
                        self.metrics.count_query(client.protocol, question.record_type, Rcode::NoError);
                        let origin = question.name.clone();
                        let Signing::Accepted(_, signer) = signing else { return Reply::Nothing };
                        let zones = Arc::clone(&zones);
                        return Reply::Transfer(Box::new(Transfer { zones, origin, query, signer, place }));
                    }
                    // Whoever has no key does not learn which zones there are.
                    _ => Answer::error(Rcode::Refused),
                }
            }
            (None, Some(question)) => {
                let octets = query.room(limit);
                answer(&zones, question, &Room { octets, addresses: self.addresses, rotation: self.rotation() })
            }
        };
        self.finish(&query, &answer, limit, signing, client, is_known)
    }

    /// What a transfer that is allowed would be.
    fn transfer(&self, zones: &Zones, query: &Query, protocol: Protocol) -> Asked {
        let Some(question) = query.question() else { return Asked::Nothing };
        let zone = zones.find(&question.name).filter(|zone| zone.origin() == &question.name);
        match (question.record_type, protocol, zone) {
            // RFC 5936 §4.2: not over UDP. RFC 1995 §2: an answer that does not fit is the SOA alone.
            (RecordType::Axfr, Protocol::Udp, _) => Asked::Nothing,
            (_, Protocol::Udp, _) | (_, _, None) => Asked::Soa,
            (RecordType::Ixfr, _, Some(zone)) if query.serial().is_some_and(|has| !is_greater(zone.serial(), has)) => {
                Asked::Soa
            }
            // RFC 1995 §4: the whole zone is an answer to IXFR.
            _ => Asked::Zone,
        }
    }

    fn finish(
        &self,
        query: &Query,
        answer: &Answer<'_>,
        limit: usize,
        signing: Signing,
        client: Client,
        is_known: bool,
    ) -> Reply {
        let verdict = match (&self.limiter, &signing, client.protocol) {
            (Some(limiter), Signing::None | Signing::Refused(_), Protocol::Udp) if !is_known => {
                limiter.judge(client.address, query.question(), answer.scope, answer.rcode, self.started.elapsed())
            }
            _ => Verdict::Answer,
        };
        let mut octets = match verdict {
            Verdict::Drop => {
                self.metrics.silenced.inc();
                return Reply::Nothing;
            }
            Verdict::Truncate => {
                self.metrics.slipped.inc();
                wire::truncated(query, answer)
            }
            Verdict::Answer => {
                let encoded = wire::encode(query, answer, limit);
                if encoded.truncated {
                    self.metrics.truncated.inc();
                }
                encoded.octets
            }
        };
        let record_type = query.question().map_or(RecordType::Other(0), |question| question.record_type);
        self.metrics.count_query(client.protocol, record_type, answer.rcode);
        if octets.is_empty() {
            return Reply::Nothing;
        }
        if let Signing::Accepted(_, mut signer) | Signing::Refused(mut signer) = signing {
            signer.sign(&mut octets, unix_time());
        }
        Reply::Message(octets)
    }

    /// The next point of a sequence that fills the circle evenly at every stride, so that clients which always ask for
    /// A and AAAA in turn still see every record first equally often.
    fn rotation(&self) -> u32 {
        self.queries.fetch_add(1, Ordering::Relaxed).wrapping_mul(GOLDEN_RATIO)
    }
}

/// What the signature of a message means for its reply.
enum Signing {
    None,
    /// Octets that a signature takes, and who makes it.
    Accepted(usize, ReplySigner),
    Refused(ReplySigner),
}

impl Signing {
    fn octets(&self) -> usize {
        match self {
            Self::None | Self::Refused(_) => 0,
            Self::Accepted(octets, _) => *octets,
        }
    }
}

/// What a transfer asks for.
enum Asked {
    Nothing,
    Soa,
    Zone,
}

/// 2^32 divided by the golden ratio: the step of the additive sequence with the lowest discrepancy (Weyl, Kronecker).
const GOLDEN_RATIO: u32 = 0x9e37_79b9;
