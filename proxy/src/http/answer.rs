//! Answers of our own: decisions flow in, status, header fields and a short page flow out. Pure; `http` sends them.

use super::public_health::PROBE;
use super::request::{Refusal, RequestTarget};
use crate::error_pages::{ErrorPage, html_fields};
use crate::rate::TooMuch;
use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, StatusCode};
use nearside_routing::{Hostname, Scheme};

/// A response that no pod made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// The status.
    pub(crate) status: u16,
    /// Header fields, besides those of every answer.
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    /// The page.
    pub(crate) body: Bytes,
    /// Whether the connection is closed after it.
    pub(crate) close: bool,
    /// Why, in one word for the access log.
    pub(crate) reason: &'static str,
}

impl Answer {
    /// The request breaks a rule.
    pub(crate) fn refusal(refusal: Refusal) -> Self {
        let mut answer = Self::page(refusal.status, refusal.reason).closing();
        if refusal.status == 405 {
            answer.headers.push((ALLOW, HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")));
        }
        answer
    }

    /// The path could deceive a pod.
    pub(crate) fn bad_path() -> Self {
        Self::page(400, "path").closing()
    }

    /// Whether new clients are welcome, for a load balancer.
    pub(super) fn health(status: StatusCode, text: &'static str) -> Self {
        let headers = vec![
            (CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8")),
            (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        ];
        Self {
            status: status.as_u16(),
            headers,
            body: Bytes::from_static(text.as_bytes()),
            close: false,
            reason: PROBE,
        }
    }

    /// No admitted route speaks of the host and path.
    pub(crate) fn no_route(status: u16) -> Self {
        Self::page(status, "no_route")
    }

    /// The connection was made for another host, and the two may not share one (RFC 9110 §15.5.20).
    pub(crate) fn misdirected() -> Self {
        Self::page(421, "misdirected")
    }

    /// The client's certificate is not one of those that are let in.
    pub(crate) fn certificate_refused() -> Self {
        Self::page(403, "client_certificate")
    }

    /// The host asks for a certificate, and the client has shown none that its CAs vouch for. The connection is closed: the
    /// client may choose another one.
    pub(crate) fn certificate_needed(reason: &'static str) -> Self {
        Self::page(400, reason).closing()
    }

    /// The host asks for a certificate, and the connection was made before it did.
    pub(crate) fn certificate_not_asked() -> Self {
        Self::page(421, "client_certificate_not_asked").closing()
    }

    /// The client is not among those that the route serves.
    pub(crate) fn forbidden() -> Self {
        Self::page(403, "forbidden")
    }

    /// The request gives no user and password that are known (RFC 9110 §15.5.2).
    pub(crate) fn unauthorized(challenges: impl IntoIterator<Item = HeaderValue>) -> Self {
        let mut answer = Self::page(401, "unauthorized");
        answer.headers.extend(challenges.into_iter().map(|challenge| (WWW_AUTHENTICATE, challenge)));
        answer
    }

    /// The service that decides about requests gives no word that counts.
    pub(crate) fn no_word() -> Self {
        Self::page(503, "authentication_unavailable").retrying()
    }

    /// The Secret that the object names for passwords is not there, or lets nobody in.
    pub(crate) fn credentials_missing() -> Self {
        Self::page(503, "credentials_missing").retrying()
    }

    /// More passwords wait to be verified than may.
    pub(crate) fn verification_busy() -> Self {
        Self::page(503, "verification_busy").retrying()
    }

    /// The client asks more than the route serves it (RFC 6585 §4).
    pub(crate) fn too_much(too_much: TooMuch) -> Self {
        let mut answer = Self::page(429, "rate_limited");
        let whole = too_much.0.as_secs() + u64::from(too_much.0.subsec_nanos() > 0);
        answer.headers.push((RETRY_AFTER, HeaderValue::from(whole.max(1))));
        answer
    }

    /// The route exists and nothing can answer for it now.
    pub(crate) fn no_endpoint() -> Self {
        Self::page(503, NO_ENDPOINT).retrying().closing()
    }

    /// Whether there is no endpoint to ask.
    pub(crate) fn is_without_endpoint(&self) -> bool {
        self.status == 503 && self.reason == NO_ENDPOINT
    }

    /// The pods have as many requests as they may have, and more wait already than may.
    pub(crate) fn pods_busy() -> Self {
        Self::page(503, POD_BUSY).retrying().closing()
    }

    /// More requests are under way than may be.
    pub(crate) fn busy(reason: &'static str) -> Self {
        Self::page(503, reason).retrying().closing()
    }

    /// The object asks for a guard that the proxy does not have.
    pub(crate) fn unguarded() -> Self {
        Self::page(503, "authentication_not_offered")
    }

    /// Serving the request failed.
    pub(crate) fn failure(status: u16, reason: &'static str) -> Self {
        let answer = Self::page(status, reason).closing();
        if status == 503 { answer.retrying() } else { answer }
    }

    /// To the same URL with https, without a port as in the OpenShift router.
    pub(crate) fn https_redirect(status: u16, target: &RequestTarget<'_>) -> Self {
        // A client of HTTP/1.0 that names no host cannot be told where to go.
        let location =
            Some(location("https", &target.host, None, target)).filter(|_| !target.host.is_empty()).flatten();
        Self::redirect(status, location, Some("no-cache"), "https_redirect")
    }

    /// To the name under which another node serves the host: temporary and never stored, for the pods may move back.
    pub(crate) fn alias_redirect(scheme: Scheme, alias: &Hostname, target: &RequestTarget<'_>) -> Self {
        let location = location(scheme.as_str(), alias.as_str(), target.port, target);
        Self::redirect(307, location, Some("no-store"), "miss_redirect")
    }

    /// To the node of the client's pod, though another pod could answer here: temporary and never stored.
    pub(crate) fn return_redirect(scheme: Scheme, alias: &Hostname, target: &RequestTarget<'_>) -> Self {
        Self { reason: "sticky_redirect", ..Self::alias_redirect(scheme, alias, target) }
    }

    /// The same with one more field.
    #[must_use]
    pub(crate) fn with_field(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// To the same URL at another host, for good: the one with or without `www.`.
    pub(crate) fn host_redirect(scheme: Scheme, host: &Hostname, target: &RequestTarget<'_>) -> Self {
        // A redirect to https on the way leaves the port of plain HTTP behind.
        let port = target.port.filter(|_| scheme == Scheme::Http);
        let location = location(scheme.as_str(), host.as_str(), port, target);
        Self::redirect(308, location, None, "host_redirect")
    }

    /// To a place that the object states.
    pub(crate) fn stated_redirect(status: u16, location: Option<HeaderValue>) -> Self {
        let permanent = matches!(status, 301 | 308);
        Self::redirect(status, location, if permanent { None } else { Some("no-cache") }, "redirect")
    }

    /// To a browser that asks what a page of another origin may do.
    pub(crate) fn preflight(headers: Vec<(HeaderName, HeaderValue)>) -> Self {
        Self { status: 204, headers, body: Bytes::new(), close: false, reason: "preflight" }
    }

    /// The same answer with a page of the operator's. Fields that only the proxy can know, such as `Retry-After`, stay where the
    /// page does not say them.
    pub(crate) fn with_page(self, page: &ErrorPage) -> Self {
        let replaced = html_fields();
        let kept = self.headers.into_iter().filter(|(name, _)| {
            let is = |(other, _): &(HeaderName, HeaderValue)| other == name;
            !replaced.iter().any(is) && !page.headers.iter().any(is)
        });
        let headers = page.headers.iter().cloned().chain(kept).collect();
        Self { status: page.status, headers, body: page.body.clone(), close: self.close || page.close, ..self }
    }

    fn redirect(status: u16, location: Option<HeaderValue>, cache: Option<&'static str>, reason: &'static str) -> Self {
        let Some(location) = location else { return Self::page(400, "target").closing() };
        let mut headers = vec![(LOCATION, location)];
        headers.extend(cache.map(|cache| (CACHE_CONTROL, HeaderValue::from_static(cache))));
        Self { status, headers, body: Bytes::new(), close: false, reason }
    }

    fn page(status: u16, reason: &'static str) -> Self {
        let known = StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
        let known = known.unwrap_or("Error");
        // The titles by which people and programs know the OpenShift router's pages.
        let title = match status {
            503 => "Application is not available",
            404 => "Application or Document Not Found",
            _ => known,
        };
        let text = match (status, reason) {
            (_, "no_route") => "No route matches this host and path.",
            (400, NO_CERTIFICATE) => "No required certificate of the client was sent.",
            (400, BAD_CERTIFICATE) => "The certificate of the client is not accepted.",
            (503, _) => "The application is not available at the moment. Please try again.",
            (401, _) => "The application asks who you are.",
            (403, _) => "The application is not for this client.",
            (429, _) => "These are too many requests. Please try again later.",
            (502 | 504, _) => "The application did not give a valid answer.",
            _ => "The request cannot be served.",
        };
        let body = format!(
            "<!DOCTYPE html>\n<html><head><title>{title}</title></head>\n\
             <body><h1>{status} {known}</h1><p>{text}</p></body></html>\n"
        );
        Self { status, headers: html_fields(), body: body.into(), close: false, reason }
    }

    fn closing(mut self) -> Self {
        self.close = true;
        self
    }

    fn retrying(mut self) -> Self {
        self.headers.push((RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_SECONDS)));
        self
    }
}

fn location(scheme: &str, host: &str, port: Option<&str>, target: &RequestTarget<'_>) -> Option<HeaderValue> {
    let mut url = format!("{scheme}://{host}").into_bytes();
    if let Some(port) = port {
        url.push(b':');
        url.extend_from_slice(port.as_bytes());
    }
    url.extend(target.path_and_query());
    HeaderValue::from_bytes(&url).ok()
}

/// Why a client of a host that asks for certificates is not served, for the access log.
pub(super) const NO_CERTIFICATE: &str = "no_client_certificate";
pub(super) const BAD_CERTIFICATE: &str = "bad_client_certificate";
/// Why a request got no pod: there is none.
const NO_ENDPOINT: &str = "no_endpoint";
/// Why a request got no pod though there are some, for the access log.
pub(super) const POD_BUSY: &str = "pod_busy";
/// A pod that restarts or moves is usually back by then.
const RETRY_AFTER_SECONDS: &str = "2";

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;
    use http::header::HOST;

    fn field<'a>(answer: &'a Answer, name: &HeaderName) -> Option<&'a str> {
        answer.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.to_str().unwrap())
    }

