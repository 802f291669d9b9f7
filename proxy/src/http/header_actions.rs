//! Header actions done: a list of actions and the header as it is flow in, the header as it is to be flows out. Pure.
//!
//! A sample is the last value of the field, lists taken apart at their commas, as in HAProxy. Control characters, which a
//! certificate may hold, become `%XX`; so nothing that a client or an object says ends a field. A value that grows beyond
//! [`HEADER_VALUE_BYTES`] is not written, and the field is removed.

use super::fields::Fields;
use crate::limits::HEADER_VALUE_BYTES;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::header::HOST;
use http::{HeaderMap, HeaderValue};
use nearside_routing::header_value::{Converter, Flag, Sample, SampleSource, Segment, Side, ValueTemplate};
use nearside_routing::policy::{HeaderAction, is_host_and_port};

/// What samples may be taken from besides the fields themselves.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Known<'k> {
    /// The host of a request that has no `Host` field (HTTP/2).
    pub(super) authority: Option<&'k str>,
    /// The client's certificate in DER.
    pub(super) client_certificate: Option<&'k [u8]>,
}

/// Does what the actions say, in their order.
pub(super) fn apply(actions: &[HeaderAction], side: Side, known: Known<'_>, header: &mut impl Fields) {
    for action in actions {
        match action {
            HeaderAction::Delete(name) => header.remove(name),
            HeaderAction::Set(name, template) => {
                let value = evaluate(template, known, header.all());
                if side == Side::Request && name == HOST {
                    // The host of the request stays where the value is none.
                    if let Some(host) = value.filter(|host| host.to_str().is_ok_and(is_host_and_port)) {
                        header.set(name, host);
                    }
                } else {
                    match value {
                        Some(value) => header.set(name, value),
                        None => header.remove(name),
                    }
                }
            }
        }
    }
}

fn evaluate(template: &ValueTemplate, known: Known<'_>, fields: &HeaderMap) -> Option<HeaderValue> {
    let mut out = Vec::new();
    for segment in template.segments() {
        match segment {
            Segment::Literal(text) => out.extend_from_slice(text.as_bytes()),
            Segment::Sample(sample) => write(sample, &taken(sample, known, fields), &mut out),
        }
        if out.len() > HEADER_VALUE_BYTES {
            return None;
        }
    }
    HeaderValue::from_bytes(&out).ok()
}

fn taken(sample: &Sample, known: Known<'_>, fields: &HeaderMap) -> Vec<u8> {
    let mut value = match &sample.source {
        SampleSource::ClientCertificate => known.client_certificate.unwrap_or_default().to_vec(),
        SampleSource::RequestHeader(name) | SampleSource::ResponseHeader(name) => {
            let last = fields.get_all(&**name).iter().next_back().map(|value| last_of_list(value.as_bytes()));
            let host = known.authority.filter(|_| name.eq_ignore_ascii_case(HOST.as_str())).map(str::as_bytes);
            last.or(host).unwrap_or_default().to_vec()
        }
    };
    for converter in &sample.converters {
        match converter {
            Converter::Lower => value.make_ascii_lowercase(),
            Converter::Base64 => value = BASE64_STANDARD.encode(&value).into_bytes(),
        }
    }
    value
}

fn write(sample: &Sample, value: &[u8], out: &mut Vec<u8>) {
    let quote = sample.has(Flag::Quote).then_some(b'"');
    let escape = sample.has(Flag::Escape);
    out.extend(quote);
    for &byte in value {
        match byte {
            0..=8 | 10..=31 | 127 => out.extend([b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]),
            b'"' | b'\\' | b']' if escape => out.extend([b'\\', byte]),
            _ => out.push(byte),
        }
    }
    out.extend(quote);
}

/// The last element of a list that is not empty; commas within quotation marks do not count (RFC 9110 §5.6).
fn last_of_list(value: &[u8]) -> &[u8] {
    let (mut quoted, mut escaped, mut start) = (false, false, 0);
    let mut last: &[u8] = b"";
    let element = |element: &'_ [u8]| element.trim_ascii().is_empty();
    for (place, byte) in value.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b',' if !quoted => {
                if !element(&value[start..place]) {
                    last = value[start..place].trim_ascii();
                }
                start = place + 1;
            }
            _ => {}
        }
    }
    if element(&value[start..]) { last } else { value[start..].trim_ascii() }
}

