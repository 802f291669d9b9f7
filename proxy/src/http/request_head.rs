//! The header of a request over HTTP/1 as it came, byte for byte: it flows in, the refusal of what two parsers could read in two ways
//! flows out. The parser below is lenient, and says nothing of it once it has read it: line feeds alone, targets that it has escaped,
//! a length beside a transfer coding or said twice. Called by `http` for every request, whichever way its bytes take. Pure.

use super::request::{Refusal, is_of_target, refuse};
use crate::chunked::is_of_token;
use crate::limits::REQUEST_HEAD_BYTES;

/// Refuses a header that is not exactly what RFC 9112 says. `came` is what the client sent of it, `parsed` what the parser made its
/// request of.
///
/// # Errors
/// [`Refusal`]; the connection is to be closed, for nobody knows where the next request begins.
pub(super) fn check(came: &[u8], parsed: &[u8]) -> Result<(), Refusal> {
    if came.len() > REQUEST_HEAD_BYTES {
        return Err(refuse(431, "header_size"));
    }
    let mut rest = came;
    // RFC 9112 §2.2 has a server ignore empty lines before a request.
    while let Some(after) = rest.strip_prefix(b"\r\n") {
        rest = after;
    }
    let (first, mut rest) = split_line(rest)?;
    check_request_line(first)?;
    let mut framing = Framing::default();
    loop {
        let (field, after) = split_line(rest)?;
        rest = after;
        if field.is_empty() {
            break;
        }
        framing.note(field)?;
    }
    // The parser's own changes, or an end that it saw elsewhere.
    if !rest.is_empty() || came != parsed { Err(refuse(400, "header")) } else { framing.check() }
}

/// The first line, without its end, and what follows it.
fn split_line(bytes: &[u8]) -> Result<(&[u8], &[u8]), Refusal> {
    let end = bytes.iter().position(|byte| *byte == b'\n').ok_or(refuse(400, "header"))?;
    let line = bytes[..end].strip_suffix(b"\r").filter(|line| !line.contains(&b'\r'));
    Ok((line.ok_or(refuse(400, "header"))?, &bytes[end + 1..]))
}

/// RFC 9112 §3: three words with one space between them.
fn check_request_line(line: &[u8]) -> Result<(), Refusal> {
    let mut words = line.split(|byte| *byte == b' ');
    let (Some(method), Some(target), Some(b"HTTP/1.1" | b"HTTP/1.0"), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(refuse(400, "target"));
    };
    if method.is_empty() || !method.iter().copied().all(is_of_token) {
        return Err(refuse(400, "method"));
    }
    if target.is_empty() || !target.iter().copied().all(is_of_target) {
        return Err(refuse(400, "target"));
    }
    Ok(())
}

/// What the fields say of the body.
#[derive(Debug, Default)]
struct Framing {
    length: bool,
    coding: bool,
}

