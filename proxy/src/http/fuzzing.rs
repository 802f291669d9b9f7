//! The fuzz targets of header fields: bytes become a header as the parser below makes one, and what is read of it and written to it
//! must hold, for the proxy, the pod and the next proxy alike.

use super::cookies as cookie_fields;
use super::fields::Fields as _;
use super::forwarded::{Forwarded, remove_spoofed};
use super::header_actions::{Known, apply};
use super::origin::Origin;
use super::request::{RequestTarget, too_large};
use super::request_head;
use crate::balance::CookieValue;
use crate::connection::{Arrival, Connection, HeaderWatch, Hold};
use crate::fuzzing::cuts;
use crate::limits::HEADER_VALUE_BYTES;
use crate::trailers::TrailerWatch;
use http::header::{COOKIE, HOST, SET_COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version};
use ipnet::IpNet;
use nearside_routing::header_value::{Side, ValueTemplate};
use nearside_routing::hostname::canonical_host;
use nearside_routing::policy::{ForwardedHeaders, HeaderAction, is_host_and_port};
use nearside_routing::{NormalPath, Scheme};
use pingora::http::RequestHeader;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::OnceLock;

/// The header at the start of bytes, and its length, as Pingora reads it.
pub(super) fn request(bytes: &[u8]) -> Option<(RequestHeader, usize)> {
    let mut fields = [httparse::EMPTY_HEADER; 256];
    let mut parsed = httparse::Request::new(&mut fields);
    let Ok(httparse::Status::Complete(length)) = parsed.parse(bytes) else { return None };
    let mut header = RequestHeader::build(parsed.method?, parsed.path?.as_bytes(), None).ok()?;
    header.set_version(if parsed.version? == 1 { Version::HTTP_11 } else { Version::HTTP_10 });
    for field in parsed.headers.iter() {
        header.append_header(field.name.to_owned(), HeaderValue::from_bytes(field.value).ok()?).ok()?;
    }
    Some((header, length))
}

/// See [`crate::fuzzing::request_head`].
pub(crate) fn request_head(bytes: &[u8]) {
    let Some((header, length)) = request(bytes) else { return };
    if let Some(refusal) = too_large(&header) {
        assert!(matches!(refusal.status, 414 | 431));
        return;
    }
    for cut in cuts(bytes.len()) {
        let watch = TrailerWatch::default();
        watch.header_came(&bytes[..cut]);
        watch.header_came(&bytes[cut..length.max(cut)]);
        let head = request_head::check(&watch.take_header(), &bytes[..length]);
        if head.is_ok() && watch.begin(&header).is_some() {
            drop(watch.body_came(&bytes[length.max(cut)..]));
        }
        watch.end();
    }
    match RequestTarget::parse(&header, header.raw_path()) {
        Ok(target) => asks_for_one_thing(&header, &target),
        Err(refusal) => assert!(matches!(refusal.status, 400 | 405), "{refusal:?}"),
    }
}

/// What a pod is sent asks for the same.
fn asks_for_one_thing(header: &RequestHeader, target: &RequestTarget<'_>) {
    assert_eq!(canonical_host(&target.host), target.host);
    assert!(target.host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._[]:".contains(&byte)), "{target:?}");
    assert!(!matches!(header.method, Method::TRACE | Method::CONNECT));
    let sent = target.path_and_query();
    assert!(!sent.contains(&b'#') && !sent.iter().any(u8::is_ascii_whitespace), "{target:?}");
    assert!(sent.starts_with(b"/") || (sent == b"*" && header.method == Method::OPTIONS));
    let port = target.port.map(|port| format!(":{port}")).unwrap_or_default();
    let mut pod = RequestHeader::build(header.method.clone(), &sent, None).expect("a target that came can be sent");
    if header.headers.contains_key(HOST) || !target.host.is_empty() {
        pod.set(&HOST, HeaderValue::try_from(format!("{}{port}", target.host)).expect("a host is a value"));
    } else {
        pod.set_version(Version::HTTP_10);
    }
    let again = RequestTarget::parse(&pod, pod.raw_path()).expect("what is sent is a request");
    assert_eq!((&*again.host, again.port, again.query), (&*target.host, target.port, target.query));
    assert_eq!(again.path_and_query(), sent);
    if let Ok(path) = std::str::from_utf8(target.path)
        && let Ok(path) = NormalPath::parse(path)
    {
        assert!(!path.as_str().split('/').any(|segment| segment == ".."));
    }
}

/// Lines as fields of one name.
fn lines<'b>(bytes: &'b [u8], name: &HeaderName) -> HeaderMap {
    let values = bytes.split(|byte| *byte == b'\n').filter_map(|line: &'b [u8]| HeaderValue::from_bytes(line).ok());
    values.map(|value| (name.clone(), value)).collect()
}

/// Lines as fields with names.
pub(crate) fn named(bytes: &[u8]) -> HeaderMap {
    let field = |line: &[u8]| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let name = HeaderName::from_bytes(&line[..colon]).ok()?;
        Some((name, HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?))
    };
    let mut fields = HeaderMap::new();
    for (name, value) in bytes.split(|byte| *byte == b'\n').filter_map(field).take(256) {
        fields.append(name, value);
    }
    fields
}

