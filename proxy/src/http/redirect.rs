//! Redirects that an object states: its policy and a request flow in, an answer flows out, if there is one. Pure.

use super::answer::Answer;
use super::request::RequestTarget;
use http::HeaderValue;
use nearside_routing::policy::{Location, LocationPart, Redirects};
use nearside_routing::{NormalPath, Scheme};

/// The answer to every request of the object, over the scheme that it would be served by.
pub(super) fn instead(redirects: &Redirects, scheme: Scheme, target: &RequestTarget<'_>) -> Option<Answer> {
    if let Some(host) = &redirects.to_host {
        return Some(Answer::host_redirect(scheme, host, target));
    }
    let fixed = redirects.fixed.as_ref()?;
    let url = expand(&fixed.location, scheme, target);
    Some(Answer::stated_redirect(fixed.status, HeaderValue::from_bytes(&url).ok()))
}

/// A place with the parts of a request in it.
pub(super) fn expand(location: &Location, scheme: Scheme, target: &RequestTarget<'_>) -> Vec<u8> {
    let mut url = Vec::new();
    for part in location.parts() {
        match part {
            LocationPart::Literal(text) => url.extend_from_slice(text.as_bytes()),
            LocationPart::Scheme => url.extend_from_slice(scheme_name(scheme).as_bytes()),
            LocationPart::Host => url.extend_from_slice(target.host.as_bytes()),
            LocationPart::HttpHost => {
                url.extend_from_slice(target.host.as_bytes());
                url.extend(target.port.iter().flat_map(|port| [b":", port.as_bytes()].concat()));
            }
            LocationPart::RequestUri => url.extend(target.path_and_query()),
            LocationPart::EscapedRequestUri => {
                for byte in target.path_and_query() {
                    match byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                        true => url.push(byte),
                        false => url.extend(format!("%{byte:02X}").into_bytes()),
                    }
                }
            }
        }
    }
    url
}

/// The answer to a request for the root, where the application lives below it.
pub(super) fn app_root(redirects: &Redirects, path: &NormalPath<'_>) -> Option<Answer> {
    let root = redirects.app_root.as_ref().filter(|_| path.as_str() == "/")?;
    // Relative to the request's own URL (RFC 9110 §10.2.2), so that it is right behind any other proxy.
    Some(Answer::stated_redirect(302, HeaderValue::from_str(root).ok()))
}

/// As it stands in a URL.
pub(super) fn scheme_name(scheme: Scheme) -> &'static str {
    match scheme {
        Scheme::Http => "http",
        Scheme::Https => "https",
    }
}
