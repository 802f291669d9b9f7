//! One message in, at most one message out: reads it, answers it from the zones of the moment, counts it. Called by the
//! UDP and the TCP loop; does no IO.

use crate::answer::{Answer, Rcode, answer};
use crate::metrics::Metrics;
use crate::record::RecordType;
use crate::wire::{self, Received};
use crate::zone::Zones;
use arc_swap::ArcSwap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// How a message came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the two transports of RFC 1035 §4.2")]
pub enum Protocol {
    Udp,
    Tcp,
}

/// Answers messages; shared by every loop.
#[derive(Debug)]
pub struct Responder {
    zones: Arc<ArcSwap<Zones>>,
    metrics: Arc<Metrics>,
    queries: AtomicU32,
}

impl Responder {
    /// A responder over zones that someone else swaps.
    pub fn new(zones: Arc<ArcSwap<Zones>>, metrics: Arc<Metrics>) -> Self {
        Self { zones, metrics, queries: AtomicU32::new(0) }
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The answer to a message; `None` where none is due. Never panics, whatever the octets.
    pub fn respond(&self, octets: &[u8], protocol: Protocol) -> Option<Vec<u8>> {
        let zones = self.zones.load();
        let (query, answer) = match wire::decode(octets) {
            Received::Drop => {
                self.metrics.dropped.inc();
                return None;
            }
            Received::Reject(query, rcode) => (query, Answer::error(rcode)),
            Received::Query(query) => {
                let answer = match query.question() {
                    Some(question) => answer(&zones, question, self.rotation()),
                    None => Answer::error(Rcode::FormErr),
                };
                (query, answer)
            }
        };
        let limit = match protocol {
            Protocol::Udp => query.udp_limit(),
            Protocol::Tcp => usize::from(u16::MAX),
        };
        let encoded = wire::encode(&query, &answer, limit);
        let record_type = query.question().map_or(RecordType::Other(0), |question| question.record_type);
        self.metrics.count_query(protocol, record_type, answer.rcode);
        if encoded.truncated {
            self.metrics.truncated.inc();
        }
        (!encoded.octets.is_empty()).then_some(encoded.octets)
    }

    /// The next point of a sequence that fills the circle evenly at every stride, so that clients which always ask for
    /// A and AAAA in turn still see every record first equally often.
    fn rotation(&self) -> u32 {
        self.queries.fetch_add(1, Ordering::Relaxed).wrapping_mul(GOLDEN_RATIO)
    }
}

/// 2^32 divided by the golden ratio: the step of the additive sequence with the lowest discrepancy (Weyl, Kronecker).
const GOLDEN_RATIO: u32 = 0x9e37_79b9;
