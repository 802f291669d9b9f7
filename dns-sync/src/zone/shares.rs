//! Which addresses of a set an answer carries, and in which order: how many fit, the weights of the addresses and a point of
//! a circle flow in, the places of the chosen records flow out. Pure; called by `answer` for A and AAAA alike.
//!
//! A set that fits is given whole. Of a larger one each answer carries a part: an address is in it in proportion to its
//! weight, so each node gets its share of the resolvers, and every node gets some. No part is preferred for a host: a node
//! that holds pods and is never answered would serve nobody. Weights decide by inclusion because resolvers reorder what
//! they pass on; as far as the order survives, it follows the weights too.

/// How much of the answers each record of a set is to be in. Made once for a zone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shares {
    /// One weight a record, from [`LEAST`] to [`MOST`]; empty where all are equal.
    weights: Vec<u8>,
}

/// The records of one answer, as places in the set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// All of them, from `first` on and around.
    All {
        /// Which comes first.
        first: usize,
    },
    /// These, in this order; no place twice.
    Some(Box<[u16]>),
}

impl Shares {
    /// All records alike.
    pub const fn equal() -> Self {
        Self { weights: Vec::new() }
    }

    /// Shares in proportion to what is given for each record, at most 1 to 4 (the smaller ones are raised). A record for
    /// which nothing is known counts as the mean of the others; where nothing is known of any, all are equal.
    pub fn of(known: &[Option<u32>]) -> Self {
        let given = || known.iter().flatten().copied();
        let (most, count) = (u64::from(given().max().unwrap_or(0)), given().count() as u64);
        if most == 0 {
            return Self::default();
        }
        let mean = given().map(u64::from).sum::<u64>() / count.max(1);
        let weight = |known: &Option<u32>| {
            let value = known.map_or(mean, u64::from);
            u8::try_from((value * u64::from(MOST)).div_ceil(most)).unwrap_or(MOST).clamp(LEAST, MOST)
        };
        let weights: Vec<u8> = known.iter().map(weight).collect();
        if weights.iter().all(|weight| *weight == weights[0]) { Self::default() } else { Self { weights } }
    }

    /// Chooses at most `room` of `total` records. `rotation` is a point of a circle of 2^32; where the points of successive
    /// calls are spread evenly, so are the answers.
    ///
    /// This is systematic sampling: the records lie on a line, each as long as its weight, and equally spaced points pick
    /// those they fall on, so no record is picked twice. One that is longer than the space between two points is in every
    /// answer.
    pub fn choose(&self, total: usize, room: usize, rotation: u32) -> Selection {
        let total = total.min(usize::from(u16::MAX));
        let weight = |place: usize| self.weights.get(place).map_or(1, |weight| u64::from(*weight));
        if room >= total {
            let sum: u64 = if self.weights.is_empty() { total as u64 } else { (0..total).map(weight).sum() };
            let mut point = (u64::from(rotation) * sum) >> 32;
            if self.weights.is_empty() {
                return Selection::All { first: usize::try_from(point).unwrap_or(0) };
            }
            let mut first = 0;
            while first + 1 < total && point >= weight(first) {
                point -= weight(first);
                first += 1;
            }
            return Selection::All { first };
        }
        // Those that are always in, and the sum of the others; taking one out makes the spaces of the rest smaller.
        let (mut always, mut points, mut sum) = (u64::MAX, room as u64, (0..total).map(weight).sum::<u64>());
        loop {
            let longer = |place: &usize| weight(*place) < always && points * weight(*place) > sum;
            let Some(least) = (0..total).filter(longer).map(weight).min() else { break };
            let taken = || (0..total).map(weight).filter(|weight| (least..always).contains(weight));
            points -= taken().count() as u64;
            sum -= taken().sum::<u64>();
            always = least;
        }
        // Which are chosen and which of them comes first are two independent turns of the circle.
        let mut point = (u64::from(rotation) * sum) >> 32;
        let first = (u64::from(rotation.wrapping_mul(ORDER)) * room as u64) >> 32;
        let mut chosen = Vec::with_capacity(room);
        let mut end = 0;
        for record in 0..total {
            let is_hit = if weight(record) >= always {
                true
            } else {
                end += points * weight(record);
                let is_hit = point < end;
                point += if is_hit { sum } else { 0 };
                is_hit
            };
            if is_hit {
                chosen.push(u16::try_from(record).unwrap_or(u16::MAX));
            }
        }
        let length = chosen.len().max(1);
        chosen.rotate_left(usize::try_from(first).unwrap_or(0) % length);
        Selection::Some(chosen.into())
    }
}

/// Makes of multiples of the golden ratio, as the responder counts, multiples of the inverse of the plastic number: two
/// sequences that together fill a square evenly.
const ORDER: u32 = 0xbdd5_e771;

/// The weight of the record with the most pods.
const MOST: u8 = 64;

/// No record weighs less than a quarter of another: the counts are of the moment, and resolvers keep what they got.
const LEAST: u8 = MOST / 4;

#[cfg(test)]
mod tests;
