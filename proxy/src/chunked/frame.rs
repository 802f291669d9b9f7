//! Whole chunks in one normal form for the next recipient: what a pod sent flows in, in a buffer, and flows out of the same buffer,
//! without extensions, trailers and the last chunk, which whoever ends the message writes. Mostly what came is in that form already, and
//! not a byte is moved. Pure.

use super::Malformed;
use super::body::{Chunked, Piece};
use std::io::{Cursor, Write as _};
use std::ops::Range;

/// What is to go out of a buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Framed {
    /// Where it is: whole chunks, or nothing.
    pub(crate) wire: Range<usize>,
    /// How much of it is data.
    pub(crate) data: usize,
    /// Bytes that came after the end of the body.
    pub(crate) surplus: usize,
}

impl Chunked {
    /// Makes whole chunks of what came, and is in a buffer between [`HEADROOM`] and [`TAILROOM`].
    ///
    /// # Errors
    /// What came is no such body. What was before the fault is lost.
    pub(crate) fn frame(&mut self, buffer: &mut [u8]) -> Result<Framed, Malformed> {
        let end = buffer.len() - TAILROOM;
        let (mut at, mut data, mut open) = (HEADROOM, 0, false);
        let mut wire = Wire { buffer, range: HEADROOM..HEADROOM };
        while at < end && !self.is_over() {
            let here = self.left().min((end - at) as u64);
            if here > 0 {
                wire.put(SizeLine::of(here).bytes(), at);
                open = true;
            }
            let (count, piece) = self.step(&wire.buffer[at..end])?;
            if piece == Piece::Data {
                wire.pass(at..at + count);
                data += count;
            }
            at += count;
            // A chunk that came in parts has no end for its recipient, who has got several.
            if piece == Piece::DataEnd && std::mem::take(&mut open) {
                wire.put(b"\r\n", at);
            }
        }
        if open {
            wire.put(b"\r\n", end + TAILROOM);
        }
        Ok(Framed { wire: wire.range, data, surplus: end - at })
    }
}

/// Makes one chunk of what came, which is all data, and in a buffer between [`HEADROOM`] and [`TAILROOM`].
pub(crate) fn frame(buffer: &mut [u8]) -> Framed {
    let came = HEADROOM..buffer.len() - TAILROOM;
    let data = came.len();
    let mut wire = Wire { range: HEADROOM..HEADROOM, buffer };
    if data > 0 {
        wire.put(SizeLine::of(data as u64).bytes(), came.start);
        wire.pass(came.clone());
        wire.put(b"\r\n", came.end + TAILROOM);
    }
    Framed { wire: wire.range, data, surplus: 0 }
}

/// Bytes before those that came in a buffer: a line may have come in parts, and goes out as one.
pub(crate) const HEADROOM: usize = 32;
/// Bytes after them.
pub(crate) const TAILROOM: usize = 2;

/// The line before the data of a chunk.
#[derive(Debug)]
pub(crate) struct SizeLine {
    line: [u8; 18],
    length: usize,
}

impl SizeLine {
    /// Of so much data.
    pub(crate) fn of(size: u64) -> Self {
        let mut line = Cursor::new([0; 18]);
        // Sixteen digits and the end of the line have room.
        drop(write!(line, "{size:x}\r\n"));
        Self { length: usize::try_from(line.position()).unwrap_or_default(), line: line.into_inner() }
    }

    /// What is sent.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.line[..self.length]
    }
}

/// What goes out, in the buffer of what came.
struct Wire<'b> {
    buffer: &'b mut [u8],
    /// Never beyond what was gone over: no normal form is longer than what it stands for.
    range: Range<usize>,
}

