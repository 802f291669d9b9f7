//! Who asked, told to the pod: the client's connection flows in, `X-Forwarded-*` and `Forwarded` (RFC 7239) flow out. Pure.
//!
//! | policy | `X-Forwarded-For`, `Forwarded` | `X-Forwarded-Host`, `-Port`, `-Proto`, `-Proto-Version` |
//! |---|---|---|
//! | append | ours after the client's | ours alone |
//! | replace | ours alone | ours alone |
//! | if-none | ours where there is none | each where there is none |
//! | never | as the client sent them | as the client sent them |
//!
//! The OpenShift router appends a second line for host, port and scheme, and a pod that reads the first believes the client;
//! here a pod finds one line, whichever it reads. What no proxy should believe is removed in every policy: `Proxy`, client
//! certificate fields and spellings that a pod could take for the real fields.

use super::fields::{Fields, dashed};
use http::header::FORWARDED;
use http::{HeaderMap, HeaderName, HeaderValue};
use nearside_routing::Scheme;
use nearside_routing::policy::ForwardedHeaders;
use std::io::Write;
use std::net::IpAddr;

/// What a pod is told of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Forwarded<'f> {
    /// The client.
    pub(crate) client: IpAddr,
    /// Who is connected: the client, or the nearest of the proxies that tell of it, which is added to what they tell.
    pub(crate) peer: IpAddr,
    /// How it came.
    pub(crate) scheme: Scheme,
    /// `Host` or `:authority`, as the client wrote it.
    pub(crate) host: &'f [u8],
    /// The port that the client connected to.
    pub(crate) port: u16,
    /// Whether it came by HTTP/2.
    pub(crate) http2: bool,
}

impl Forwarded<'_> {
    /// Writes the fields into the header for the pod.
    pub(super) fn write(&self, policy: ForwardedHeaders, header: &mut impl Fields) {
        let scheme = match self.scheme {
            Scheme::Http => "http",
            Scheme::Https => "https",
        };
        let absent = |header: &dyn Fields, name: &HeaderName| !header.all().contains_key(name);
        let claims = [
            (X_FORWARDED_PROTO, Some(HeaderValue::from_static(scheme))),
            (X_FORWARDED_PORT, Some(HeaderValue::from(self.port))),
            (X_FORWARDED_HOST, Some(self.host).filter(|h| !h.is_empty()).and_then(|h| HeaderValue::from_bytes(h).ok())),
            (X_FORWARDED_PROTO_VERSION, self.http2.then_some(HeaderValue::from_static("h2"))),
        ];
        for (name, value) in claims {
            match (policy, value) {
                (ForwardedHeaders::Never, _) => {}
                (ForwardedHeaders::IfNone, Some(value)) if absent(header, &name) => header.set(&name, value),
                (ForwardedHeaders::IfNone, _) => {}
                (ForwardedHeaders::Append | ForwardedHeaders::Replace, Some(value)) => header.set(&name, value),
                (ForwardedHeaders::Append | ForwardedHeaders::Replace, None) => header.remove(&name),
            }
        }
        // A front proxy that ended TLS says so in its own field, and this one must not contradict it.
        let told = header.all().get_all(X_FORWARDED_PROTO).iter().next_back();
        let scheme = match told.map(HeaderValue::as_bytes) {
            Some(b"https") => "https",
            Some(b"http") => "http",
            _ => scheme,
        };
        let client = if policy == ForwardedHeaders::Append { self.peer } else { self.client };
        let mut text = Vec::with_capacity(LONGEST_ADDRESS);
        // Writing to a Vec does not fail.
        let _ = write!(text, "{client}");
        let element = HeaderValue::try_from(self.element(&text, client.is_ipv6(), scheme));
        let client = HeaderValue::try_from(text);
        for (name, value) in [(X_FORWARDED_FOR, client), (FORWARDED, element)] {
            // An address is always a value, and the host was checked before it came here.
            let Ok(value) = value else { continue };
            match policy {
                ForwardedHeaders::Append => header.add(&name, value),
                ForwardedHeaders::Replace => header.set(&name, value),
                ForwardedHeaders::IfNone if absent(header, &name) => header.set(&name, value),
                ForwardedHeaders::IfNone | ForwardedHeaders::Never => {}
            }
        }
    }

    /// One element of `Forwarded`. A colon is no token character, so that IPv6 addresses and hosts with a port are quoted
    /// (RFC 7239 §4, §6).
    fn element(&self, client: &[u8], is_ipv6: bool, scheme: &str) -> Vec<u8> {
        let mut element = Vec::with_capacity(96);
        let (open, close): (&[u8], &[u8]) = if is_ipv6 { (b"for=\"[", b"]\"") } else { (b"for=", b"") };
        for part in [open, client, close] {
            element.extend_from_slice(part);
        }
        if !self.host.is_empty() {
            let quoted = self.host.iter().any(|byte| !byte.is_ascii_alphanumeric() && !b"-._".contains(byte));
            let quote = if quoted { "\"" } else { "" };
            element.extend_from_slice(b";host=");
            element.extend_from_slice(quote.as_bytes());
            element.extend_from_slice(self.host);
            element.extend_from_slice(quote.as_bytes());
        }
        element.extend_from_slice(b";proto=");
        element.extend_from_slice(scheme.as_bytes());
        element
    }
}