const HEX: &[u8; 16] = b"0123456789ABCDEF";

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderName;
    use proptest::prelude::*;

    fn fields(fields: &[(&'static str, &[u8])]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(HeaderName::from_static(name), HeaderValue::from_bytes(value).unwrap());
        }
        map
    }

    fn value(template: &str, known: Known<'_>, map: &HeaderMap) -> Option<String> {
        let template = ValueTemplate::parse(template, Side::Request).unwrap();
        evaluate(&template, known, map).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
    }

    #[test]
    fn samples_are_the_last_value_converted_and_flagged() {
        let map = fields(&[
            ("x-list", b"a, \"b,c\" , Last]\"\\\" ,, "),
            ("x-two", b"first"),
            ("x-two", b"second"),
            ("x-plain", b"a\"b]"),
        ]);
        for (template, expected) in [
            ("%[req.hdr(X-Two)]", "second"),
            ("<%[req.hdr(x-two),lower,base64]>", "<c2Vjb25k>"),
            ("%[req.hdr(x-list),lower]", "last]\"\\\" ,,"),
            ("%{+Q}[req.hdr(x-two)]", "\"second\""),
            ("%{Q}[req.hdr(x-two)]", "second"),
            ("%{+Q,-Q}[req.hdr(x-two)]", "second"),
            ("%{+Q,+E}[req.hdr(x-plain)]", "\"a\\\"b\\]\""),
            ("%{+X}[req.hdr(x-two)]", "second"),
            ("%[req.hdr(x-none)]", ""),
            ("100%%", "100%"),
        ] {
            assert_eq!(value(template, Known::default(), &map).as_deref(), Some(expected), "{template}");
        }
    }

    #[test]
    fn a_certificate_never_ends_a_field() {
        let der = b"\x30\x82\r\nSet-Cookie: a\0\x7f";
        let known = Known { client_certificate: Some(der), ..Known::default() };
        let raw = value("%[ssl_c_der]", known, &HeaderMap::new()).unwrap();
        assert!(raw.ends_with("%0D%0ASet-Cookie: a%00%7F"), "{raw}");
        assert_eq!(value("%[ssl_c_der,base64]", known, &HeaderMap::new()).unwrap(), BASE64_STANDARD.encode(der));
    }

    #[test]
    fn a_request_without_a_host_field_has_its_authority() {
        let known = Known { authority: Some("A.example.com"), ..Known::default() };
        assert_eq!(value("%[req.hdr(Host),lower]", known, &HeaderMap::new()).as_deref(), Some("a.example.com"));
    }

    #[test]
    fn actions_are_done_in_order_and_a_value_that_cannot_be_written_removes_the_field() {
        let mut map = fields(&[("x-a", b"1"), ("x-a", b"2"), ("x-big", &[b'b'; 9000]), ("host", b"a.example.com")]);
        let set = |name: &str, value: &str| HeaderAction::set(name, value, Side::Request).unwrap();
        let actions = [
            set("x-copy", "%[req.hdr(x-a)]"),
            set("x-a", "new"),
            set("x-later", "%[req.hdr(x-a)]"),
            set("x-big", &"%[req.hdr(x-big)]".repeat(8)),
            set("host", "%[req.hdr(x-none)]"),
            HeaderAction::delete("x-later", Side::Request).unwrap(),
        ];
        apply(&actions, Side::Request, Known::default(), &mut map);
        let mut left: Vec<String> =
            map.iter().map(|(name, value)| format!("{name}={}", value.to_str().unwrap())).collect();
        left.sort();
        assert_eq!(left, ["host=a.example.com", "x-a=new", "x-copy=2"]);
    }

    proptest! {
        #[test]
        fn whatever_a_client_says_is_a_valid_value(bytes: Vec<u8>, flags in "(\\{\\+[QXE]\\})?", lower in "(,lower)?") {
            let known = Known { client_certificate: Some(&bytes), ..Known::default() };
            let template = ValueTemplate::parse(&format!("%{flags}[ssl_c_der{lower}]"), Side::Request).unwrap();
            let value = evaluate(&template, known, &HeaderMap::new()).unwrap();
            prop_assert!(!value.as_bytes().iter().any(|byte| matches!(byte, 0..=8 | 10..=31 | 127)));
        }

        #[test]
        fn the_last_of_a_list_is_a_part_of_it(text in "[a\", \\\\]{0,12}") {
            prop_assert!(text.contains(std::str::from_utf8(last_of_list(text.as_bytes())).unwrap()));
        }
    }
}
