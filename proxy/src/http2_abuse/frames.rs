//! Frames of HTTP/2 as they pass by (RFC 9113 §4.1): bytes of one direction flow in, in whatever parts, the head of each frame flows out,
//! with the error code of one that resets a stream. Pure.

/// The head of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FrameHead {
    /// Bytes of its content.
    pub(super) length: u32,
    /// Its type.
    pub(super) kind: u8,
    pub(super) flags: u8,
    /// 0 is the connection.
    pub(super) stream: u32,
    /// Of RST_STREAM; 0 otherwise.
    pub(super) code: u32,
}

/// How far one direction is.
#[derive(Debug, Default)]
pub(super) struct Frames {
    /// What came of the head, and of the code that may follow it.
    head: [u8; HEAD + CODE],
    have: usize,
    /// Bytes until the next head.
    skip: u32,
}

impl Frames {
    /// From a first frame on that so many bytes come before.
    pub(super) fn after(bytes: u32) -> Self {
        Self { skip: bytes, ..Self::default() }
    }

    /// Goes over bytes, and tells each frame once its head is there.
    pub(super) fn read(&mut self, mut bytes: &[u8], mut seen: impl FnMut(FrameHead)) {
        while !bytes.is_empty() {
            if self.skip > 0 {
                let here = bytes.len().min(usize::try_from(self.skip).unwrap_or(usize::MAX));
                self.skip -= u32::try_from(here).unwrap_or(self.skip);
                bytes = &bytes[here..];
                continue;
            }
            let here = bytes.len().min(self.wanted() - self.have);
            self.head[self.have..self.have + here].copy_from_slice(&bytes[..here]);
            self.have += here;
            bytes = &bytes[here..];
            if self.have == self.wanted() {
                let head = self.whole();
                self.skip = head.length - u32::try_from(self.have - HEAD).unwrap_or_default();
                self.have = 0;
                seen(head);
            }
        }
    }

    /// Whether the last frame has passed by, whole.
    pub(super) fn is_between_frames(&self) -> bool {
        self.skip == 0 && self.have == 0
    }

    /// Bytes that are wanted of a frame, as far as is known.
    fn wanted(&self) -> usize {
        let [a, b, c, kind, ..] = self.head;
        let has_code = kind == RST_STREAM && u32::from_be_bytes([0, a, b, c]) >= 4;
        if self.have >= HEAD && has_code { HEAD + CODE } else { HEAD }
    }

    fn whole(&self) -> FrameHead {
        let [a, b, c, kind, flags, s, t, u, v, code @ ..] = self.head;
        FrameHead {
            length: u32::from_be_bytes([0, a, b, c]),
            kind,
            flags,
            stream: u32::from_be_bytes([s & 0x7f, t, u, v]),
            code: if self.have > HEAD { u32::from_be_bytes(code) } else { 0 },
        }
    }
}

/// Bytes of a head.
const HEAD: usize = 9;
/// Bytes of an error code.
const CODE: usize = 4;
const RST_STREAM: u8 = 3;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn bytes(head: FrameHead) -> Vec<u8> {
        let mut bytes = head.length.to_be_bytes()[1..].to_vec();
        bytes.extend([head.kind, head.flags]);
        bytes.extend(head.stream.to_be_bytes());
        let mut content = vec![0xff; head.length as usize];
        if head.kind == RST_STREAM && head.length >= 4 {
            content[..4].copy_from_slice(&head.code.to_be_bytes());
        }
        bytes.extend(content);
        bytes
    }

    fn head() -> impl Strategy<Value = FrameHead> {
        (0_u32..20, 0_u8..12, any::<u8>(), 0_u32..0x7fff_ffff, any::<u32>()).prop_map(
            |(length, kind, flags, stream, code)| {
                let code = if kind == RST_STREAM && length >= 4 { code } else { 0 };
                FrameHead { length, kind, flags, stream, code }
            },
        )
    }

    proptest! {
        #[test]
        fn frames_are_found_in_whatever_parts_they_come(
            heads in vec(head(), 0..8), preface in 0_u32..30, cuts in vec(0_usize..300, 0..6),
        ) {
            let mut wire = vec![0xff; preface as usize];
            wire.extend(heads.iter().copied().flat_map(bytes));
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(wire.len())).chain([0, wire.len()]).collect();
            cuts.sort_unstable();
            let (mut frames, mut seen) = (Frames::after(preface), Vec::new());
            for cut in cuts.windows(2) {
                frames.read(&wire[cut[0]..cut[1]], |head| seen.push(head));
            }
            prop_assert_eq!(seen, heads);
            prop_assert!(frames.is_between_frames());
        }
    }
}
