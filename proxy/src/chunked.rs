//! The chunked coding (RFC 9112 §7.1), read strictly: bytes of a body flow in, in whatever parts; its data flows out, or the same body
//! in one normal form for the next recipient. Pure. Read by `trailers`, which looks for the end alone, by the exchanges of `http`,
//! and by `splice`.

mod body;
mod chunk;
mod frame;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod section;

pub(crate) use body::{Chunked, Decoded};
pub(crate) use chunk::Chunk;
pub(crate) use frame::{Framed, HEADROOM, SizeLine, TAILROOM, frame};
pub(crate) use section::is_of_token;

use std::io;

/// A message is not framed as HTTP/1 says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    /// RFC 9112 §7.1.
    #[error("a body is in no chunked coding")]
    Chunk,
    /// RFC 9112 §7.1.2.
    #[error("a trailer section is malformed")]
    Trailers,
    /// Beyond the limits of the proxy.
    #[error("a trailer section or a chunk extension is too large")]
    TooLarge,
}

impl From<Malformed> for io::Error {
    fn from(malformed: Malformed) -> Self {
        Self::new(io::ErrorKind::InvalidData, malformed)
    }
}
