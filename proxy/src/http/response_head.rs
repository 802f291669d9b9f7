//! How the header of a pod's answer frames it: the header flows in, the fault of one that can be read in two ways flows out, or its one
//! normal form. What the readers below have found out themselves does not come here. Called by `phases` for every answer, whichever way
//! its bytes take. Pure, but for the header, which is Pingora's. One of the few modules that name Pingora types.

use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, StatusCode};
use pingora::Result;
use pingora::http::ResponseHeader;

/// Why an answer cannot be passed on: whoever does not know a coding does not know where a body ends (RFC 9112 §6.3), and to say
/// `chunked` twice means nothing.
pub(super) fn fault(headers: &HeaderMap) -> Option<&'static str> {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let only = codings.next().is_none_or(|coding| coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked"));
    (!only || codings.next().is_some()).then_some("the answer is in no transfer coding that is known")
}

/// Says once and in digits how long the body is, and not at all of an answer that has none (RFC 9110 §8.6).
///
/// # Errors
/// Pingora's, for more fields than a header can have.
pub(super) fn normalise(response: &mut ResponseHeader) -> Result<()> {
    if response.status.is_informational() || response.status == StatusCode::NO_CONTENT {
        response.remove_header(&CONTENT_LENGTH);
        response.remove_header(&TRANSFER_ENCODING);
        return Ok(());
    }
    let mut lengths = response.headers.get_all(CONTENT_LENGTH).iter();
    let (first, more) = (lengths.next(), lengths.next().is_some());
    // The reader has seen to it that all of them are the same number.
    let first = first.and_then(|length| length.to_str().ok()?.split(',').next());
    let Some(length) = first.and_then(|length| length.trim().parse::<u64>().ok()) else { return Ok(()) };
    let plain = HeaderValue::from(length);
    if more || response.headers.get(CONTENT_LENGTH) != Some(&plain) {
        response.insert_header(CONTENT_LENGTH, plain)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, fields: &[(&'static str, &'static str)]) -> ResponseHeader {
        let mut answer = ResponseHeader::build(status, None).unwrap();
        for (name, value) in fields {
            answer.append_header(*name, *value).unwrap();
        }
        answer
    }

    #[test]
    fn one_transfer_coding_is_known_and_said_once() {
        for (codings, sound) in [
            (&[][..], true),
            (&["chunked"], true),
            (&[" Chunked "], true),
            (&["chunked", "chunked"], false),
            (&["chunked, chunked"], false),
            (&["gzip, chunked"], false),
            (&["identity"], false),
            (&[""], false),
        ] {
            let fields: Vec<_> = codings.iter().map(|coding| ("transfer-encoding", *coding)).collect();
            assert_eq!(fault(&answer(200, &fields).headers).is_none(), sound, "{codings:?}");
        }
    }

    #[test]
    fn a_length_is_said_once_and_only_of_a_body() {
        for (status, lengths, expected) in [
            (200, &["5"][..], &["5"][..]),
            (200, &["5", "5"], &["5"]),
            (200, &["5, 5"], &["5"]),
            (200, &["005"], &["5"]),
            (200, &[], &[]),
            (304, &["5"], &["5"]),
            (204, &["5"], &[]),
            (103, &["5"], &[]),
        ] {
            let fields: Vec<_> = lengths.iter().map(|length| ("content-length", *length)).collect();
            let mut answer = answer(status, &fields);
            normalise(&mut answer).unwrap();
            let said: Vec<&str> =
                answer.headers.get_all(CONTENT_LENGTH).iter().map(|length| length.to_str().unwrap()).collect();
            assert_eq!(said, expected, "{status} {lengths:?}");
        }
    }
}
