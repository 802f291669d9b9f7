//! A trailer section that nobody wants: its bytes flow in, one by one, its end flows out. As strict as the reader of those that are
//! passed on. Pure.

use super::Malformed;
use crate::limits::{TRAILER_BYTES, TRAILER_FIELDS};

/// Where in a trailer section the next byte is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Section {
    place: Place,
    bytes: usize,
    fields: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Before a field, or the empty line.
    Start,
    Name,
    Value,
    /// Before the LF of a field.
    FieldLf,
    /// Before the LF of the empty line.
    LastLf,
}

impl Section {
    /// After the line of the last chunk.
    pub(super) const START: Self = Self { place: Place::Start, bytes: 0, fields: 0 };

    /// After one more byte; `None` is the end.
    ///
    /// # Errors
    /// It is none (RFC 9112 §7.1.2), or too large.
    pub(super) fn next(self, byte: u8) -> Result<Option<Self>, Malformed> {
        let Self { place, bytes, mut fields } = self;
        let place = match (place, byte) {
            (Place::LastLf, b'\n') => return Ok(None),
            (Place::Start, b'\r') => Place::LastLf,
            (Place::Start, byte) if is_of_token(byte) => {
                fields += 1;
                Place::Name
            }
            (Place::Name, b':') => Place::Value,
            (Place::Name, byte) if is_of_token(byte) => Place::Name,
            (Place::Value, b'\r') => Place::FieldLf,
            (Place::Value, b'\t' | b' '..=b'~' | 0x80..) => Place::Value,
            (Place::FieldLf, b'\n') => Place::Start,
            _ => return Err(Malformed::Trailers),
        };
        let bytes = bytes + 1;
        if bytes >= TRAILER_BYTES || fields > TRAILER_FIELDS {
            return Err(Malformed::TooLarge);
        }
        Ok(Some(Self { place, bytes, fields }))
    }
}

/// Whether a byte can be one of a token (RFC 9110 §5.6.2).
pub(crate) fn is_of_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(section: &str) -> Result<Option<usize>, Malformed> {
        let mut state = Section::START;
        for (at, byte) in section.bytes().enumerate() {
            match state.next(byte)? {
                Some(next) => state = next,
                None => return Ok(Some(at + 1)),
            }
        }
        Ok(None)
    }

    #[test]
    fn the_end_is_found_and_nothing_else_is_taken_for_it() {
        for (section, expected) in [
            ("\r\n", Ok(Some(2))),
            ("\r\nHTTP/1.1 200 OK\r\n\r\n", Ok(Some(2))),
            ("X-Checksum: abc\r\n\r\nrest", Ok(Some(19))),
            ("a:\r\nb:\tx y \r\n\r\n", Ok(Some(15))),
            ("a: b\r\n", Ok(None)),
            ("", Ok(None)),
            ("\n", Err(Malformed::Trailers)),
            ("\r\r", Err(Malformed::Trailers)),
            ("a: b\n\r\n", Err(Malformed::Trailers)),
            ("a: b\r\n c: d\r\n\r\n", Err(Malformed::Trailers)),
            ("a : b\r\n\r\n", Err(Malformed::Trailers)),
            (": b\r\n\r\n", Err(Malformed::Trailers)),
            ("a\r\n\r\n", Err(Malformed::Trailers)),
            ("a: b\rc\r\n\r\n", Err(Malformed::Trailers)),
            ("a: b\0\r\n\r\n", Err(Malformed::Trailers)),
        ] {
            assert_eq!(end(section), expected, "{section:?}");
        }
    }

    #[test]
    fn it_is_bounded() {
        let fields = |count| "a: b\r\n".repeat(count) + "\r\n";
        assert!(end(&fields(TRAILER_FIELDS)).is_ok());
        assert_eq!(end(&fields(TRAILER_FIELDS + 1)), Err(Malformed::TooLarge));
        assert_eq!(end(&format!("a: {}", "b".repeat(TRAILER_BYTES))), Err(Malformed::TooLarge));
    }
}
