//! A whole body in the chunked coding: its bytes flow in, in whatever parts, its data flows out. Extensions and trailers are
//! bounded and dropped. Pure, and so small that it can be tried on a copy.

use super::Malformed;
use super::chunk::Chunk;
use super::section::Section;
use std::ops::Range;

/// Where in a body the next byte is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Chunked(Stage);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Chunks(Chunk),
    Trailers(Section),
    Over,
}

/// What the bytes that were gone over are, or end with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// Nothing but data.
    Data,
    /// The end of a chunk.
    DataEnd,
    /// Anything else.
    Other,
}

/// What bytes became.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Decoded {
    /// Where the data is now.
    pub(crate) data: Range<usize>,
    /// Bytes that were gone over. What follows them is more of the body, or belongs to no body.
    pub(crate) taken: usize,
}

impl Chunked {
    /// Before the first byte.
    pub(crate) const START: Self = Self(Stage::Chunks(Chunk::START));

    /// Data of the present chunk that comes next.
    pub(crate) fn left(&self) -> u64 {
        match self.0 {
            Stage::Chunks(Chunk::Data { left }) => left,
            _ => 0,
        }
    }

    /// Whether the last byte was that of the trailer section.
    pub(crate) fn is_over(&self) -> bool {
        self.0 == Stage::Over
    }

    /// So much of the data that is left went another way.
    pub(crate) fn skip(&mut self, data: u64) {
        if let Stage::Chunks(Chunk::Data { left }) = &mut self.0 {
            *left = left.saturating_sub(data);
            if *left == 0 {
                self.0 = Stage::Chunks(Chunk::DataCr);
            }
        }
    }

    /// Moves data together. A large chunk stays where it is, for another call, if that takes its being moved.
    ///
    /// # Errors
    /// The bytes are no such body.
    pub(crate) fn decode(&mut self, bytes: &mut [u8]) -> Result<Decoded, Malformed> {
        let (mut data, mut taken) = (0..0, 0);
        while taken < bytes.len() && !self.is_over() {
            let here = self.left().min((bytes.len() - taken) as u64);
            if here > MOVED_MOST && !data.is_empty() {
                break;
            }
            let (count, piece) = self.step(&bytes[taken..])?;
            if piece == Piece::Data {
                if data.is_empty() {
                    data = taken..taken + count;
                } else {
                    bytes.copy_within(taken..taken + count, data.end);
                    data.end += count;
                }
            }
            taken += count;
        }
        Ok(Decoded { data, taken })
    }

    /// Goes over bytes up to the first data or the end of the body, and says how many.
    ///
    /// # Errors
    /// As [`Self::decode`].
    pub(crate) fn find_data(&mut self, bytes: &[u8]) -> Result<usize, Malformed> {
        let mut at = 0;
        while at < bytes.len() && self.left() == 0 && !self.is_over() {
            at += self.step(&bytes[at..])?.0;
        }
        Ok(at)
    }

    /// How much data there is in bytes that are gone over.
    ///
    /// # Errors
    /// As [`Self::decode`].
    pub(crate) fn count(&mut self, bytes: &[u8]) -> Result<usize, Malformed> {
        let (mut data, mut at) = (0, 0);
        while at < bytes.len() && !self.is_over() {
            let (count, piece) = self.step(&bytes[at..])?;
            at += count;
            data += if piece == Piece::Data { count } else { 0 };
        }
        Ok(data)
    }

    /// Goes over one piece, or what is there of it.
    pub(super) fn step(&mut self, bytes: &[u8]) -> Result<(usize, Piece), Malformed> {
        if self.left() > 0 {
            let here = usize::try_from(self.left()).unwrap_or(usize::MAX).min(bytes.len());
            self.skip(here as u64);
            return Ok((here, Piece::Data));
        }
        for (at, &byte) in bytes.iter().enumerate() {
            self.0 = match self.0 {
                Stage::Over => return Ok((at, Piece::Other)),
                Stage::Chunks(Chunk::SizeEnd { size: 0 }) if byte == b'\n' => Stage::Trailers(Section::START),
                Stage::Chunks(chunk) => Stage::Chunks(chunk.next(byte)?),
                Stage::Trailers(section) => section.next(byte)?.map_or(Stage::Over, Stage::Trailers),
            };
            match self.0 {
                Stage::Chunks(Chunk::START) => return Ok((at + 1, Piece::DataEnd)),
                Stage::Chunks(Chunk::Data { .. }) | Stage::Over => return Ok((at + 1, Piece::Other)),
                Stage::Chunks(_) | Stage::Trailers(_) => {}
            }
        }
        Ok((bytes.len(), Piece::Other))
    }
}