    #[test]
    fn redirects_keep_the_raw_path_and_query() {
        let request = Request::get("/a%2Fb/../c?x=%20").header(HOST, "video.example.com:8080");
        let parts = request.body(()).unwrap().into_parts().0;
        let target = RequestTarget::parse(&parts, b"/a%2Fb/../c?x=%20").unwrap();
        let https = Answer::https_redirect(302, &target);
        assert_eq!(field(&https, &LOCATION), Some("https://video.example.com/a%2Fb/../c?x=%20"));
        let alias = Hostname::parse("video--k3x7a.example.com").unwrap();
        let miss = Answer::alias_redirect(Scheme::Http, &alias, &target);
        assert_eq!(miss.status, 307);
        assert_eq!(field(&miss, &LOCATION), Some("http://video--k3x7a.example.com:8080/a%2Fb/../c?x=%20"));
        assert_eq!(field(&miss, &CACHE_CONTROL), Some("no-store"));
    }

    #[test]
    fn too_much_says_in_whole_seconds_when_there_is_room() {
        for (milliseconds, expected) in [(0, "1"), (1, "1"), (1000, "1"), (1001, "2"), (59_500, "60")] {
            let answer = Answer::too_much(TooMuch(std::time::Duration::from_millis(milliseconds)));
            assert_eq!((answer.status, field(&answer, &RETRY_AFTER)), (429, Some(expected)));
        }
    }

    #[test]
    fn an_unavailable_application_is_to_be_asked_again() {
        let answer = Answer::no_endpoint();
        assert!(answer.close && answer.status == 503 && field(&answer, &RETRY_AFTER).is_some());
    }
}
