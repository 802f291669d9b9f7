//! The chunked coding (RFC 9112 §7.1) as it passes by: bytes flow in, in whatever parts, where the line of the last chunk ends
//! flows out. Stricter than the parser that the proxy and the pod use, so that it never sees an end where they see none: a size
//! has digits, a line ends with CRLF. Pure, and so small that it can be tried on a copy.

use super::Malformed;
use crate::limits::CHUNK_EXTENSION_BYTES;

/// Where in the coding the next byte is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Chunk {
    /// In the digits of a size.
    Size { size: u64, digits: u8 },
    /// After the digits, in white space or an extension, of which there were so many bytes.
    Extension { size: u64, named: bool, length: usize },
    /// Before the LF of the line of a size.
    SizeEnd { size: u64 },
    /// In data.
    Data { left: u64 },
    /// Before the CR after data.
    DataCr,
    /// Before the LF after data.
    DataLf,
}

impl Chunk {
    /// Before the first chunk.
    pub(crate) const START: Self = Self::Size { size: 0, digits: 0 };

    /// Goes on until the line of the last chunk has ended, which the answer says together with the bytes it took.
    ///
    /// # Errors
    /// The bytes are no chunked coding.
    pub(crate) fn run(&mut self, bytes: &[u8]) -> Result<(usize, bool), Malformed> {
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            if let Self::Data { left } = self {
                let here = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len() - at);
                *left -= here as u64;
                if *left == 0 {
                    *self = Self::DataCr;
                }
                at += here;
                continue;
            }
            at += 1;
            *self = match (*self, byte) {
                (Self::SizeEnd { size: 0 }, b'\n') => return Ok((at, true)),
                (state, byte) => state.next(byte)?,
            };
        }
        Ok((at, false))
    }

    /// After one more byte of what is no data.
    ///
    /// # Errors
    /// The byte cannot stand here.
    pub(super) fn next(self, byte: u8) -> Result<Self, Malformed> {
        match (self, byte) {
            (Self::Size { size, digits }, byte) if byte.is_ascii_hexdigit() && digits < LONGEST_SIZE => {
                let digit = char::from(byte).to_digit(16).map_or(0, u64::from);
                Ok(Self::Size { size: size << 4 | digit, digits: digits + 1 })
            }
            (Self::Size { size, digits: 1.. } | Self::Extension { size, .. }, b'\r') => Ok(Self::SizeEnd { size }),
            (Self::Extension { length: CHUNK_EXTENSION_BYTES.., .. }, _) => Err(Malformed::TooLarge),
            (Self::Size { size, digits: 1.. }, b' ' | b'\t' | b';') => {
                Ok(Self::Extension { size, named: byte == b';', length: 1 })
            }
            (Self::Extension { size, named: false, length }, b' ' | b'\t' | b';') => {
                Ok(Self::Extension { size, named: byte == b';', length: length + 1 })
            }
            (Self::Extension { size, named: true, length }, byte) if byte != b'\n' => {
                Ok(Self::Extension { size, named: true, length: length + 1 })
            }
            (Self::SizeEnd { size }, b'\n') => Ok(Self::Data { left: size }),
            (Self::DataCr, b'\r') => Ok(Self::DataLf),
            (Self::DataLf, b'\n') => Ok(Self::START),
            _ => Err(Malformed::Chunk),
        }
    }
}

/// Hexadecimal digits of a size in 64 bits, less one.
const LONGEST_SIZE: u8 = 15;

#[cfg(test)]
mod tests {
    use super::*;

    fn end(coded: &[u8]) -> Result<(usize, bool), Malformed> {
        Chunk::START.clone().run(coded)
    }

    #[test]
    fn the_last_chunk_is_found_wherever_it_looks_like_data() {
        for (coded, expected) in [
            (&b"0\r\n\r\n"[..], (3, true)),
            (b"0\r\nx: y\r\n\r\n", (3, true)),
            (b"000 ;a=\"0\"\r\nrest", (12, true)),
            (b"5\r\n0\r\n\r\n\r\n0\r\n\r\n", (13, true)),
            (b"A;name\r\n0123456789\r\n0\r\n", (23, true)),
            (b"a \t\r\n0\r\n\r\n0\r\n\r\n\r\n0\r\n", (20, true)),
            (b"5\r\nhel", (6, false)),
        ] {
            assert_eq!(end(coded), Ok(expected), "{}", String::from_utf8_lossy(coded));
        }
    }

    #[test]
    fn an_extension_has_an_end() {
        let coded = |length: usize| format!("5;{}\r\nhello\r\n0\r\n", "x".repeat(length - 1));
        let longest = coded(CHUNK_EXTENSION_BYTES);
        assert_eq!(end(longest.as_bytes()), Ok((longest.len(), true)));
        for coded in [coded(CHUNK_EXTENSION_BYTES + 1), format!("5{}", " ".repeat(CHUNK_EXTENSION_BYTES + 1))] {
            assert_eq!(end(coded.as_bytes()), Err(Malformed::TooLarge));
        }
    }

    #[test]
    fn what_two_parsers_could_read_differently_is_no_chunked_coding() {
        for coded in [
            &b"\r\n"[..],
            b" 5\r\nhello",
            b"5\nhello",
            b"0\n\n",
            b"5;x\nhello",
            b"0x5\r\n",
            b"-1\r\n",
            b"5 5\r\nhello",
            b"5\rhello",
            b"5\r\nhelloX\r\n",
            b"5\r\nhello\n",
            b"5\r\nhello\r5",
            b"0000000000000000\r\n",
            b"ffffffffffffffff\r\n",
        ] {
            assert_eq!(end(coded), Err(Malformed::Chunk), "{}", String::from_utf8_lossy(coded));
        }
    }
}