/// Removes what a client must not tell a pod: `Proxy` (httpoxy), client certificate fields, which only a router that has
/// verified one sets, and spellings that some servers read like fields that decide on something.
pub(super) fn remove_spoofed(header: &mut impl Fields) {
    remove_where(header, |name, _| {
        *name == PROXY || dashed(name).is_some_and(|plain| plain == PROXY.as_str() || is_trusted(&plain))
    });
}

/// Removes spellings of fields that are there under their own names: some servers would read both as one. `client` are the client's
/// fields; what the operator and the object write is theirs to know.
pub(super) fn remove_twins(client: &HeaderMap, header: &mut impl Fields) {
    remove_where(header, |name, all| {
        dashed(name).is_some_and(|plain| client.contains_key(name) && all.contains_key(plain))
    });
}

fn remove_where(header: &mut impl Fields, is_out: impl Fn(&HeaderName, &HeaderMap) -> bool) {
    let all = header.all();
    let out: Vec<HeaderName> = all.keys().filter(|name| is_out(name, all)).cloned().collect();
    out.iter().for_each(|name| header.remove(name));
}

/// Whether something is decided by a field, so that no other spelling of it may reach a pod.
fn is_trusted(plain: &str) -> bool {
    TRUSTED.contains(&plain) || TRUSTED_BEGINNING.iter().any(|start| plain.starts_with(start))
}

/// See [`is_trusted`].
const TRUSTED: [&str; 17] = [
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "expect",
    "forwarded",
    "host",
    "origin",
    "te",
    "trailer",
    "transfer-encoding",
    "true-client-ip",
    "upgrade",
    "x-http-method-override",
    "x-real-ip",
];
/// The same for all fields that begin so.
const TRUSTED_BEGINNING: [&str; 8] =
    ["proxy-", "remote-", "ssl-client-", "x-accel-", "x-forwarded-", "x-original-", "x-rewrite-", "x-ssl"];
const PROXY: HeaderName = HeaderName::from_static("proxy");
/// Of an IPv6 address as text, in bytes.
const LONGEST_ADDRESS: usize = 45;
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_PROTO_VERSION: HeaderName = HeaderName::from_static("x-forwarded-proto-version");

#[cfg(test)]
mod tests {
    use super::*;

    fn header(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut header = HeaderMap::new();
        for (name, value) in fields {
            header.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        header
    }

    fn values(header: &HeaderMap, name: &str) -> Vec<String> {
        header.get_all(name).iter().map(|value| value.to_str().unwrap().to_owned()).collect()
    }

    const REQUEST: Forwarded<'_> = Forwarded {
        client: IpAddr::V4(std::net::Ipv4Addr::new(198, 18, 0, 9)),
        peer: IpAddr::V4(std::net::Ipv4Addr::new(198, 18, 0, 9)),
        scheme: Scheme::Http,
        host: b"a.example.com:8080",
        port: 80,
        http2: false,
    };
    const OURS: &str = "for=198.18.0.9;host=\"a.example.com:8080\";proto=http";

