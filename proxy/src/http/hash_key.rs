//! The value of a hash key for one request: the key's parts and a request header flow in, bytes flow out. Pure; `selection`
//! asks.

use super::cookies;
use super::request::RequestTarget;
use http::request::Parts;
use nearside_routing::policy::balance::{HashKey, HashPart};
use std::net::IpAddr;

/// The values of the parts, one after the other; what a request does not have is empty.
pub(super) fn value(key: &HashKey, header: &Parts, target: &RequestTarget<'_>, client: IpAddr) -> Vec<u8> {
    let mut value = Vec::new();
    for part in key.parts() {
        match part {
            HashPart::Literal(text) => value.extend_from_slice(text.as_bytes()),
            HashPart::ClientAddress => value.extend_from_slice(client.to_canonical().to_string().as_bytes()),
            HashPart::PathAndQuery => value.extend_from_slice(&target.path_and_query()),
            HashPart::Path => value.extend_from_slice(target.path),
            HashPart::Query => value.extend_from_slice(target.query.unwrap_or_default()),
            HashPart::Host => value.extend_from_slice(target.host.as_bytes()),
            HashPart::Method => value.extend_from_slice(header.method.as_str().as_bytes()),
            HashPart::Header(name) => {
                value.extend_from_slice(header.headers.get(&**name).map_or(b"", |field| field.as_bytes()));
            }
            HashPart::Argument(name) => value.extend_from_slice(argument(target, name).unwrap_or_default()),
            HashPart::Cookie(name) => {
                value.extend_from_slice(cookies::values(&header.headers, name).next().unwrap_or_default());
            }
        }
    }
    value
}

fn argument<'r>(target: &RequestTarget<'r>, name: &str) -> Option<&'r [u8]> {
    target.query?.split(|byte| *byte == b'&').find_map(|argument| {
        let at = argument.iter().position(|byte| *byte == b'=')?;
        (&argument[..at] == name.as_bytes()).then(|| &argument[at + 1..])
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn value_of(key: &str, raw: &str) -> String {
        let key = HashKey::parse(key).unwrap();
        let request = Request::get(raw).header("host", "A.example.com:80").header("x-tenant", "t1");
        let parts = request.header("cookie", "a=1; user=me").body(()).unwrap().into_parts().0;
        let target = RequestTarget::parse(&parts, raw.as_bytes()).unwrap();
        String::from_utf8(value(&key, &parts, &target, "10.0.0.1".parse().unwrap())).unwrap()
    }

    #[test]
    fn each_variable_is_that_part_of_the_request() {
        for (key, expected) in [
            ("$request_uri", "/a%2Fb?x=1&user=you&user=2"),
            ("$uri|$args", "/a%2Fb|x=1&user=you&user=2"),
            ("$host-$remote_addr", "a.example.com-10.0.0.1"),
            ("$request_method$http_x_tenant", "GETt1"),
            ("$arg_user,$cookie_user", "you,me"),
            ("[$arg_use$cookie_b$http_none]", "[]"),
        ] {
            assert_eq!(value_of(key, "/a%2Fb?x=1&user=you&user=2"), expected, "{key}");
        }
    }
}
