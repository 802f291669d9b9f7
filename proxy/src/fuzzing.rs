//! The fuzz targets of the proxy: bytes of clients, pods and other proxies flow in, and a panic flows out where a parser fails or what
//! must hold does not. Built for tests, which replay the corpus, and by cargo-fuzz; each body is beside its parser.

use crate::proxy_protocol::{Addresses, Parsed, encode_v2, parse};
use crate::relay::{Keys, Told};
use crate::tls::Presented;
use crate::tls::client_certificate::{ClientCertificate, fields};
use nearside_routing::Scheme;
use std::net::SocketAddr;
use std::time::Duration;

/// What a target is called, and what it does with bytes.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: [Target; 11] = [
    ("answer_head", answer_head),
    ("chunked", chunked),
    ("client_certificate", client_certificate),
    ("client_hello", client_hello),
    ("cookies", cookies),
    ("forwarded", forwarded),
    ("header_actions", header_actions),
    ("proxy_header", proxy_header),
    ("relay_mark", relay_mark),
    ("request_head", request_head),
    ("trailers", trailers),
];

/// What a pod sends first.
pub fn answer_head(bytes: &[u8]) {
    crate::http::direct::fuzzing::answer_head(bytes);
    crate::trailers::fuzzing::answer_head(bytes);
}

/// A body in the chunked coding.
pub fn chunked(bytes: &[u8]) {
    crate::chunked::fuzzing::body(bytes);
}

/// What a client over TLS sends first.
pub fn client_hello(bytes: &[u8]) {
    crate::accept::fuzzing::client_hello(bytes);
}

/// The name of a cookie, and fields that hold cookies, a line each.
pub fn cookies(bytes: &[u8]) {
    crate::http::fuzzing::cookies(bytes);
}

/// The fields of a request that tell who asks, and of its trace.
pub fn forwarded(bytes: &[u8]) {
    crate::http::fuzzing::forwarded(bytes);
    crate::trace::fuzzing::context(&crate::http::fuzzing::named(bytes));
}

/// The value of a header action, and the fields that it is done on.
pub fn header_actions(bytes: &[u8]) {
    crate::http::fuzzing::header_actions(bytes);
}

/// What a client over HTTP/1 sends first.
pub fn request_head(bytes: &[u8]) {
    crate::accept::fuzzing::first_bytes(bytes);
    crate::trailers::fuzzing::request_head(bytes);
    crate::http::fuzzing::request_head(bytes);
    crate::http::direct::fuzzing::request_head(bytes);
}

/// A chunked body with trailers, and a response to a client who takes them.
pub fn trailers(bytes: &[u8]) {
    crate::trailers::fuzzing::trailers(bytes);
}

/// The certificate that a client shows, in DER.
pub fn client_certificate(bytes: &[u8]) {
    let presented = Presented::new(Some(&[bytes.into()]));
    if let Some(leaf) = presented.leaf() {
        for name in [&leaf.subject, &leaf.issuer] {
            assert!(name.as_bytes().iter().all(|byte| (b' '..=b'~').contains(byte)), "{name:?}");
        }
    }
    let pem = presented.escaped_pem().expect("all but unreserved characters are escaped");
    assert!(pem.as_bytes().iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._~%".contains(byte)));
    let certificate = ClientCertificate::of(bytes);
    assert_eq!(certificate.is_some(), presented.leaf().is_some());
    let told = fields(certificate.as_ref()).len();
    assert_eq!(told, fields(None).len(), "a pod is told the same of every client");
}

/// What a load balancer sends first.
pub fn proxy_header(bytes: &[u8]) {
    // As it is read from a socket: never more than what is asked for.
    let mut read = 0;
    loop {
        match parse(&bytes[..read]) {
            Ok(Parsed::Incomplete(more)) => {
                assert!(more > 0);
                if read + more > bytes.len() {
                    break;
                }
                read += more;
            }
            Ok(Parsed::Header(addresses)) => {
                addresses.iter().for_each(written_again);
                break;
            }
            Err(_) => break,
        }
    }
    // A header that is whole was incomplete in each of its parts, and none is refused that could still become one.
    if let Ok(Parsed::Header(_)) = parse(bytes) {
        for cut in cuts(bytes.len()).filter(|cut| *cut < bytes.len()) {
            let Ok(Parsed::Incomplete(more)) = parse(&bytes[..cut]) else { panic!("no header after {cut} bytes") };
            assert!(cut + more <= bytes.len());
        }
    }
}

fn written_again(addresses: &Addresses) {
    let Ok(Parsed::Header(Some(again))) = parse(&encode_v2(addresses)) else { panic!("{addresses:?}") };
    let canonical = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
    assert_eq!(canonical(again.source), canonical(addresses.source));
    assert_eq!(canonical(again.destination), canonical(addresses.destination));
}

/// A host, and the field by which a proxy says that it relays a request, a line each.
pub fn relay_mark(bytes: &[u8]) {
    let keys: Keys = KEY.parse().expect("long enough");
    let (host, value) = match bytes.iter().position(|byte| *byte == b'\n') {
        Some(end) => (&bytes[..end], &bytes[end + 1..]),
        None => (&b"a.test"[..], bytes),
    };
    let Ok(host) = std::str::from_utf8(host) else { return };
    // Nobody finds the code for a field without the key.
    assert_eq!(keys.told(value, host, NOW), None);
    let told = Told { client: [192, 0, 2, 1].into(), peer: [10, 0, 0, 1].into(), scheme: Scheme::Https, port: 443 };
    let mark = keys.mark(&told, host, NOW);
    assert_eq!(keys.told(mark.as_bytes(), host, NOW), Some(told));
    assert_eq!(keys.told(mark.as_bytes(), &format!("{host}."), NOW), None);
    let words = std::str::from_utf8(value).ok().and_then(|text| text.rsplit_once(';')).map_or("", |(words, _)| words);
    let (own, code) = mark.rsplit_once(';').unwrap_or_default();
    if words != own {
        assert_eq!(keys.told(format!("{words};{code}").as_bytes(), host, NOW), None);
    }
}

/// Places to cut an input: all of a short one, some of a longer one.
pub(crate) fn cuts(length: usize) -> impl Iterator<Item = usize> {
    let step = (length / 16).max(1);
    (0..=length).step_by(step)
}

const KEY: &str = "0123456789abcdef0123456789abcdef";
const NOW: Duration = Duration::from_secs(1_700_000_000);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_corpus_is_replayed() {
        TARGETS.into_iter().for_each(nearside_loadtest::corpus::replay);
    }
}
