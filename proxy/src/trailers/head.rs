//! Headers of HTTP/1 as they pass by: bytes flow in, where a header ends and what it says of the body flow out. Reads line ends
//! as leniently as the parser of the proxy does. Pure.

/// Looks for the end of a header: the first empty line after the first line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HeadEnd {
    started: bool,
    line_is_empty: bool,
}

impl HeadEnd {
    /// Before the first byte.
    pub(super) const START: Self = Self { started: false, line_is_empty: true };

    /// Goes on until the header has ended, which the answer says together with the bytes it took.
    pub(super) fn run(&mut self, bytes: &[u8]) -> (usize, bool) {
        for (at, byte) in bytes.iter().enumerate() {
            match byte {
                b'\n' if self.started && self.line_is_empty => return (at + 1, true),
                b'\n' => self.line_is_empty = true,
                b'\r' => {}
                _ => *self = Self { started: true, line_is_empty: false },
            }
        }
        (bytes.len(), false)
    }
}

/// The status of a response header; `None` if it has none.
pub(super) fn status(head: &[u8]) -> Option<u16> {
    let mut words = head.trim_ascii_start().split(|byte| *byte == b' ').filter(|word| !word.is_empty()).skip(1);
    std::str::from_utf8(words.next()?.trim_ascii_end().get(..3)?).ok()?.parse().ok()
}

/// Whether the last coding of the body is `chunked`.
pub(super) fn is_chunked(head: &[u8]) -> bool {
    let mut codings = head.split(|byte| *byte == b'\n').filter_map(|line| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let (name, value) = line.split_at(colon);
        name.trim_ascii_end().eq_ignore_ascii_case(b"transfer-encoding").then_some(&value[1..])
    });
    let last = codings.next_back().and_then(|codings| codings.rsplit(|byte| *byte == b',').next());
    last.is_some_and(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"chunked"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_ends_with_its_first_empty_line() {
        for (bytes, expected) in [
            (&b"HTTP/1.1 200 OK\r\na: b\r\n\r\nbody"[..], (25, true)),
            (b"HTTP/1.1 200 OK\na: b\n\nbody", (22, true)),
            (b"\r\n\nGET / HTTP/1.1\r\n\r\n", (21, true)),
            (b"HTTP/1.1 200 OK\r\na: b\r\n\r", (24, false)),
            (b"\r\n\r\n\r\n", (6, false)),
        ] {
            assert_eq!(HeadEnd::START.clone().run(bytes), expected, "{}", String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn status_and_coding_are_read() {
        for (head, code, chunked) in [
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", Some(200), true),
            ("HTTP/1.1 103\r\n\r\n", Some(103), false),
            ("HTTP/1.1 200\r\ntransfer-encoding : gzip, Chunked \r\n\r\n", Some(200), true),
            ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntransfer-encoding: gzip\r\n\r\n", Some(200), false),
            ("HTTP/1.1 200 OK\r\nx-transfer-encoding: chunked\r\n\r\n", Some(200), false),
            ("HTTP/1.1\r\n\r\n", None, false),
            ("HTTP/1.1 2\r\n\r\n", None, false),
        ] {
            assert_eq!((status(head.as_bytes()), is_chunked(head.as_bytes())), (code, chunked), "{head}");
        }
    }
}
