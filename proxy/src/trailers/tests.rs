//! Messages in any parts: what comes in is found, and what goes out is completed, as if it were looked at whole.

use super::*;
use crate::chunked::Malformed;
use crate::limits::{TRAILED_HEADER_BYTES, TRAILER_BYTES};
use bytes::BytesMut;
use http::Request;
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::AsyncWrite;

fn parts(fields: &[(&str, &str)]) -> Parts {
    let request = fields.iter().fold(Request::post("/"), |request, (name, value)| request.header(*name, *value));
    request.body(()).unwrap().into_parts().0
}

#[test]
fn only_requests_that_can_carry_trailers_are_looked_at() {
    let chunked = ("transfer-encoding", "chunked");
    let announced = ("trailer", "x");
    for (fields, request, response) in [
        (&[][..], false, false),
        (&[chunked], false, false),
        (&[announced], false, false),
        (&[("te", "gzip;q=0.5")], false, false),
        (&[chunked, announced], true, false),
        (&[("te", "gzip, Trailers")], false, true),
        (&[("te", "trailers"), chunked, announced], true, true),
        (&[("te", "trailers"), ("upgrade", "websocket")], false, false),
    ] {
        let expected = (request || response).then_some(Carried { request, response });
        assert_eq!(Carried::of(&parts(fields)), expected, "{fields:?}");
    }
    let mut head = parts(&[("te", "trailers")]);
    head.method = Method::HEAD;
    assert_eq!(Carried::of(&head), None);
    let mut http2 = parts(&[("te", "trailers")]);
    http2.version = Version::HTTP_2;
    assert_eq!(Carried::of(&http2), None);
}

/// What a message's trailer section says, read in parts; an error where one of them is malformed.
fn read(mut incoming: Incoming, section: &Section, parts: &[&[u8]]) -> Result<Option<Bytes>, Malformed> {
    parts.iter().try_for_each(|part| incoming.read(part))?;
    Ok(section.get().cloned())
}

#[test]
fn trailers_of_a_response_are_found_after_its_interim_ones_and_nowhere_else() {
    let ok = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let hints = "HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n";
    let body = "5\r\n0\r\n\r\n\r\n0\r\nx: y\r\n\r\n";
    for (message, expected) in [
        (format!("{ok}{body}"), Some("x: y\r\n")),
        (format!("{hints}{hints}{ok}{body}"), Some("x: y\r\n")),
        (format!("{ok}{body}{ok}0\r\nz: z\r\n\r\n"), Some("x: y\r\n")),
        (format!("{ok}0\r\n\r\n"), None),
        (format!("{ok}0\r\nhost: x\r\n\r\n"), None),
        (format!("HTTP/1.1 200 OK\r\ncontent-length: 25\r\n\r\n{body}"), None),
        (format!("HTTP/1.1 204 No Content\r\ntransfer-encoding: chunked\r\n\r\n{body}"), None),
        (format!("HTTP/1.1 304 Not Modified\r\ntransfer-encoding: chunked\r\n\r\n{body}"), None),
        (format!("HTTP/1.1 101 Switching Protocols\r\n\r\n{ok}{body}"), None),
        (format!("HTTP/1.1 200 OK\r\nx: {}\r\n{}{body}", "x".repeat(TRAILED_HEADER_BYTES), &ok[17..]), None),
    ] {
        let section = Arc::<Section>::default();
        let found = read(Incoming::of_response(Arc::clone(&section)), &section, &[message.as_bytes()]).unwrap();
        assert_eq!(found.as_deref(), expected.map(str::as_bytes), "{message}");
    }
}

#[test]
fn sections_are_bounded_and_malformed_ones_refused() {
    for (body, expected) in [
        (format!("0\r\nx: {}\r\n\r\n", "y".repeat(TRAILER_BYTES)), Malformed::TooLarge),
        (format!("0\r\nx: {}", "y".repeat(TRAILER_BYTES)), Malformed::TooLarge),
        ("0\r\nx: y\r\n z\r\n\r\n".into(), Malformed::Trailers),
        ("0\r\nx: y\n\r\n\r\n".into(), Malformed::Trailers),
        ("0\n\r\n".into(), Malformed::Chunk),
    ] {
        let section = Arc::<Section>::default();
        let refused = read(Incoming::of_body(Arc::clone(&section)), &section, &[body.as_bytes()]);
        assert_eq!(refused, Err(expected), "{body:.40}");
    }
}

/// Accepts as many bytes as it is told at each call; zero means not now.
struct Narrow {
    written: BytesMut,
    accepts: VecDeque<usize>,
}

