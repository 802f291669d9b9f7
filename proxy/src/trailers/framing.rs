//! The framing of messages of HTTP/1 (RFC 9112 §6) as they pass by: bytes flow in, in whatever parts, where a trailer section
//! begins flows out. Follows the framing alone; what a body looks like plays no part. Pure.

use super::head::{HeadEnd, is_chunked, status};
use crate::chunked::{Chunk, Malformed};
use crate::limits::TRAILED_HEADER_BYTES;

/// One message, or the final response after its interim ones.
#[derive(Debug)]
pub(super) struct Framing {
    stage: Stage,
    /// The header so far.
    header: Vec<u8>,
    response: bool,
}

/// Where in the message the next byte is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Header(HeadEnd),
    Chunks(Chunk),
    /// After the line of the last chunk.
    Trailers,
    /// In a message without a trailer section, or after it.
    Elsewhere,
}

impl Framing {
    /// From the header of a request on.
    pub(super) fn of_request() -> Self {
        Self { stage: Stage::Header(HeadEnd::START), header: Vec::new(), response: false }
    }

    /// From the header of the first response to a request, other than HEAD, on.
    pub(super) fn of_response() -> Self {
        Self { response: true, ..Self::of_request() }
    }

    /// From the start of a chunked body on.
    pub(super) fn of_body() -> Self {
        Self { stage: Stage::Chunks(Chunk::START), header: Vec::new(), response: false }
    }

    /// Whether what comes next belongs to the trailer section.
    pub(super) fn is_at_trailers(&self) -> bool {
        self.stage == Stage::Trailers
    }

    /// The trailer section is over.
    pub(super) fn leave_trailers(&mut self) {
        self.stage = Stage::Elsewhere;
    }

    /// Goes over bytes until a trailer section begins, and says how many came before.
    ///
    /// # Errors
    /// A body is not in the coding that its header names.
    pub(super) fn advance(&mut self, bytes: &[u8]) -> Result<usize, Malformed> {
        let mut at = 0;
        while at < bytes.len() && !self.is_at_trailers() {
            let (taken, ended) = self.stage.run(&bytes[at..])?;
            let part = &bytes[at..at + taken];
            at += taken;
            match self.stage {
                Stage::Header(_) => self.take_header(part, ended),
                Stage::Chunks(_) if ended => self.stage = Stage::Trailers,
                Stage::Chunks(_) | Stage::Trailers | Stage::Elsewhere => {}
            }
        }
        Ok(at)
    }

    /// Bytes up to the end of a header or of the line of the last chunk, without going over them; all where neither is in
    /// `bytes`.
    ///
    /// # Errors
    /// As [`Self::advance`].
    pub(super) fn next_end(&self, bytes: &[u8]) -> Result<usize, Malformed> {
        let mut tried = self.stage;
        Ok(tried.run(bytes)?.0)
    }

    /// Whether `parts` end neither a header nor the line of the last chunk.
    pub(super) fn goes_on(&self, parts: &[std::io::IoSlice<'_>]) -> Result<bool, Malformed> {
        let mut tried = self.stage;
        for part in parts {
            if tried.run(part)?.1 {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn take_header(&mut self, part: &[u8], ended: bool) {
        if self.header.len() + part.len() > TRAILED_HEADER_BYTES {
            self.header = Vec::new();
            self.stage = Stage::Elsewhere;
            return;
        }
        self.header.extend_from_slice(part);
        if ended {
            let header = std::mem::take(&mut self.header);
            self.stage = match status(&header) {
                // An interim response (RFC 9110 §15.2): another header follows.
                Some(100 | 102..=199) if self.response => Stage::Header(HeadEnd::START),
                None | Some(101 | 204 | 304) if self.response => Stage::Elsewhere,
                _ if is_chunked(&header) => Stage::Chunks(Chunk::START),
                _ => Stage::Elsewhere,
            };
        }
    }
}

impl Stage {
    fn run(&mut self, bytes: &[u8]) -> Result<(usize, bool), Malformed> {
        match self {
            Self::Header(end) => Ok(end.run(bytes)),
            Self::Chunks(chunk) => chunk.run(bytes),
            Self::Trailers | Self::Elsewhere => Ok((bytes.len(), false)),
        }
    }
}
