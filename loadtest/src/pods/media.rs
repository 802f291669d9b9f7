//! Content of any size that needs no memory and that a receiver can verify: one fixed pattern, repeated. Byte `i` of every media
//! object is the same everywhere, so that a part fetched from another pod fits. Called by the pods' handler and by clients.

use bytes::Bytes;
use http_body_util::BodyExt as _;
use http_body_util::combinators::BoxBody;
use hyper::body::{Body, Frame, SizeHint};
use std::convert::Infallible;
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::sync::OnceLock;
use std::task::{Context, Poll};

/// The bytes of `range` of the content as a body; chunks are references to one shared pattern.
#[must_use]
pub fn body(range: Range<u64>) -> BoxBody<Bytes, io::Error> {
    Media { range }.map_err(|never| match never {}).boxed()
}

/// Whether `chunk` is what the content holds from `offset` on. A shift by a multiple of the pattern's length stays unseen; that
/// length is a prime, so no block size of a copy loop divides it.
#[must_use]
pub fn verify(offset: u64, chunk: &[u8]) -> bool {
    let mut offset = offset;
    let mut rest = chunk;
    while !rest.is_empty() {
        let expected = piece(offset, rest.len());
        let (head, tail) = rest.split_at(expected.len());
        if head != &expected[..] {
            return false;
        }
        offset += expected.len() as u64;
        rest = tail;
    }
    true
}

/// The entity tag of the media object of `bytes` bytes, quotes included (RFC 9110 §8.8.3).
#[must_use]
pub fn etag(bytes: u64) -> String {
    format!("\"media-{bytes}\"")
}

/// What a `Range` header asks of an object of `total` bytes (RFC 9110 §14.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// No usable range: the whole object, 200.
    Whole,
    /// One range: 206.
    Part(Range<u64>),
    /// A range outside the object: 416.
    Unsatisfiable,
}

/// Reads a `Range` header; several ranges or another unit count as none, as the RFC allows.
#[must_use]
pub fn select(header: Option<&str>, total: u64) -> Selection {
    let Some(spec) = header.and_then(|value| value.strip_prefix("bytes=")) else { return Selection::Whole };
    let Some((first, last)) = spec.split_once('-') else { return Selection::Whole };
    let (first, last) = (first.trim(), last.trim());
    let range = match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(first), Ok(last)) if first <= last => first..last.saturating_add(1).min(total),
        (Ok(first), Err(_)) if last.is_empty() => first..total,
        (Err(_), Ok(suffix)) if first.is_empty() => total.saturating_sub(suffix)..total,
        _ => return Selection::Whole,
    };
    if range.start >= total || range.is_empty() { Selection::Unsatisfiable } else { Selection::Part(range) }
}

#[derive(Debug)]
struct Media {
    range: Range<u64>,
}

impl Body for Media {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.range.is_empty() {
            return Poll::Ready(None);
        }
        let left = self.range.end - self.range.start;
        let chunk = piece(self.range.start, usize::try_from(left).unwrap_or(usize::MAX));
        self.range.start += chunk.len() as u64;
        Poll::Ready(Some(Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.range.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.range.end.saturating_sub(self.range.start))
    }
}

/// Up to `most` bytes of the content from `offset` on, never across the pattern's end.
pub(crate) fn piece(offset: u64, most: usize) -> Bytes {
    let pattern = pattern();
    let start = usize::try_from(offset % PATTERN as u64).unwrap_or(0);
    pattern.slice(start..pattern.len().min(start.saturating_add(most)))
}

/// Splitmix64, written out: the same bytes on every machine, and nothing that compresses.
fn pattern() -> &'static Bytes {
    static BYTES: OnceLock<Bytes> = OnceLock::new();
    BYTES.get_or_init(|| {
        let mut state = SEED;
        let words = std::iter::repeat_with(|| {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut word = state;
            word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            word ^ (word >> 31)
        });
        words.flat_map(u64::to_le_bytes).take(PATTERN).collect()
    })
}

const SEED: u64 = 0x6e65_6172_7369_6465;
/// The largest prime below 64 KiB.
const PATTERN: usize = 65_521;

#[cfg(test)]
mod tests {
    use super::*;

    fn collect(range: Range<u64>) -> Vec<u8> {
        let mut media = Media { range };
        let mut all = Vec::new();
        let waker = std::task::Waker::noop();
        while let Poll::Ready(Some(Ok(frame))) = Pin::new(&mut media).poll_frame(&mut Context::from_waker(waker)) {
            all.extend_from_slice(&frame.into_data().expect("only data"));
        }
        all
    }

    #[test]
    fn a_part_equals_the_same_part_of_the_whole() {
        let whole = collect(0..200_000);
        assert_eq!(whole.len(), 200_000);
        assert_eq!(collect(65_000..140_001), whole[65_000..140_001]);
        assert!(verify(65_000, &whole[65_000..140_001]));
    }

    #[test]
    fn a_changed_or_shifted_byte_is_seen() {
        let mut part = collect(100..70_000);
        assert!(!verify(101, &part));
        part[69_000] ^= 1;
        assert!(!verify(100, &part));
    }

    #[test]
    fn ranges_are_read_as_rfc_9110_says() {
        use Selection::{Part, Unsatisfiable, Whole};
        for (header, expected) in [
            (None, Whole),
            (Some("bytes=0-0"), Part(0..1)),
            (Some("bytes=5-"), Part(5..10)),
            (Some("bytes=5-100"), Part(5..10)),
            (Some("bytes=-3"), Part(7..10)),
            (Some("bytes=-30"), Part(0..10)),
            (Some("bytes=10-"), Unsatisfiable),
            (Some("bytes=-0"), Unsatisfiable),
            (Some("bytes=5-4"), Whole),
            (Some("bytes=0-1,3-4"), Whole),
            (Some("bytes=-"), Whole),
            (Some("lines=0-1"), Whole),
        ] {
            assert_eq!(select(header, 10), expected, "{header:?}");
        }
    }
}