    /// What a client claims, field by field, as each policy leaves it.
    #[test]
    fn each_policy_treats_the_claims_of_a_client_in_its_way() {
        let claimed = [
            ("x-forwarded-for", "192.0.2.1"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "bank.example.com"),
            ("x-forwarded-port", "443"),
            ("x-forwarded-proto-version", "h2"),
            ("forwarded", "for=192.0.2.1"),
        ];
        use ForwardedHeaders::{Append, IfNone, Never, Replace};
        let both = ["for=192.0.2.1", OURS];
        for (policy, list, proto, host, port, version, forwarded) in [
            (Append, &["192.0.2.1", "198.18.0.9"][..], "http", "a.example.com:8080", "80", &[][..], &both[..]),
            (Replace, &["198.18.0.9"], "http", "a.example.com:8080", "80", &[], &[OURS]),
            (IfNone, &["192.0.2.1"], "https", "bank.example.com", "443", &["h2"], &both[..1]),
            (Never, &["192.0.2.1"], "https", "bank.example.com", "443", &["h2"], &both[..1]),
        ] {
            let mut header = header(&claimed);
            REQUEST.write(policy, &mut header);
            assert_eq!(values(&header, "x-forwarded-for"), list, "{policy:?}");
            assert_eq!(values(&header, "x-forwarded-proto"), [proto], "{policy:?}");
            assert_eq!(values(&header, "x-forwarded-host"), [host], "{policy:?}");
            assert_eq!(values(&header, "x-forwarded-port"), [port], "{policy:?}");
            assert_eq!(values(&header, "x-forwarded-proto-version"), version, "{policy:?}");
            assert_eq!(values(&header, "forwarded"), forwarded, "{policy:?}");
        }
    }

    #[test]
    fn without_claims_every_policy_but_never_tells_all() {
        for (policy, told) in ForwardedHeaders::WORDS.map(|(_, policy)| (policy, policy != ForwardedHeaders::Never)) {
            let mut header = HeaderMap::new();
            Forwarded { http2: true, ..REQUEST }.write(policy, &mut header);
            assert_eq!(header.len(), if told { 6 } else { 0 }, "{policy:?}");
        }
    }

    #[test]
    fn one_field_of_a_front_proxy_is_not_contradicted() {
        let mut header = header(&[("x-forwarded-proto", "https")]);
        REQUEST.write(ForwardedHeaders::IfNone, &mut header);
        assert_eq!(values(&header, "forwarded"), [OURS.replace("proto=http", "proto=https")]);
    }

    #[test]
    fn an_ipv6_client_is_bracketed_and_quoted() {
        let mut header = HeaderMap::new();
        let client = "fd00::9".parse().unwrap();
        let request = Forwarded { client, peer: client, scheme: Scheme::Https, host: b"a.example.com", ..REQUEST };
        request.write(ForwardedHeaders::Append, &mut header);
        assert_eq!(values(&header, "forwarded"), ["for=\"[fd00::9]\";host=a.example.com;proto=https"]);
        assert_eq!(values(&header, "x-forwarded-for"), ["fd00::9"]);
    }

    #[test]
    fn spoofed_spellings_are_removed_and_others_stay() {
        let mut header = header(&[
            ("proxy", "http://evil"),
            ("x_forwarded_for", "127.0.0.1"),
            ("x.forwarded-for", "127.0.0.1"),
            ("x_ssl_client_cn", "root"),
            ("ssl_client-verify", "SUCCESS"),
            ("content_length", "0"),
            ("transfer_encoding", "chunked"),
            ("x_real_ip", "127.0.0.1"),
            ("x|original|url", "/admin"),
            ("x_api_key", "1"),
            ("x-forwarded-for", "192.0.2.1"),
            ("content-length", "0"),
        ]);
        remove_spoofed(&mut header);
        let mut left: Vec<&str> = header.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["content-length", "x-forwarded-for", "x_api_key"]);
    }

    #[test]
    fn of_two_spellings_of_one_field_the_clients_odd_one_goes() {
        let client = header(&[("x_user", "root"), ("x_other", "1")]);
        let mut header =
            header(&[("x-user", "alice"), ("x_user", "root"), ("x_other", "1"), ("x-own", "1"), ("x_own", "2")]);
        remove_twins(&client, &mut header);
        let mut left: Vec<&str> = header.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["x-own", "x-user", "x_other", "x_own"]);
    }
}
