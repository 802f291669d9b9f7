//! The fuzz targets of what looks for trailers in bytes that pass by: it must see a message as its parser does, and pass on nothing
//! but fields that may be trailers.

use super::fields::{parse, passed_on, to_http1};
use super::head::{HeadEnd, is_chunked, status};
use super::{Incoming, Outgoing, Section};
use crate::chunked::Malformed;
use crate::fuzzing::cuts;
use bytes::Bytes;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// See [`crate::fuzzing::request_head`].
pub(crate) fn request_head(bytes: &[u8]) {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS];
    let mut parsed = httparse::Request::new(&mut fields);
    if let Ok(httparse::Status::Complete(length)) = parsed.parse(bytes) {
        agrees(bytes, length, parsed.headers);
    }
}

/// See [`crate::fuzzing::answer_head`].
pub(crate) fn answer_head(bytes: &[u8]) {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS];
    let mut parsed = httparse::Response::new(&mut fields);
    if let Ok(httparse::Status::Complete(length)) = parsed.parse(bytes) {
        agrees(bytes, length, parsed.headers);
        assert_eq!(status(&bytes[..length]), parsed.code);
    }
}

/// Whether a header that is whole says that its body is chunked.
pub(crate) fn reads_chunks(head: &[u8]) -> bool {
    is_chunked(head)
}

/// Where the header ends, and whether the body is chunked.
fn agrees(bytes: &[u8], length: usize, fields: &[httparse::Header<'_>]) {
    let mut end = HeadEnd::START;
    assert_eq!(end.run(bytes), (length, true));
    for cut in cuts(length).filter(|cut| *cut < length) {
        let mut end = HeadEnd::START;
        assert_eq!(end.run(&bytes[..cut]), (cut, false));
        assert_eq!(end.run(&bytes[cut..]), (length - cut, true));
    }
    let codings = fields.iter().rfind(|field| field.name.eq_ignore_ascii_case("transfer-encoding"));
    let last = codings.and_then(|field| field.value.rsplit(|byte| *byte == b',').next());
    let chunked = last.is_some_and(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"chunked"));
    assert_eq!(is_chunked(&bytes[..length]), chunked);
}

/// See [`crate::fuzzing::trailers`].
pub(crate) fn trailers(bytes: &[u8]) {
    for response in [false, true] {
        let whole = read(response, [bytes, b""]);
        for cut in cuts(bytes.len()) {
            assert_eq!(read(response, [&bytes[..cut], &bytes[cut..]]), whole, "cut at {cut}");
        }
        if let Ok(Some(section)) = whole {
            passes(&section);
        }
    }
    written(bytes);
}

fn read(response: bool, parts: [&[u8]; 2]) -> Result<Option<Bytes>, Malformed> {
    let fields: Arc<Section> = Arc::default();
    let mut incoming = match response {
        true => Incoming::of_response(Arc::clone(&fields)),
        false => Incoming::of_body(Arc::clone(&fields)),
    };
    for part in parts {
        incoming.read(part)?;
    }
    Ok(fields.get().cloned())
}

/// What is passed on is a section of fields that may be passed on, and the same when it is passed on once more.
fn passes(section: &Bytes) {
    let fields = parse(&[section, &b"\r\n"[..]].concat()).expect("a section");
    assert_eq!(passed_on(&fields), fields);
    assert_eq!(to_http1(&fields), *section);
    assert_eq!(section.iter().filter(|byte| **byte == b'\n').count(), fields.len());
}

/// What a client is sent is what Pingora has written, and trailers at one place at most.
fn written(bytes: &[u8]) {
    let fields: Arc<Section> = Arc::default();
    drop(fields.set(Bytes::from_static(TRAILERS)));
    let mut outgoing = Outgoing::of_response(fields);
    let (mut sent, mut taken) = (Vec::new(), 0);
    let mut cx = Context::from_waker(Waker::noop());
    while taken < bytes.len() {
        match outgoing.poll_write(&mut cx, Pin::new(&mut sent), &bytes[taken..]) {
            Poll::Ready(Ok(count)) if count > 0 => taken += count,
            Poll::Ready(Err(_)) => break,
            other => panic!("{other:?}"),
        }
    }
    let Poll::Ready(Ok(())) = outgoing.poll_due(&mut cx, Pin::new(&mut sent)) else { panic!("memory takes all") };
    if sent.len() == taken {
        assert_eq!(sent, &bytes[..taken]);
    } else {
        assert_eq!(sent.len(), taken + TRAILERS.len());
        let at = sent.iter().zip(bytes).take_while(|(sent, written)| sent == written).count();
        let put = (at.saturating_sub(TRAILERS.len())..=at).rev().find(|at| sent[*at..].starts_with(TRAILERS));
        let put = put.expect("the trailers are whole");
        assert_eq!([&sent[..put], &sent[put + TRAILERS.len()..]].concat(), &bytes[..taken]);
        assert!(bytes[..put].ends_with(b"\r\n"));
    }
}

const FIELDS: usize = 256;
const TRAILERS: &[u8] = b"x-a: 1\r\n";