impl Wire<'_> {
    /// Adds bytes that stand for what ends at `at`.
    fn put(&mut self, bytes: &[u8], at: usize) {
        if self.range.is_empty() {
            self.range = at - bytes.len()..at - bytes.len();
        }
        let end = self.range.end + bytes.len();
        self.buffer[self.range.end..end].copy_from_slice(bytes);
        self.range.end = end;
    }

    /// Adds what came.
    fn pass(&mut self, came: Range<usize>) {
        if self.range.is_empty() {
            self.range = came;
        } else if self.range.end == came.start {
            self.range.end = came.end;
        } else {
            let length = came.len();
            self.buffer.copy_within(came, self.range.end);
            self.range.end += length;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::body::tests::{bodies, cut};
    use super::*;
    use proptest::prelude::*;

    /// Another reader than the one that is tested: chunks of one form, up to the last one.
    fn plain_decode(mut wire: &[u8]) -> Option<Vec<u8>> {
        let mut data = Vec::new();
        loop {
            let line = wire.windows(2).position(|end| end == b"\r\n")?;
            let digits = std::str::from_utf8(&wire[..line]).ok()?;
            let size = usize::from_str_radix(digits, 16).ok()?;
            if digits != format!("{size:x}") {
                return None;
            }
            wire = &wire[line + 2..];
            if size == 0 {
                return (wire == b"\r\n").then_some(data);
            }
            data.extend_from_slice(wire.get(..size)?);
            wire = wire[size..].strip_prefix(b"\r\n")?;
        }
    }

    fn buffer(came: &[u8]) -> Vec<u8> {
        [&[b'#'; HEADROOM], came, &[b'#'; TAILROOM]].concat()
    }

    proptest! {
        #[test]
        fn what_goes_out_is_the_same_body_in_normal_form(
            written in bodies(),
            after in prop::collection::vec(any::<u8>(), 0..20),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
            skipping in any::<bool>(),
        ) {
            let (mut state, mut wire, mut surplus, mut told) = (Chunked::START, Vec::new(), 0, 0);
            let all = [&written.coded[..], &after].concat();
            for mut part in cut(&all, &cuts) {
                let skipped = usize::try_from(state.left()).unwrap().min(part.len());
                if skipping && skipped > 0 {
                    // Some of the data goes another way.
                    wire.extend_from_slice(SizeLine::of(skipped as u64).bytes());
                    wire.extend_from_slice(&[&part[..skipped], b"\r\n"].concat());
                    state.skip(skipped as u64);
                    told += skipped;
                    part = &part[skipped..];
                }
                let mut buffer = buffer(part);
                let framed = state.frame(&mut buffer).unwrap();
                let out = &buffer[framed.wire.clone()];
                let mut read = Chunked::START;
                prop_assert_eq!(read.count(out).unwrap(), framed.data);
                prop_assert_eq!(read, Chunked::START, "the chunks are whole");
                told += framed.data;
                wire.extend_from_slice(out);
                surplus += framed.surplus;
            }
            prop_assert!(state.is_over());
            prop_assert_eq!(surplus, after.len());
            prop_assert_eq!(told, written.data.len());
            wire.extend_from_slice(b"0\r\n\r\n");
            prop_assert_eq!(plain_decode(&wire), Some(written.data));
        }

        #[test]
        fn what_was_not_coded_becomes_one_chunk(data in prop::collection::vec(any::<u8>(), 0..5000)) {
            let mut buffer = buffer(&data);
            let framed = frame(&mut buffer);
            prop_assert_eq!((framed.data, framed.surplus), (data.len(), 0));
            let wire = &buffer[framed.wire];
            prop_assert_eq!(plain_decode(&[wire, b"0\r\n\r\n"].concat()), Some(data));
        }
    }

    #[test]
    fn what_is_in_normal_form_stays_where_it_is() {
        let came = b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n";
        let mut bytes = buffer(came);
        let framed = Chunked::START.clone().frame(&mut bytes).unwrap();
        assert_eq!(framed.wire, HEADROOM..HEADROOM + came.len() - 5);
        assert!(bytes[HEADROOM..].starts_with(b"5\r\nhello\r\n6\r\n world\r\n"));
    }

    #[test]
    fn a_chunk_that_came_in_parts_goes_out_in_as_many() {
        let (mut state, mut wire) = (Chunked::START, Vec::new());
        for part in [&b"000fffffffffff"[..], b"f;x\r", b"\nhello", b"", b"o"] {
            let mut buffer = buffer(part);
            let framed = state.frame(&mut buffer).unwrap();
            wire.extend_from_slice(&buffer[framed.wire]);
        }
        assert_eq!(wire, b"5\r\nhello\r\n1\r\no\r\n");
    }

    #[test]
    fn the_longest_line_has_room() {
        assert_eq!(SizeLine::of(u64::MAX).bytes(), b"ffffffffffffffff\r\n");
    }
}