/// See [`crate::fuzzing::cookies`].
pub(crate) fn cookies(bytes: &[u8]) {
    let (name, rest) = bytes.split_at(bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len()));
    let Ok(name) = std::str::from_utf8(name) else { return };
    if name.is_empty() || name.contains(['=', ';']) || name.trim_ascii() != name {
        return;
    }
    let before = lines(rest, &COOKIE);
    let others: BTreeSet<&str> = before
        .values()
        .flat_map(|field| field.as_bytes().split(|byte| *byte == b';'))
        .filter_map(|pair| std::str::from_utf8(pair).ok()?.split_once('='))
        .map(|(other, _)| other.trim_ascii())
        .filter(|other| *other != name)
        .collect();
    let values: Vec<&[u8]> = cookie_fields::values(&before, name).collect();
    for value in &values {
        let _ = CookieValue::home(value);
    }
    let kept = cookie_fields::without(&before, name);
    assert_eq!(kept.is_none(), values.is_empty());
    let after: HeaderMap = kept.into_iter().flatten().map(|field| (COOKIE, field)).collect();
    if !values.is_empty() {
        assert_eq!(cookie_fields::values(&after, name).count(), 0);
        for other in others {
            let (had, has) = (cookie_fields::values(&before, other), cookie_fields::values(&after, other));
            assert!(had.eq(has), "{other:?}");
        }
    }
    let set = lines(rest, &SET_COOKIE);
    if let Some(kept) = cookie_fields::set_without(&set, name) {
        assert!(kept.len() < set.len());
        let kept: HeaderMap = kept.into_iter().map(|field| (SET_COOKIE, field)).collect();
        assert!(cookie_fields::set_without(&kept, name).is_none());
    }
}

/// See [`crate::fuzzing::forwarded`].
pub(crate) fn forwarded(bytes: &[u8]) {
    let fields = named(bytes);
    let trusted: [IpNet; 2] = ["10.0.0.0/8", "fd00::/8"].map(|range| range.parse().expect("a range"));
    for scheme in [Scheme::Http, Scheme::Https] {
        let stranger = connection([192, 0, 2, 1].into(), scheme);
        let direct = Origin::of(&stranger, &fields, &trusted);
        let connected = stranger.client.ip();
        assert_eq!(
            (direct.client, direct.peer, direct.scheme),
            (connected, connected, scheme),
            "a stranger is believed"
        );
        let origin = Origin::of(&connection([10, 0, 0, 1].into(), scheme), &fields, &trusted);
        assert!(scheme == Scheme::Http || origin.scheme == Scheme::Https);
        for origin in [direct, origin] {
            for policy in POLICIES {
                next_hop_is_told(&fields, &trusted, &origin, policy);
            }
        }
    }
}

/// Writes what a pod is told, and reads it as another proxy that trusts this one does.
fn next_hop_is_told(fields: &HeaderMap, trusted: &[IpNet], origin: &Origin, policy: ForwardedHeaders) {
    let mut header = fields.clone();
    let Origin { client, peer, scheme, port } = *origin;
    let said = Forwarded { client, peer, scheme, host: b"a.test:80", port, http2: false };
    remove_spoofed(&mut header);
    said.write(policy, &mut header);
    let twin =
        |name: &HeaderName| name.as_str().contains('_') && name.as_str().replace('_', "-").starts_with("x-forwarded-");
    assert!(!header.keys().any(twin) && !header.contains_key("proxy"));
    if matches!(policy, ForwardedHeaders::Append | ForwardedHeaders::Replace) {
        for name in ["x-forwarded-proto", "x-forwarded-port", "x-forwarded-host"] {
            assert_eq!(header.all().get_all(name).iter().count(), 1, "{name}");
        }
        let next = Origin::of(&connection([10, 9, 9, 9].into(), Scheme::Http), &header, trusted);
        assert_eq!(next.client, client, "{policy:?} {header:?}");
        assert_eq!(next.scheme, scheme);
    }
}

fn connection(peer: IpAddr, scheme: Scheme) -> Connection {
    Connection {
        client: (peer, 4711).into(),
        local: ([198, 18, 0, 1], 80).into(),
        scheme,
        server_name: None,
        arrival: Arrival::now(),
        header: HeaderWatch::default(),
        hold: Hold::default(),
        trailers: TrailerWatch::default(),
        certificate: OnceLock::new(),
        presented: OnceLock::new(),
        lasting: Default::default(),
        parting: tokio::sync::Notify::new(),
        sealing: Default::default(),
        streams: Default::default(),
        _place: None,
    }
}

/// See [`crate::fuzzing::header_actions`].
pub(crate) fn header_actions(bytes: &[u8]) {
    let (template, rest) = bytes.split_at(bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len()));
    let Ok(text) = std::str::from_utf8(template) else { return };
    let known = Known { authority: Some("a.test"), client_certificate: Some(rest) };
    for side in [Side::Request, Side::Response] {
        let Ok(value) = ValueTemplate::parse(text, side) else { continue };
        for name in [HeaderName::from_static("x-any"), HOST] {
            let mut header = named(rest);
            header.insert(HOST, HeaderValue::from_static("a.test"));
            let others = header.len() - header.get_all(&name).iter().count();
            apply(&[HeaderAction::Set(name.clone(), value.clone())], side, known, &mut header);
            let set: Vec<&HeaderValue> = header.get_all(&name).iter().collect();
            assert!(set.len() <= 1 && header.len() == others + set.len());
            for value in set {
                assert!(value.len() <= HEADER_VALUE_BYTES);
                assert!(!value.as_bytes().iter().any(|byte| byte.is_ascii_control() && *byte != b'\t'), "{value:?}");
                assert!(side == Side::Response || name != HOST || value.to_str().is_ok_and(is_host_and_port));
            }
            assert!(side == Side::Response || header.contains_key(HOST), "a request has a host");
        }
    }
}

const POLICIES: [ForwardedHeaders; 4] =
    [ForwardedHeaders::Append, ForwardedHeaders::Replace, ForwardedHeaders::IfNone, ForwardedHeaders::Never];
