//! Which traces are recorded: as the client's trace is, and of those that begin here a part, chosen by the trace's id so
//! that every tracer with the same ratio chooses the same. Pure.

use super::context::{Incoming, TraceId};

/// The part of traces that begin here that is recorded, as a bound on 63 bits of their ids.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sampling(u64);

impl Sampling {
    /// From a ratio between 0 and 1.
    pub(crate) fn of(ratio: f64) -> Option<Self> {
        #[expect(clippy::cast_precision_loss, reason = "a ratio is not that exact")]
        let whole = (1_u64 << 63) as f64;
        (0.0..=1.0).contains(&ratio).then_some(Self((ratio * whole) as u64))
    }

    /// Whether a trace is recorded.
    pub(super) fn takes(self, trace: TraceId, incoming: Option<&Incoming>) -> bool {
        match incoming {
            Some(incoming) => incoming.sampled,
            // The lower half of an id is random in every version of the specification.
            None => ((trace.0 as u64) >> 1) < self.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::balance::Random;

    #[test]
    fn about_the_wanted_part_is_taken_and_a_clients_word_comes_first() {
        let mut random = Random::seeded(7);
        let mut taken = |ratio: f64| {
            let sampling = Sampling::of(ratio).unwrap();
            (0..1000).filter(|_| sampling.takes(TraceId::new(&mut random), None)).count()
        };
        assert_eq!((taken(0.0), taken(1.0)), (0, 1000));
        assert!((150..350).contains(&taken(0.25)));
        for sampled in [true, false] {
            let trace = TraceId(5);
            let incoming = Incoming { trace, parent: super::super::context::SpanId(1), sampled, state: None };
            for ratio in [0.0, 1.0] {
                assert_eq!(Sampling::of(ratio).unwrap().takes(trace, Some(&incoming)), sampled);
            }
        }
        assert_eq!([-0.1, 1.1, f64::NAN].map(Sampling::of), [None; 3]);
    }
}
