//! The fuzz target of bodies in the chunked coding, against a decoder that knows only whole bodies and is written from the grammar:
//! bytes flow in, and every way to read them here must find the same data and the same end, in one part or in two.

use super::{Chunk, Chunked, HEADROOM, Malformed, TAILROOM, is_of_token};
use crate::fuzzing::cuts;
use crate::limits::{CHUNK_EXTENSION_BYTES, TRAILER_BYTES, TRAILER_FIELDS};

/// See [`crate::fuzzing::chunked`].
pub(crate) fn body(bytes: &[u8]) {
    let expected = whole(bytes);
    for cut in cuts(bytes.len()) {
        let parts = [&bytes[..cut], &bytes[cut..]];
        let read = decoded(parts);
        assert_eq!(read.as_ref().ok().and_then(|read| read.body()), expected, "decoded, cut at {cut}");
        assert_eq!(found(parts), read, "found, cut at {cut}");
        assert_eq!(counted(parts), read.as_ref().map(|read| read.data.len()).map_err(|fault| *fault));
        let framed = framed(parts);
        assert_eq!(framed.as_ref().map(|_| ()), read.as_ref().map(|_| ()));
        if let (Ok(framed), Ok(read)) = (framed, &read) {
            let again = whole(&[&framed.wire, &b"0\r\n\r\n"[..]].concat()).expect("whole chunks");
            assert_eq!(again.data, read.data);
            assert_eq!(framed.surplus, read.end.map_or(0, |end| bytes.len() - end));
            normal_form_is_its_own(&framed.wire);
        }
    }
    let mut passing = Chunk::START;
    if let Some(expected) = expected {
        let Ok((last, true)) = passing.run(bytes) else { panic!("the last chunk is not found") };
        assert!(bytes[..last].ends_with(b"\r\n") && last < expected.end);
    }
}

/// A body that was read to its end.
#[derive(Debug, PartialEq, Eq)]
struct Body {
    data: Vec<u8>,
    end: usize,
}

/// What was read of a body.
#[derive(Debug, PartialEq, Eq)]
struct Read {
    data: Vec<u8>,
    end: Option<usize>,
}

impl Read {
    fn body(&self) -> Option<Body> {
        Some(Body { data: self.data.clone(), end: self.end? })
    }
}

fn decoded(parts: [&[u8]; 2]) -> Result<Read, Malformed> {
    let mut state = Chunked::START;
    let (mut data, mut at) = (Vec::new(), 0);
    for part in parts {
        let mut buffer = part.to_vec();
        let mut rest = &mut buffer[..];
        while !rest.is_empty() && !state.is_over() {
            let decoded = state.decode(rest)?;
            assert!(decoded.taken > 0 && decoded.data.end <= decoded.taken);
            data.extend_from_slice(&rest[decoded.data]);
            at += decoded.taken;
            rest = &mut rest[decoded.taken..];
        }
    }
    Ok(Read { data, end: state.is_over().then_some(at) })
}

/// The same where data goes another way.
fn found(parts: [&[u8]; 2]) -> Result<Read, Malformed> {
    let mut state = Chunked::START;
    let (mut data, mut at) = (Vec::new(), 0);
    for mut part in parts {
        while !part.is_empty() && !state.is_over() {
            let before = state.find_data(part)?;
            let here = usize::try_from(state.left()).unwrap_or(usize::MAX).min(part.len() - before);
            state.skip(here as u64);
            data.extend_from_slice(&part[before..before + here]);
            at += before + here;
            part = &part[before + here..];
        }
    }
    Ok(Read { data, end: state.is_over().then_some(at) })
}

fn counted(parts: [&[u8]; 2]) -> Result<usize, Malformed> {
    let mut state = Chunked::START;
    parts.into_iter().map(|part| state.count(part)).sum()
}

struct Wire {
    wire: Vec<u8>,
    surplus: usize,
}

fn framed(parts: [&[u8]; 2]) -> Result<Wire, Malformed> {
    let mut state = Chunked::START;
    let mut sent = Wire { wire: Vec::new(), surplus: 0 };
    for part in parts {
        let mut buffer = [&[0; HEADROOM][..], part, &[0; TAILROOM]].concat();
        let framed = state.frame(&mut buffer)?;
        assert!(framed.data <= framed.wire.len());
        sent.wire.extend_from_slice(&buffer[framed.wire]);
        sent.surplus += framed.surplus;
    }
    Ok(sent)
}

fn normal_form_is_its_own(wire: &[u8]) {
    let again = framed([wire, b""]).expect("chunks");
    assert_eq!(again.wire, wire);
}

/// A whole body at the start of bytes (RFC 9112 §7.1).
fn whole(bytes: &[u8]) -> Option<Body> {
    let (mut data, mut rest) = (Vec::new(), bytes);
    loop {
        let line;
        (line, rest) = line_of(rest)?;
        let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        if !(1..=15).contains(&digits) || !is_extension(&line[digits..]) {
            return None;
        }
        let size = usize::from_str_radix(std::str::from_utf8(&line[..digits]).ok()?, 16).ok()?;
        if size == 0 {
            break;
        }
        data.extend_from_slice(rest.get(..size)?);
        rest = rest.get(size..)?.strip_prefix(b"\r\n")?;
    }
    let section = rest;
    let mut fields = 0;
    loop {
        let line;
        (line, rest) = line_of(rest)?;
        // The last octet is not counted: by then nothing has to be kept.
        if section.len() - rest.len() > TRAILER_BYTES || fields > TRAILER_FIELDS {
            return None;
        }
        if line.is_empty() {
            return Some(Body { data, end: bytes.len() - rest.len() });
        }
        let colon = line.iter().position(|byte| *byte == b':').filter(|colon| *colon > 0)?;
        let value = |byte: &u8| matches!(byte, b'\t' | b' '..=b'~' | 0x80..);
        if !line[..colon].iter().copied().all(is_of_token) || !line[colon + 1..].iter().all(value) {
            return None;
        }
        fields += 1;
    }
}

/// White space, and extensions after a semicolon.
fn is_extension(text: &[u8]) -> bool {
    let named = text.iter().position(|byte| *byte == b';').unwrap_or(text.len());
    text.len() <= CHUNK_EXTENSION_BYTES
        && text[..named].iter().all(|byte| matches!(byte, b' ' | b'\t'))
        && !text.contains(&b'\n')
}

/// A line without its end, and what follows it.
fn line_of(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|byte| *byte == b'\r')?;
    Some((&bytes[..end], bytes[end..].strip_prefix(b"\r\n")?))
}