impl Framing {
    fn note(&mut self, field: &[u8]) -> Result<(), Refusal> {
        let colon = field.iter().position(|byte| *byte == b':').ok_or(refuse(400, "header"))?;
        let name = &field[..colon];
        // White space before the colon, or in front of the line (obs-fold), is of no name.
        if name.is_empty() || !name.iter().copied().all(is_of_token) {
            return Err(refuse(400, "header"));
        }
        match name.len() {
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                let again = std::mem::replace(&mut self.length, true);
                return if again || !is_length(without_blanks(&field[colon + 1..])) { Err(FRAMING) } else { Ok(()) };
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                let coding = without_blanks(&field[colon + 1..]);
                if std::mem::replace(&mut self.coding, true) {
                    return Err(FRAMING);
                }
                check_coding(coding)?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Whoever says both may mean either (RFC 9112 §6.3).
    fn check(&self) -> Result<(), Refusal> {
        if self.length && self.coding { Err(FRAMING) } else { Ok(()) }
    }
}

/// Only digits, and a number of bytes that there can be.
fn is_length(value: &[u8]) -> bool {
    (1..=LONGEST_LENGTH).contains(&value.len()) && value.iter().all(u8::is_ascii_digit)
}

/// The one coding that is known is `chunked`; one before it is another matter than a list that nobody understands (RFC 9112 §6.1).
fn check_coding(value: &[u8]) -> Result<(), Refusal> {
    if value.eq_ignore_ascii_case(b"chunked") {
        return Ok(());
    }
    let mut codings = value.rsplit(|byte| *byte == b',').map(without_blanks);
    let last = codings.next().is_some_and(|coding| coding.eq_ignore_ascii_case(b"chunked"));
    let before = |coding: &[u8]| {
        !coding.is_empty() && coding.iter().copied().all(is_of_token) && !coding.eq_ignore_ascii_case(b"chunked")
    };
    if last && codings.all(before) { Err(refuse(501, "framing")) } else { Err(FRAMING) }
}

/// Without the blanks around a value (RFC 9110 §5.5), which are no other white space.
fn without_blanks(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

const FRAMING: Refusal = refuse(400, "framing");
/// Digits of a length in 64 bits, less one.
const LONGEST_LENGTH: usize = 19;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn status(head: &str) -> u16 {
        check(head.as_bytes(), head.as_bytes()).map_or_else(|refusal| refusal.status, |()| 200)
    }

    fn with(fields: &str) -> u16 {
        status(&format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n"))
    }

    #[test]
    fn what_can_be_read_in_one_way_alone_passes() {
        for head in [
            "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "\r\n\r\nGET / HTTP/1.0\r\n\r\n",
            "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET http://a/b?c=[d]{e}|f\\g HTTP/1.1\r\nHost: a\r\nx-a:\r\nX-B: \t \r\n\r\n",
        ] {
            assert_eq!(status(head), 200, "{head:?}");
        }
        for fields in
            ["Content-Length: 0", "content-length:5\t", "Transfer-Encoding: chunked", "transfer-encoding:Chunked "]
        {
            assert_eq!(with(fields), 200, "{fields:?}");
        }
    }

    #[test]
    fn framing_that_can_be_read_in_two_ways_is_refused() {
        for (fields, expected) in [
            ("Content-Length: 5\r\nTransfer-Encoding: chunked", 400),
            ("Transfer-Encoding: chunked\r\nContent-Length: 5", 400),
            ("Content-Length: 5\r\nContent-Length: 5", 400),
            ("Content-Length: 5, 5", 400),
            ("Content-Length: +5", 400),
            ("Content-Length: 0x5", 400),
            ("Content-Length:", 400),
            ("Content-Length: 5 5", 400),
            ("Content-Length: 99999999999999999999", 400),
            ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", 400),
            ("Transfer-Encoding: chunked, chunked", 400),
            ("Transfer-Encoding: chunked,", 400),
            ("Transfer-Encoding: ,chunked", 400),
            ("Transfer-Encoding: chunked;q=1", 400),
            ("Transfer-Encoding: \"chunked\"", 400),
            ("Transfer-Encoding: xchunked", 400),
            ("Transfer-Encoding: \x0bchunked", 400),
            ("Transfer-Encoding: chunked, gzip", 400),
            ("Transfer-Encoding: identity", 400),
            ("Transfer-Encoding:", 400),
            ("Transfer-Encoding: gzip, chunked", 501),
            ("Transfer-Encoding : chunked", 400),
            (" Transfer-Encoding: chunked", 400),
            ("X: y\r\n Transfer-Encoding: chunked", 400),
            ("X: y\nTransfer-Encoding: chunked", 400),
            ("X: y\rTransfer-Encoding: chunked", 400),
            ("X: y\r\n: z", 400),
            ("X", 400),
        ] {
            assert_eq!(with(fields), expected, "{fields:?}");
        }
    }

    #[test]
    fn lines_and_targets_that_a_parser_would_mend_are_refused() {
        for head in [
            "GET / HTTP/1.1\nHost: a\n\n",
            "GET / HTTP/1.1\r\nHost: a\n\r\n",
            "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
            "GET /\t HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /#a HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /\" HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /<> HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /ä HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.2\r\nHost: a\r\n\r\n",
            "GET /\r\n\r\n",
            "G(T / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n\r\nmore",
            "GET / HTTP/1.1\r\nHost: a\r\n",
        ] {
            assert_eq!(status(head), 400, "{head:?}");
        }
        let head = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        assert_eq!(check(head, &head[2..]), Err(refuse(400, "header")), "what came is not what was read");
        let long = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "y".repeat(REQUEST_HEAD_BYTES));
        assert_eq!(status(&long), 431);
    }

    proptest! {
        /// Whatever passes has one end, and that where it is.
        #[test]
        fn what_passes_holds_no_line_but_its_own(head in "(GET / HTTP/1.1\r\n)?([a\r\n: ]|X: y\r\n){0,20}(\r\n)?") {
            if check(head.as_bytes(), head.as_bytes()).is_ok() {
                prop_assert!(head.ends_with("\r\n\r\n"));
                prop_assert!(!head.replace("\r\n", "").contains(['\r', '\n']));
                prop_assert_eq!(head.trim_start_matches("\r\n").matches("\r\n\r\n").count(), 1);
            }
        }
    }
}
