//! One page: the bytes of a file flow in, status, header fields and body flow out. A file holds a whole response, as HAProxy has
//! them (`errorfile`), or HTML. Pure.

use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, PRAGMA, SERVER, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderName, HeaderValue};

/// What is sent instead of the page that the proxy makes itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ErrorPage {
    /// The status, which the file may change.
    pub(crate) status: u16,
    /// Header fields, without those that frame the message.
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    /// The body.
    pub(crate) body: Bytes,
    /// Whether the connection is closed after it.
    pub(crate) close: bool,
}

/// What is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PageError {
    /// Neither form.
    #[error("is neither a response that begins with HTTP/1.0 or HTTP/1.1, nor HTML that begins with <")]
    NeitherForm,
    /// The first line.
    #[error("line 1 is no status line such as HTTP/1.0 503 Service Unavailable, with a status from 200 to 599")]
    StatusLine,
    /// A line of the header.
    #[error("line {0} is no header field, and no blank line came before it")]
    Field(usize),
    /// A field that says how a message is framed or switched.
    #[error("line {0}: a page cannot have this field")]
    Framing(usize),
    /// `Content-Length` says otherwise.
    #[error("Content-Length is not the {0} bytes of the body")]
    Length(usize),
    /// There is no end of the header.
    #[error("the header does not end with a blank line")]
    Unfinished,
}

impl ErrorPage {
    /// Reads a page for answers of `status`.
    ///
    /// # Errors
    /// [`PageError`] says what is wrong.
    pub(crate) fn parse(status: u16, bytes: &[u8]) -> Result<Self, PageError> {
        if bytes.starts_with(b"HTTP/") {
            return Self::response(bytes);
        }
        if bytes.trim_ascii_start().first() != Some(&b'<') {
            return Err(PageError::NeitherForm);
        }
        Ok(Self { status, headers: html_fields(), body: Bytes::copy_from_slice(bytes), close: false })
    }

    fn response(bytes: &[u8]) -> Result<Self, PageError> {
        let mut lines = Lines { rest: bytes, number: 0 };
        let first = lines.next().ok_or(PageError::StatusLine)?;
        let mut page = Self {
            status: status(first).ok_or(PageError::StatusLine)?,
            headers: Vec::new(),
            body: Bytes::new(),
            close: false,
        };
        let mut length = None;
        loop {
            let line = lines.next().ok_or(PageError::Unfinished)?;
            if line.is_empty() {
                break;
            }
            let (name, value) = field(line).ok_or(PageError::Field(lines.number))?;
            if name == CONTENT_LENGTH {
                length = Some(value);
            } else if name == CONNECTION {
                page.close |= value.as_bytes().eq_ignore_ascii_case(b"close");
            } else if name == TRANSFER_ENCODING || name == UPGRADE {
                return Err(PageError::Framing(lines.number));
            } else if name != SERVER {
                page.headers.push((name, value));
            }
        }
        page.body = Bytes::copy_from_slice(lines.rest);
        let size = page.body.len();
        if length.is_some_and(|length| length.to_str().ok().and_then(|text| text.parse().ok()) != Some(size)) {
            return Err(PageError::Length(size));
        }
        Ok(page)
    }
}

/// What goes with HTML that says nothing itself: no cache keeps it, in the words of the OpenShift router's pages.
pub(crate) fn html_fields() -> Vec<(HeaderName, HeaderValue)> {
    vec![
        (CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
        (CACHE_CONTROL, HeaderValue::from_static("private, max-age=0, no-cache, no-store")),
        (PRAGMA, HeaderValue::from_static("no-cache")),
    ]
}

/// Lines that end with LF, or CR and LF as in messages.
struct Lines<'p> {
    rest: &'p [u8],
    number: usize,
}

impl<'p> Iterator for Lines<'p> {
    type Item = &'p [u8];

    fn next(&mut self) -> Option<&'p [u8]> {
        let end = self.rest.iter().position(|byte| *byte == b'\n')?;
        let line = &self.rest[..end];
        self.rest = &self.rest[end + 1..];
        self.number += 1;
        Some(line.strip_suffix(b"\r").unwrap_or(line))
    }
}

