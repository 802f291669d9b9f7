//! W3C Trace Context (level 1): header fields flow in, the context that they state flows out, and the other way round.
//! Strict: what two tracers could read differently is no context. Pure.

use crate::balance::Random;
use http::{HeaderMap, HeaderName, HeaderValue};
use std::fmt;

/// `traceparent`.
pub(crate) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// `tracestate`.
pub(crate) const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// The id of a trace; never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TraceId(pub(super) u128);

/// The id of a span; never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SpanId(pub(super) u64);

/// What a client says of the trace that its request is a part of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Incoming {
    pub(super) trace: TraceId,
    pub(super) parent: SpanId,
    pub(super) sampled: bool,
    /// `tracestate`, its fields joined, as they are.
    pub(super) state: Option<HeaderValue>,
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl TraceId {
    pub(super) fn new(random: &mut Random) -> Self {
        Self((u128::from(random.bits()) << 64 | u128::from(random.bits())).max(1))
    }
}

impl SpanId {
    pub(super) fn new(random: &mut Random) -> Self {
        Self(random.bits().max(1))
    }
}

impl Incoming {
    /// The context of a request, if it states exactly one.
    pub(crate) fn read(headers: &HeaderMap) -> Option<Self> {
        let mut parents = headers.get_all(TRACEPARENT).into_iter();
        let parent = parents.next()?;
        if parents.next().is_some() {
            return None;
        }
        let (trace, parent, sampled) = traceparent(parent.as_bytes())?;
        Some(Self { trace, parent, sampled, state: state(headers) })
    }
}

/// The field for a span (§3.2.2).
pub(super) fn written(trace: TraceId, span: SpanId, sampled: bool) -> HeaderValue {
    let text = format!("00-{trace}-{span}-{:02x}", u8::from(sampled));
    HeaderValue::try_from(text).expect("hexadecimal digits and dashes")
}

/// `VERSION-TRACE-PARENT-FLAGS`. Of a later version the same parts are read, whatever follows them.
fn traceparent(text: &[u8]) -> Option<(TraceId, SpanId, bool)> {
    let version = hexadecimal(text.get(..2)?)?;
    let whole = match version {
        0 => text.len() == LENGTH,
        0xff => false,
        _ => text.len() == LENGTH || text.get(LENGTH) == Some(&b'-'),
    };
    let dashes = [2, 35, 52].iter().all(|at| text.get(*at) == Some(&b'-'));
    if !whole || !dashes {
        return None;
    }
    let trace = hexadecimal(text.get(3..35)?)?;
    let parent = u64::try_from(hexadecimal(text.get(36..52)?)?).ok()?;
    let flags = hexadecimal(text.get(53..LENGTH)?)?;
    (trace != 0 && parent != 0).then_some((TraceId(trace), SpanId(parent), flags & 1 == 1))
}

/// A number of lower-case digits, at most 32.
fn hexadecimal(text: &[u8]) -> Option<u128> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).filter(|_| !byte.is_ascii_uppercase());
    text.iter().try_fold(0, |number, byte| Some(number << 4 | u128::from(digit(byte)?)))
}

/// `tracestate` (§3.3), if it is short enough to be passed on and has only members.
fn state(headers: &HeaderMap) -> Option<HeaderValue> {
    let fields: Vec<&str> =
        headers.get_all(TRACESTATE).into_iter().map(|field| field.to_str().ok()).collect::<Option<_>>()?;
    let members: Vec<&str> =
        fields.iter().flat_map(|field| field.split(',')).map(str::trim).filter(|member| !member.is_empty()).collect();
    let valid = members.iter().all(|member| is_member(member)) && members.len() <= MEMBERS;
    let text = members.join(",");
    (valid && !text.is_empty() && text.len() <= STATE_BYTES).then(|| HeaderValue::from_str(&text).ok())?
}

fn is_member(member: &str) -> bool {
    let Some((key, value)) = member.split_once('=') else { return false };
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-*/@".contains(&byte);
    let begins = key.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    begins
        && key.len() <= 256
        && key.bytes().all(plain)
        && !value.is_empty()
        && value.len() <= 256
        && value.bytes().all(|byte| (0x20..=0x7e).contains(&byte) && byte != b'=')
}

/// Bytes of `traceparent` in version 00.
const LENGTH: usize = 55;
/// Members of `tracestate`.
const MEMBERS: usize = 32;
/// Bytes of `tracestate` that are passed on; at least 512 by the specification.
const STATE_BYTES: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn read(fields: &[(HeaderName, &str)]) -> Option<Incoming> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        Incoming::read(&headers)
    }

    #[test]
    fn a_context_is_read_strictly() {
        let found = read(&[(TRACEPARENT, PARENT)]).unwrap();
        assert_eq!(found.trace.to_string(), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!((found.parent.to_string().as_str(), found.sampled), ("b7ad6b7169203331", true));
        for (text, sampled) in [
            ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00", Some(false)),
            ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-ff", Some(true)),
            ("01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more", Some(true)),
            ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more", None),
            ("01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01more", None),
            ("ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", None),
            ("00-00000000000000000000000000000000-b7ad6b7169203331-01", None),
            ("00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01", None),
            ("00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01", None),
            ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b716920333-01", None),
            ("00-0af7651916cd43dd8448eb211c80319c_b7ad6b7169203331-01", None),
            ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1", None),
            ("", None),
        ] {
            assert_eq!(read(&[(TRACEPARENT, text)]).map(|found| found.sampled), sampled, "{text}");
        }
        assert_eq!(read(&[(TRACEPARENT, PARENT), (TRACEPARENT, PARENT)]), None, "twice");
    }

    #[test]
    fn a_state_that_breaks_its_grammar_is_left_out() {
        let long = format!("a={}", "x".repeat(257));
        let many = vec!["a=1"; 33].join(",");
        for (fields, expected) in [
            (&["a=1, b@c=2"][..], Some("a=1,b@c=2")),
            (&["a=1", "b=2,"], Some("a=1,b=2")),
            (&["A=1"], None),
            (&["a"], None),
            (&["a=1=2"], None),
            (&[long.as_str()], None),
            (&[many.as_str()], None),
            (&["a=\u{2028}"], None),
            (&[""], None),
        ] {
            let mut all = vec![(TRACEPARENT, PARENT)];
            all.extend(fields.iter().map(|field| (TRACESTATE, *field)));
            let state = read(&all).unwrap().state;
            assert_eq!(state.as_ref().map(|state| state.to_str().unwrap()), expected, "{fields:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(trace in 1_u128.., span in 1_u64.., sampled: bool) {
            let field = written(TraceId(trace), SpanId(span), sampled);
            let found = traceparent(field.as_bytes());
            prop_assert_eq!(found, Some((TraceId(trace), SpanId(span), sampled)));
        }
    }
}