impl AsyncWrite for Narrow {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let accepted = self.accepts.pop_front().unwrap_or(usize::MAX).min(bytes.len());
        if accepted == 0 && !bytes.is_empty() {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.written.extend_from_slice(&bytes[..accepted]);
        Poll::Ready(Ok(accepted))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let whole: Vec<u8> = parts.iter().flat_map(|part| part.iter().copied()).collect();
        self.as_mut().poll_write(cx, &whole)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Writes each of `messages` as Pingora writes: in vectors of parts, until all is taken.
fn write(outgoing: &mut Outgoing, narrow: &mut Narrow, messages: &[Vec<Vec<u8>>]) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        for message in messages {
            let mut left: Vec<&[u8]> = message.iter().map(Vec::as_slice).collect();
            while left.iter().any(|part| !part.is_empty()) {
                let vector: Vec<IoSlice<'_>> = left.iter().map(|part| IoSlice::new(part)).collect();
                let written = poll_fn(|cx| match &vector[..] {
                    [one] => outgoing.poll_write(cx, Pin::new(narrow), one),
                    many => outgoing.poll_write_vectored(cx, Pin::new(narrow), many),
                });
                let mut taken = written.await.unwrap();
                for part in &mut left {
                    let here = taken.min(part.len());
                    *part = &part[here..];
                    taken -= here;
                }
            }
        }
        poll_fn(|cx| outgoing.poll_due(cx, Pin::new(narrow))).await.unwrap();
    });
}

/// Bodies that look like the ends of bodies.
fn content() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b"0\r\n\r\n".to_vec()),
        Just(b"\r\n".to_vec()),
        Just(b"0\r\nx: y\r\n\r\n".to_vec()),
        vec(any::<u8>(), 1..20),
    ];
    vec(piece, 1..4).prop_map(|pieces| pieces.concat())
}

/// A message cut at some places.
fn cut(message: &[u8], places: &[usize]) -> Vec<Vec<u8>> {
    let mut places: Vec<usize> = places.iter().map(|place| place % (message.len() + 1)).collect();
    places.extend([0, message.len()]);
    places.sort_unstable();
    places.windows(2).map(|pair| message[pair[0]..pair[1]].to_vec()).collect()
}

proptest! {
    #[test]
    fn trailers_come_in_whatever_the_body_and_its_parts(
        chunks in vec(content(), 0..5),
        extension in prop_oneof![Just(""), Just(";a=\"0\""), Just(" ")],
        fields in prop_oneof![Just(""), Just("x: y\r\n"), Just("a: 1\r\na: 2\r\n")],
        places in vec(any::<usize>(), 0..12),
    ) {
        let mut message = Vec::new();
        for chunk in &chunks {
            message.extend_from_slice(format!("{:x}{extension}\r\n", chunk.len()).as_bytes());
            message.extend_from_slice(chunk);
            message.extend_from_slice(b"\r\n");
        }
        message.extend_from_slice(format!("0{extension}\r\n{fields}\r\nGET / HTTP/1.1\r\n\r\n").as_bytes());
        let cut = cut(&message, &places);
        let cut: Vec<&[u8]> = cut.iter().map(Vec::as_slice).collect();
        let section = Arc::<Section>::default();
        let found = read(Incoming::of_body(Arc::clone(&section)), &section, &cut).unwrap();
        prop_assert_eq!(found.as_deref().unwrap_or_default(), fields.as_bytes());
    }

    #[test]
    fn any_bytes_in_any_parts_are_read_alike(bytes in "[0-2a;:\r\n ]{0,40}", places in vec(any::<usize>(), 0..12)) {
        let [whole, parted] = [&[][..], &places].map(|places| {
            let section = Arc::<Section>::default();
            let cut = cut(bytes.as_bytes(), places);
            let cut: Vec<&[u8]> = cut.iter().map(Vec::as_slice).collect();
            read(Incoming::of_body(Arc::clone(&section)), &section, &cut)
        });
        prop_assert_eq!(whole, parted);
    }

    #[test]
    fn trailers_go_out_after_the_last_chunk_and_all_else_as_it_is(
        chunks in vec(content(), 0..5),
        accepts in vec(0..30usize, 0..60),
        known in any::<bool>(),
        response in any::<bool>(),
    ) {
        let header: &[u8] = match response {
            true => b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            false => b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
        };
        let mut messages = vec![vec![header.to_vec()]];
        for chunk in &chunks {
            messages.push(vec![format!("{:X}\r\n", chunk.len()).into_bytes(), chunk.clone(), b"\r\n".to_vec()]);
        }
        messages.push(vec![b"0\r\n\r\n".to_vec()]);
        let section = Arc::<Section>::default();
        if known {
            section.set(Bytes::from_static(b"x: y\r\n")).unwrap();
        }
        let mut outgoing = match response {
            true => Outgoing::of_response(section),
            false => Outgoing::of_request(section),
        };
        let mut narrow = Narrow { written: BytesMut::new(), accepts: accepts.into() };
        write(&mut outgoing, &mut narrow, &messages);
        let mut expected: Vec<u8> = messages.concat().concat();
        if known {
            expected.truncate(expected.len() - 2);
            expected.extend_from_slice(b"x: y\r\n\r\n");
        }
        prop_assert_eq!(&narrow.written[..], &expected[..]);
    }
}
