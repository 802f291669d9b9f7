//! Redirects that an object states: its policy and a request flow in, an answer flows out, if there is one. Pure.

use super::answer::Answer;
use super::request::RequestTarget;
use http::HeaderValue;
use nearside_routing::policy::{Instead, Location, Redirects, RequestUrl};
use nearside_routing::{NormalPath, Scheme};

/// The answer to every request of the object, over the scheme that it would be served by.
pub(super) fn instead(redirects: &Redirects, scheme: Scheme, target: &RequestTarget<'_>) -> Option<Answer> {
    match redirects.instead()? {
        Instead::Host(host) => Some(Answer::host_redirect(scheme, host, target)),
        Instead::Place(fixed) => {
            let url = expand(&fixed.location, scheme, target);
            Some(Answer::stated_redirect(fixed.status, HeaderValue::from_bytes(&url).ok()))
        }
    }
}

/// A place with the parts of a request in it.
pub(super) fn expand(location: &Location, scheme: Scheme, target: &RequestTarget<'_>) -> Vec<u8> {
    let path_and_query = target.path_and_query();
    location.expand(&RequestUrl { scheme, host: &target.host, port: target.port, path_and_query: &path_and_query })
}

/// The answer to a request for the root, where the application lives below it.
pub(super) fn app_root(redirects: &Redirects, path: &NormalPath<'_>) -> Option<Answer> {
    let root = redirects.root(path)?;
    // Relative to the request's own URL (RFC 9110 §10.2.2), so that it is right behind any other proxy.
    Some(Answer::stated_redirect(302, HeaderValue::from_str(root).ok()))
}