/// Bytes of a chunk that are moved to those of the chunks before; more are worth a write of their own.
const MOVED_MOST: u64 = 8 * 1024;

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A body as a pod may write it: data, and how it is cut.
    #[derive(Clone, Debug)]
    pub(crate) struct Written {
        pub(crate) data: Vec<u8>,
        pub(crate) coded: Vec<u8>,
    }

    /// Bodies in chunks of any sizes, with zeros before the size, extensions and trailers.
    pub(crate) fn bodies() -> impl Strategy<Value = Written> {
        let size = prop_oneof![4 => 1..40usize, 2 => 1..600usize, 1 => 1..9000usize, 1 => 8_000..8_400usize];
        let before = prop_oneof![3 => Just(""), 1 => Just("0"), 1 => Just("00000")];
        let after = prop_oneof![3 => Just(""), 1 => Just(" "), 1 => Just(";a"), 1 => Just(" ; b=\";0\"")];
        let chunk = (size, before, after, any::<bool>(), any::<u8>());
        let trailers = prop_oneof![3 => Just(""), 1 => Just("X-Sum: 0\r\n"), 1 => Just("a:\r\nb: c\r\n")];
        let last = prop_oneof![Just("0"), Just("000"), Just("0;last")];
        (prop::collection::vec(chunk, 0..12), trailers, last).prop_map(|(chunks, trailers, last)| {
            let (mut data, mut coded) = (Vec::new(), Vec::new());
            for (size, before, after, upper, seed) in chunks {
                let part: Vec<u8> = (0..size).map(|at| b"\r\n0;Aa"[(at * 7 + usize::from(seed)) % 6]).collect();
                let size = if upper { format!("{size:X}") } else { format!("{size:x}") };
                coded.extend_from_slice(format!("{before}{size}{after}\r\n").as_bytes());
                coded.extend_from_slice(&part);
                coded.extend_from_slice(b"\r\n");
                data.extend_from_slice(&part);
            }
            coded.extend_from_slice(format!("{last}\r\n{trailers}\r\n").as_bytes());
            Written { data, coded }
        })
    }

    /// Cuts at any places.
    pub(crate) fn cut<'b>(bytes: &'b [u8], cuts: &[prop::sample::Index]) -> Vec<&'b [u8]> {
        let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        places.extend([0, bytes.len()]);
        places.sort_unstable();
        places.windows(2).map(|ends| &bytes[ends[0]..ends[1]]).collect()
    }

    proptest! {
        #[test]
        fn the_data_is_found_however_it_is_cut(
            written in bodies(),
            after in prop::collection::vec(any::<u8>(), 0..20),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        ) {
            let all = [&written.coded[..], &after].concat();
            let (mut state, mut counting) = (Chunked::START, Chunked::START);
            let (mut data, mut surplus, mut counted) = (Vec::new(), Vec::new(), 0);
            for part in cut(&all, &cuts) {
                counted += counting.count(part).unwrap();
                let mut part = part.to_vec();
                while !part.is_empty() && !state.is_over() {
                    let Decoded { data: found, taken } = state.decode(&mut part).unwrap();
                    prop_assert!(taken > 0);
                    data.extend_from_slice(&part[found]);
                    part.drain(..taken);
                }
                surplus.extend_from_slice(&part);
            }
            prop_assert!(state.is_over());
            prop_assert_eq!(counted, data.len());
            prop_assert_eq!(data, written.data);
            prop_assert_eq!(surplus, after);
        }
    }

    #[test]
    fn a_body_that_is_cut_off_is_not_over() {
        let coded = b"5;x\r\nhello\r\n0\r\na: b\r\n\r\n";
        for length in 0..coded.len() {
            let mut state = Chunked::START;
            state.decode(&mut coded[..length].to_vec()).unwrap();
            assert!(!state.is_over(), "{length}");
        }
    }
}