/// RFC 9112 §4.
fn status(line: &[u8]) -> Option<u16> {
    let line = std::str::from_utf8(line).ok()?;
    let rest = line.strip_prefix("HTTP/1.0 ").or_else(|| line.strip_prefix("HTTP/1.1 "))?;
    let code = rest.split(' ').next().filter(|code| code.len() == 3)?;
    code.parse().ok().filter(|status| (200..600).contains(status) && !matches!(status, 204 | 205 | 304))
}

/// RFC 9112 §5: no blank before the colon, and no line that continues another.
fn field(line: &[u8]) -> Option<(HeaderName, HeaderValue)> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let name = HeaderName::from_bytes(&line[..colon]).ok()?;
    Some((name, HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPENSHIFT: &[u8] =
        b"HTTP/1.0 503 Service Unavailable\r\nPragma: no-cache\r\nCache-Control: private, max-age=0\r\n\
        Connection: close\r\nContent-Type: text/html\r\n\r\n<html>\nsorry\n</html>\n";

    #[test]
    fn a_response_is_taken_as_it_is_and_html_gets_a_header() {
        let page = ErrorPage::parse(503, OPENSHIFT).unwrap();
        assert_eq!((page.status, page.close, &page.body[..]), (503, true, &b"<html>\nsorry\n</html>\n"[..]));
        let names: Vec<&str> = page.headers.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["pragma", "cache-control", "content-type"]);
        let bare_lines = String::from_utf8(OPENSHIFT.to_vec()).unwrap().replace('\r', "");
        assert_eq!(ErrorPage::parse(503, bare_lines.as_bytes()).unwrap(), page);
        let html = ErrorPage::parse(404, b"\n<!DOCTYPE html>gone").unwrap();
        assert_eq!((html.status, html.headers.len(), html.close), (404, 3, false));
        let other = ErrorPage::parse(503, b"HTTP/1.1 200 OK\nContent-Length: 2\n\nhi").unwrap();
        assert_eq!((other.status, other.headers.len()), (200, 0), "the file decides, as with HAProxy");
    }

    #[test]
    fn what_is_no_page_is_refused_by_its_line() {
        for (text, expected) in [
            ("", PageError::NeitherForm),
            ("sorry", PageError::NeitherForm),
            ("HTTP/1.0 503 Service Unavailable", PageError::StatusLine),
            ("HTTP/2 503\n\n", PageError::StatusLine),
            ("HTTP/1.1 101 Switching Protocols\n\n", PageError::StatusLine),
            ("HTTP/1.1 204 No Content\n\n", PageError::StatusLine),
            ("HTTP/1.1 5030 x\n\n", PageError::StatusLine),
            ("HTTP/1.1 503 x\nA: b\n", PageError::Unfinished),
            ("HTTP/1.1 503 x\nA: b\n<html>\n\n", PageError::Field(3)),
            ("HTTP/1.1 503 x\nA : b\n\n", PageError::Field(2)),
            ("HTTP/1.1 503 x\nA: b\n continued\n\n", PageError::Field(3)),
            ("HTTP/1.1 503 x\nA: b\u{0}\n\n", PageError::Field(2)),
            ("HTTP/1.1 503 x\nTransfer-Encoding: chunked\n\n0\n\n", PageError::Framing(2)),
            ("HTTP/1.1 503 x\nContent-Length: 3\n\nab", PageError::Length(2)),
        ] {
            assert_eq!(ErrorPage::parse(503, text.as_bytes()), Err(expected), "{text:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_give_an_answer(text in "(HTTP/1\\.1 503 x\n)?([A-Za-z-]{0,9}:?[ a-z0-9]{0,9}\r?\n){0,4}\\PC{0,9}") {
            if let Ok(page) = ErrorPage::parse(503, text.as_bytes()) {
                proptest::prop_assert!((200..600).contains(&page.status));
            }
        }
    }
}
